import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, deeper, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { convNormAct, depthwise, pointwise } from "./blocks.ts";
import { torchDefault } from "./init.ts";
import { channelsOf, imageSizeOf, type Net, type Value } from "./net.ts";

/**
 * Channels in another order: those of `groups` groups by turns, so that what follows sees some of each (Zhang et al. 2018,
 * arXiv:1707.01083).
 */
export function channelShuffle(net: Net, x: Value, groups: number): Value {
  const [channels, size] = [channelsOf(x), imageSizeOf(x)];
  const grouped = net.reshape(x, [0, groups, channels / groups, ...size]);
  return net.reshape(net.transpose(grouped, [0, 2, 1, 3, 4]), [0, channels, ...size]);
}

export interface ShuffleUnitOptions {
  /** An even number; at stride 1 the input's. */
  readonly out: number;
  readonly stride?: number;
}

/**
 * Half of the channels pass, the other half go through pointwise, depthwise and pointwise; at a stride above 1 all go both ways,
 * each of which makes half of the output. Then the halves are shuffled. ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164); named as
 * in torchvision.
 */
export function shuffleUnit(net: Net, x: Value, { out, stride = 1 }: ShuffleUnitOptions): Value {
  const half = out / 2;
  const [passed, worked] = stride === 1 ? (net.split(x, [half, half], 1) as [Value, Value]) : [x, x];
  const [first, second] = [net.scope("branch1"), net.scope("branch2")];
  const left =
    stride === 1
      ? passed
      : pointwise(first, depthwise(first, passed, { stride, act: "none" }), { out: half, names: ["2", "3"] });
  let right = pointwise(second, worked, { out: half });
  right = depthwise(second, right, { stride, act: "none", names: ["3", "4"] });
  right = pointwise(second, right, { out: half, names: ["5", "6"] });
  return channelShuffle(net, net.concat([left, right], 1), 2);
}

/** Table 5: units of the stages. */
const REPEATS = [4, 8, 4] as const;

const shufflenetV2 =
  (name: string, channels: readonly [stage2: number, stage3: number, stage4: number, last: number]) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width, depth } = options;
    const wide = (count: number): number => makeDivisible(count * width, 2);
    const defaults = { conv: torchDefault, linearBias: torchDefault };
    return classifier(name, options, defaults, (net, image) => {
      let x = convNormAct(net.scope("conv1"), image, { out: wide(24), stride: 2 });
      x = net.maxPool(x, { kernel: 3, stride: 2, padding: 1 });
      for (const [stage, repeats] of REPEATS.entries())
        for (let i = 0; i < deeper(repeats, depth); i++)
          x = shuffleUnit(net.scope(`stage${stage + 2}`).scope(i), x, {
            out: wide(channels[stage]!),
            stride: i === 0 ? 2 : 1,
          });
      x = convNormAct(net.scope("conv5"), x, { out: wide(channels[3]), kernel: 1 });
      return net.linear(net.flatten(net.globalAveragePool(x)), { name: "fc", out: classes });
    });
  };

const entry = (size: string, ...channels: Parameters<typeof shufflenetV2>[1]): Entries => {
  const name = `shufflenet_v2_${size}`;
  return {
    [name]: {
      family: "ShuffleNetV2",
      paper: {
        title: "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
        id: "arXiv:1807.11164",
      },
      defaults: imageNet(),
      build: shufflenetV2(name, channels),
    },
  };
};

export const shufflenets: Entries = {
  ...entry("x0_5", 48, 96, 192, 1024),
  ...entry("x1_0", 116, 232, 464, 1024),
  ...entry("x1_5", 176, 352, 704, 1024),
  ...entry("x2_0", 244, 488, 976, 2048),
};
