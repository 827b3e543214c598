import { ints, string } from "../ir/attrs.ts";
import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { type Activation, convNormAct, depthwise, pointwise, squeezeExcite } from "./blocks.ts";
import { torchDefault } from "./init.ts";
import { channelsOf, imageSizeOf, type Net, type Value } from "./net.ts";

export interface GhostOptions {
  readonly out: number;
  readonly kernel?: number;
  /** All channels for one that is really computed. */
  readonly ratio?: number;
  readonly act?: Activation;
  /** Weighs the result by {@link longRangeGate}. */
  readonly gated?: boolean;
}

/**
 * Computes one channel in `ratio` by a full convolution, and the others from those by depthwise ones. GhostNet (Han et al. 2020,
 * arXiv:1911.11907); named as in timm.
 */
export function ghost(net: Net, x: Value, options: GhostOptions): Value {
  const { out, kernel = 1, ratio = 2, act = "relu", gated = false } = options;
  const primary = Math.ceil(out / ratio);
  const real = convNormAct(net.scope("primary_conv"), x, { out: primary, kernel, act });
  const cheap = convNormAct(net.scope("cheap_operation"), real, { out: primary * (ratio - 1), groups: primary, act });
  const all = net.concat([real, cheap], 1);
  const y = channelsOf(all) === out ? all : net.slice(all, 1, 0, out);
  return gated ? net.mul(y, longRangeGate(net.scope("short_conv"), x, out)) : y;
}

/**
 * A number between 0 and 1 for every channel and pixel that hears of its whole row and column: at half the size, a convolution, then
 * depthwise ones along the width and the height. GhostNetV2's decoupled fully connected attention (Tang et al. 2022, arXiv:2211.12905).
 */
export function longRangeGate(net: Net, x: Value, out: number): Value {
  let y = net.averagePool(x, { kernel: 2, stride: 2, padding: 0 });
  y = pointwise(net, y, { out, act: "none" });
  y = depthwise(net, y, { kernel: [1, 5], act: "none", names: ["2", "3"] });
  y = depthwise(net, y, { kernel: [5, 1], act: "none", names: ["4", "5"] });
  const attrs = {
    axes: ints([2, 3]),
    mode: string("nearest"),
    coordinate_transformation_mode: string("asymmetric"),
    nearest_mode: string("floor"),
  };
  return net.op("Resize", [net.sigmoid(y), undefined, undefined, net.ints(imageSizeOf(x))], { attrs });
}

export interface GhostBottleneckOptions {
  readonly out: number;
  readonly hidden: number;
  readonly kernel: number;
  readonly stride: number;
  /** Channels in the middle of squeeze-and-excite; 0 leaves it out. */
  readonly squeeze: number;
  readonly gated: boolean;
}

/** Expands and projects by ghost modules, with a depthwise convolution between them where the stride is above 1. */
export function ghostBottleneck(net: Net, x: Value, options: GhostBottleneckOptions): Value {
  const { out, hidden, kernel, stride, squeeze, gated } = options;
  let y = ghost(net.scope("ghost1"), x, { out: hidden, gated });
  if (stride > 1) y = depthwise(net, y, { kernel, stride, act: "none", names: ["conv_dw", "bn_dw"] });
  if (squeeze > 0)
    y = squeezeExcite(net.scope("se"), y, { squeeze, gate: "hard_sigmoid", names: ["conv_reduce", "conv_expand"] });
  y = ghost(net.scope("ghost2"), y, { out, act: "none" });
  if (stride === 1 && channelsOf(x) === out) return net.add(y, x);
  const shortcut = net.scope("shortcut");
  const moved = depthwise(shortcut, x, { kernel, stride, act: "none" });
  return net.add(y, pointwise(shortcut, moved, { out, act: "none", names: ["2", "3"] }));
}

/** Table 1: kernel, channels inside, channels, whether squeeze-and-excite, stride. A list of rows is a stage of timm's. */
const STAGES = [
  [[3, 16, 16, false, 1]],
  [[3, 48, 24, false, 2]],
  [[3, 72, 24, false, 1]],
  [[5, 72, 40, true, 2]],
  [[5, 120, 40, true, 1]],
  [[3, 240, 80, false, 2]],
  [
    [3, 200, 80, false, 1],
    [3, 184, 80, false, 1],
    [3, 184, 80, false, 1],
    [3, 480, 112, true, 1],
    [3, 672, 112, true, 1],
  ],
  [[5, 672, 160, true, 2]],
  [
    [5, 960, 160, false, 1],
    [5, 960, 160, true, 1],
    [5, 960, 160, false, 1],
    [5, 960, 160, true, 1],
  ],
] as const;

const build =
  (name: string, version: 1 | 2) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width } = options;
    const wide = (count: number): number => makeDivisible(count * width, 4);
    const defaults = { conv: torchDefault, linearBias: torchDefault };
    return classifier(name, options, defaults, (net, image) => {
      let x = convNormAct(net, image, { out: wide(16), stride: 2, names: ["conv_stem", "bn1"] });
      const blocks = net.scope("blocks");
      let layer = 0;
      for (const [stage, rows] of STAGES.entries())
        for (const [i, [kernel, hidden, out, squeezes, stride]] of rows.entries())
          x = ghostBottleneck(blocks.scope(stage).scope(i), x, {
            kernel,
            stride,
            hidden: wide(hidden),
            out: wide(out),
            squeeze: squeezes ? makeDivisible(wide(hidden) / 4, 4) : 0,
            gated: version === 2 && layer++ > 1,
          });
      x = pointwise(blocks.scope(STAGES.length).scope(0), x, { out: wide(960), names: ["conv", "bn1"] });
      x = net.globalAveragePool(x);
      x = net.relu(net.conv(x, { name: "conv_head", out: 1280, kernel: 1, bias: true, biasInit: torchDefault }));
      return net.linear(net.flatten(x), { name: "classifier", out: classes });
    });
  };

const { depth: _, ...DEFAULTS } = imageNet();

export const ghostnets: Entries = {
  ghostnet: {
    family: "GhostNet",
    paper: { title: "GhostNet: More Features from Cheap Operations", id: "arXiv:1911.11907" },
    defaults: DEFAULTS,
    build: build("ghostnet", 1),
  },
  ghostnetv2: {
    family: "GhostNetV2",
    paper: { title: "GhostNetV2: Enhance Cheap Operation with Long-Range Attention", id: "arXiv:2211.12905" },
    defaults: DEFAULTS,
    build: build("ghostnetv2", 2),
  },
};
