import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, deeper, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { convNormAct, squeezeExcite } from "./blocks.ts";
import { kaimingGrouped, normal } from "./init.ts";
import { channelsOf, type Net, type Value } from "./net.ts";

export interface MobileOneOptions {
  readonly out: number;
  readonly kernel?: number;
  readonly stride?: number;
  readonly groups?: number;
  /** Convolutions of the full kernel side by side. */
  readonly branches?: number;
  /** Channels in the middle of squeeze-and-excite; left out, there is none. */
  readonly squeeze?: number;
}

/**
 * The sum of several convolutions, a 1 × 1 one and the input, each normalized, then ReLU: easier to train than the one convolution
 * that computes the same, into which `reparameterize` turns it. MobileOne (Vasu et al. 2022, arXiv:2206.04040), after RepVGG (Ding
 * et al. 2021, arXiv:2101.03697); named as in timm.
 */
export function mobileOne(net: Net, x: Value, options: MobileOneOptions): Value {
  const { out, kernel = 3, stride = 1, groups = 1, branches = 1, squeeze } = options;
  const shared = { out, stride, groups, act: "none", names: ["conv", "bn"] } as const;
  const parts: Value[] = [];
  if (kernel > 1) parts.push(convNormAct(net.scope("conv_scale"), x, { ...shared, kernel: 1 }));
  for (let i = 0; i < branches; i++) parts.push(convNormAct(net.scope("conv_kxk").scope(i), x, { ...shared, kernel }));
  if (stride === 1 && channelsOf(x) === out) parts.push(net.batchNorm(x, { name: "identity" }));
  const sum = parts.reduce((a, b) => net.add(a, b));
  return net.relu(squeeze === undefined ? sum : squeezeExcite(net.scope("attn"), sum, { squeeze }));
}

interface Size {
  /** Widths of the four stages, in multiples of 64, 128, 256, 512. */
  readonly widths: readonly [number, number, number, number];
  readonly branches?: number;
  /** How many blocks at the end of each stage have squeeze-and-excite. */
  readonly squeezes?: readonly [number, number, number, number];
}

/** Table 3: pairs of a depthwise and a pointwise block in each stage. */
const REPEATS = [2, 8, 10, 1] as const;

const build =
  (name: string, { widths, branches = 1, squeezes = [0, 0, 0, 0] }: Size) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width, depth } = options;
    const channels = widths.map((by, stage) => makeDivisible(64 * 2 ** stage * by * width));
    const defaults = { conv: kaimingGrouped, linear: normal(0.01) };
    return classifier(name, options, defaults, (net, image) => {
      const first = Math.min(makeDivisible(64 * width), channels[0]!);
      let x = mobileOne(net.scope("stem"), image, { out: first, stride: 2 });
      for (const [stage, repeats] of REPEATS.entries()) {
        const pairs = deeper(repeats, depth);
        for (let i = 0; i < pairs; i++)
          for (const [side, block] of [
            { out: channelsOf(x), groups: channelsOf(x), stride: i === 0 ? 2 : 1 },
            { out: channels[stage]!, kernel: 1 },
          ].entries()) {
            const squeeze = i >= pairs - squeezes[stage]! && {
              squeeze: makeDivisible(block.out / 16, 8, { share: 0 }),
            };
            x = mobileOne(
              net
                .scope("stages")
                .scope(stage)
                .scope(2 * i + side),
              x,
              { ...block, branches, ...squeeze },
            );
          }
      }
      return net.linear(net.flatten(net.globalAveragePool(x)), { name: "head.fc", out: classes });
    });
  };

const entry = (size: string, options: Size): Entries => {
  const name = `mobileone_${size}`;
  return {
    [name]: {
      family: "MobileOne",
      paper: { title: "MobileOne: An Improved One millisecond Mobile Backbone", id: "arXiv:2206.04040" },
      defaults: imageNet(),
      build: build(name, options),
    },
  };
};

export const mobileones: Entries = {
  ...entry("s0", { widths: [0.75, 1, 1, 2], branches: 4 }),
  ...entry("s1", { widths: [1.5, 1.5, 2, 2.5] }),
  ...entry("s2", { widths: [1.5, 2, 2.5, 4] }),
  ...entry("s3", { widths: [2, 2.5, 3, 4] }),
  ...entry("s4", { widths: [3, 3.5, 3.5, 4], squeezes: [0, 0, 5, 1] }),
};
