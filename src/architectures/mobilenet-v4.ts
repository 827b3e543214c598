import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, deeper, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { convNormAct, fusedMBConv, universalInvertedBottleneck } from "./blocks.ts";
import { kaimingGrouped, uniformFanOut } from "./init.ts";
import { TIMM } from "./names.ts";
import type { Net, Value } from "./net.ts";

/** A plain convolution: kernel, channels, stride. */
type Conv = readonly ["conv", kernel: number, out: number, stride: number];
/** A fused inverted bottleneck: channels, expansion, stride. */
type Fused = readonly ["fused", out: number, expand: number, stride: number];
/** Universal inverted bottlenecks: kernels of the two depthwise convolutions (0: none), channels, expansion, stride, how many. */
type Uib = readonly [
  "uib",
  start: number,
  middle: number,
  out: number,
  expand: number,
  stride: number,
  repeats?: number,
];
type Row = Conv | Fused | Uib;

interface Table {
  readonly stem: number;
  readonly stages: readonly (readonly Row[])[];
}

/** The tables of MNv4-Conv-S, -M and -L in the paper's appendix. */
const SMALL: Table = {
  stem: 32,
  stages: [
    [
      ["conv", 3, 32, 2],
      ["conv", 1, 32, 1],
    ],
    [
      ["conv", 3, 96, 2],
      ["conv", 1, 64, 1],
    ],
    [
      ["uib", 5, 5, 96, 3, 2],
      ["uib", 0, 3, 96, 2, 1, 4],
      ["uib", 3, 0, 96, 4, 1],
    ],
    [
      ["uib", 3, 3, 128, 6, 2],
      ["uib", 5, 5, 128, 4, 1],
      ["uib", 0, 5, 128, 4, 1],
      ["uib", 0, 5, 128, 3, 1],
      ["uib", 0, 3, 128, 4, 1, 2],
    ],
    [["conv", 1, 960, 1]],
  ],
};

const MEDIUM: Table = {
  stem: 32,
  stages: [
    [["fused", 48, 4, 2]],
    [
      ["uib", 3, 5, 80, 4, 2],
      ["uib", 3, 3, 80, 2, 1],
    ],
    [
      ["uib", 3, 5, 160, 6, 2],
      ["uib", 3, 3, 160, 4, 1, 2],
      ["uib", 3, 5, 160, 4, 1],
      ["uib", 3, 3, 160, 4, 1],
      ["uib", 3, 0, 160, 4, 1],
      ["uib", 0, 0, 160, 2, 1],
      ["uib", 3, 0, 160, 4, 1],
    ],
    [
      ["uib", 5, 5, 256, 6, 2],
      ["uib", 5, 5, 256, 4, 1],
      ["uib", 3, 5, 256, 4, 1, 2],
      ["uib", 0, 0, 256, 4, 1],
      ["uib", 3, 0, 256, 4, 1],
      ["uib", 3, 5, 256, 2, 1],
      ["uib", 5, 5, 256, 4, 1],
      ["uib", 0, 0, 256, 4, 1, 2],
      ["uib", 5, 0, 256, 2, 1],
    ],
    [["conv", 1, 960, 1]],
  ],
};

const LARGE: Table = {
  stem: 24,
  stages: [
    [["fused", 48, 4, 2]],
    [
      ["uib", 3, 5, 96, 4, 2],
      ["uib", 3, 3, 96, 4, 1],
    ],
    [
      ["uib", 3, 5, 192, 4, 2],
      ["uib", 3, 3, 192, 4, 1, 3],
      ["uib", 3, 5, 192, 4, 1],
      ["uib", 5, 3, 192, 4, 1, 5],
      ["uib", 3, 0, 192, 4, 1],
    ],
    [
      ["uib", 5, 5, 512, 4, 2],
      ["uib", 5, 5, 512, 4, 1, 3],
      ["uib", 5, 0, 512, 4, 1],
      ["uib", 5, 3, 512, 4, 1],
      ["uib", 5, 0, 512, 4, 1, 2],
      ["uib", 5, 3, 512, 4, 1],
      ["uib", 5, 5, 512, 4, 1],
      ["uib", 5, 0, 512, 4, 1, 3],
    ],
    [["conv", 1, 960, 1]],
  ],
};

function block(net: Net, x: Value, row: Row, width: number): Value {
  if (row[0] === "conv") {
    const [, kernel, out, stride] = row;
    return convNormAct(net, x, { out: makeDivisible(out * width), kernel, stride, names: TIMM.conv });
  }
  if (row[0] === "fused") {
    const [, out, expand, stride] = row;
    return fusedMBConv(net, x, { out: makeDivisible(out * width), expand, stride, act: "relu", names: TIMM.fused });
  }
  const [, start, middle, out, expand, stride] = row;
  return universalInvertedBottleneck(net, x, { out: makeDivisible(out * width), expand, start, middle, stride });
}

/** Repeats what keeps the shape; the depth multiplier repeats only that. */
const repeatsOf = (row: Row, depth: number): number =>
  row[0] === "uib" && row[5] === 1 ? deeper(row[6] ?? 1, depth) : 1;

const build =
  (name: string, { stem, stages }: Table) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width, depth } = options;
    const defaults = { conv: kaimingGrouped, linear: uniformFanOut };
    return classifier(name, options, defaults, (net, image) => {
      const first = width < 1 ? stem : makeDivisible(stem * width);
      let x = convNormAct(net, image, { out: first, stride: 2, names: TIMM.stem });
      for (const [stage, rows] of stages.entries()) {
        const blocks = rows.flatMap((row) => Array.from({ length: repeatsOf(row, depth) }, () => row));
        for (const [i, row] of blocks.entries()) x = block(net.scope(`blocks.${stage}.${i}`), x, row, width);
      }
      x = convNormAct(net, net.globalAveragePool(x), { out: 1280, kernel: 1, names: ["conv_head", "norm_head"] });
      return net.linear(net.flatten(x), { name: "classifier", out: classes });
    });
  };

const entry = (name: string, table: Table, resolution: number): Entries => ({
  [name]: {
    family: "MobileNetV4",
    paper: { title: "MobileNetV4: Universal Models for the Mobile Ecosystem", id: "arXiv:2404.10518" },
    defaults: imageNet(resolution),
    build: build(name, table),
  },
});

export const mobilenetV4: Entries = {
  ...entry("mobilenet_v4_conv_small", SMALL, 224),
  ...entry("mobilenet_v4_conv_medium", MEDIUM, 256),
  ...entry("mobilenet_v4_conv_large", LARGE, 384),
};
