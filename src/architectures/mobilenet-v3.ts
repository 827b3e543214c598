import type { Model } from "../ir/graph.ts";
import {
  type Architecture,
  type ArchitectureOptions,
  classifier,
  type Defaults,
  type Entries,
  makeDivisible,
} from "./architecture.ts";
import { convNormAct, depthwiseSeparable, invertedResidual } from "./blocks.ts";
import { kaimingGrouped, kaimingNormal, normal, uniformFanOut } from "./init.ts";
import { TIMM } from "./names.ts";

/** A row of a table: kernel, channels inside, channels out, squeeze-and-excite, h-swish (else ReLU), stride. */
type Row = readonly [kernel: number, hidden: number, out: number, squeeze: boolean, hardSwish: boolean, stride: number];

interface Table {
  readonly rows: readonly Row[];
  /** Channels of the last convolution before and the layer after the pooling. */
  readonly last: readonly [number, number];
}

/** Table 1. */
const LARGE: Table = {
  rows: [
    [3, 16, 16, false, false, 1],
    [3, 64, 24, false, false, 2],
    [3, 72, 24, false, false, 1],
    [5, 72, 40, true, false, 2],
    [5, 120, 40, true, false, 1],
    [5, 120, 40, true, false, 1],
    [3, 240, 80, false, true, 2],
    [3, 200, 80, false, true, 1],
    [3, 184, 80, false, true, 1],
    [3, 184, 80, false, true, 1],
    [3, 480, 112, true, true, 1],
    [3, 672, 112, true, true, 1],
    [5, 672, 160, true, true, 2],
    [5, 960, 160, true, true, 1],
    [5, 960, 160, true, true, 1],
  ],
  last: [960, 1280],
};

/** Table 2. */
const SMALL: Table = {
  rows: [
    [3, 16, 16, true, false, 2],
    [3, 72, 24, false, false, 2],
    [3, 88, 24, false, false, 1],
    [5, 96, 40, true, true, 2],
    [5, 240, 40, true, true, 1],
    [5, 240, 40, true, true, 1],
    [5, 120, 48, true, true, 1],
    [5, 144, 48, true, true, 1],
    [5, 288, 96, true, true, 2],
    [5, 576, 96, true, true, 1],
    [5, 576, 96, true, true, 1],
  ],
  last: [576, 1024],
};

/** Blocks of the same size stand in one scope of timm's: where each of the table's rows goes. */
const STAGES = { small: [1, 2, 3, 2, 3], large: [1, 2, 3, 4, 2, 3] } as const;

const FAMILY = {
  family: "MobileNetV3",
  paper: { title: "Searching for MobileNetV3", id: "arXiv:1905.02244" },
};

const defaults: Defaults = { classes: 1000, channels: 3, resolution: 224, width: 1 };

const hiddenOf = (hidden: number, width: number): number => makeDivisible(hidden * width);

/** As in torchvision. */
const full =
  (name: string, { rows, last }: Table) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width } = options;
    const layers = { norm: { eps: 1e-3, momentum: 0.01 }, conv: kaimingNormal("fan_out"), linear: normal(0.01) };
    return classifier(name, options, layers, (net, image) => {
      const features = net.scope("features");
      let x = convNormAct(features.scope(0), image, { out: makeDivisible(16 * width), stride: 2, act: "hard_swish" });
      for (const [i, [kernel, hidden, out, squeezes, hardSwish, stride]] of rows.entries()) {
        const inside = hiddenOf(hidden, width);
        const squeeze = { channels: makeDivisible(Math.floor(inside / 4)), gate: "hard_sigmoid" } as const;
        x = invertedResidual(features.scope(i + 1), x, {
          out: makeDivisible(out * width),
          expand: 1,
          hidden: inside,
          kernel,
          stride,
          act: hardSwish ? "hard_swish" : "relu",
          ...(squeezes && { squeeze }),
        });
      }
      const before = 6 * makeDivisible(rows.at(-1)![2] * width);
      x = convNormAct(features.scope(rows.length + 1), x, { out: before, kernel: 1, act: "hard_swish" });
      x = net.linear(net.flatten(net.globalAveragePool(x)), {
        name: "classifier.0",
        out: makeDivisible(last[1] * width),
      });
      return net.linear(net.hardSwish(x, "classifier.1"), { name: "classifier.3", out: classes });
    });
  };

/** Minimalistic: no squeeze-and-excite, no h-swish, no 5 × 5; as in TensorFlow's code, under timm's names. */
const minimal =
  (name: string, { rows, last }: Table, stages: readonly number[]) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width } = options;
    const layers = { norm: { eps: 1e-3 }, conv: kaimingGrouped, linear: uniformFanOut };
    return classifier(name, options, layers, (net, image) => {
      const stem = width < 0.75 ? 16 : makeDivisible(16 * width);
      const block = { padding: "same", act: "relu" } as const;
      let x = convNormAct(net, image, { ...block, out: stem, stride: 2, names: TIMM.stem });
      const scopes = stages.flatMap((count, stage) => Array.from({ length: count }, (_, i) => `blocks.${stage}.${i}`));
      for (const [i, [, hidden, channels, , , stride]] of rows.entries()) {
        const at = net.scope(scopes[i]!);
        const out = makeDivisible(channels * width);
        x =
          i === 0
            ? depthwiseSeparable(at, x, {
                ...block,
                out,
                stride,
                lastAct: "none",
                names: TIMM.separable,
                skip: stride === 1,
              })
            : invertedResidual(at, x, {
                ...block,
                out,
                expand: 1,
                hidden: hiddenOf(hidden, width),
                stride,
                names: TIMM.inverted,
              });
      }
      x = convNormAct(net.scope(`blocks.${stages.length}.0`), x, {
        ...block,
        out: makeDivisible(last[0] * width),
        kernel: 1,
        names: TIMM.conv,
      });
      x = net.conv(net.globalAveragePool(x), { name: "conv_head", out: last[1], kernel: 1, bias: true });
      x = net.relu(x);
      return net.linear(net.flatten(x), { name: "classifier", out: classes });
    });
  };

const entry = (build: Architecture["build"]): Architecture => ({ ...FAMILY, defaults, build });

export const mobilenetV3: Entries = {
  mobilenet_v3_large: entry(full("mobilenet_v3_large", LARGE)),
  mobilenet_v3_small: entry(full("mobilenet_v3_small", SMALL)),
  mobilenet_v3_large_minimal: entry(minimal("mobilenet_v3_large_minimal", LARGE, STAGES.large)),
  mobilenet_v3_small_minimal: entry(minimal("mobilenet_v3_small_minimal", SMALL, STAGES.small)),
};
