import type { Model } from "../ir/graph.ts";
import {
  type ArchitectureOptions,
  classifier,
  type Defaults,
  deeper,
  type Entries,
  imageNet,
  makeDivisible,
} from "./architecture.ts";
import { convNormAct, depthwiseSeparable, invertedResidual } from "./blocks.ts";
import { kaimingGrouped, kaimingNormal, uniformFanOut } from "./init.ts";
import { TIMM } from "./names.ts";
import { channelsOf } from "./net.ts";

/** Table 1, EfficientNet-B0: expansion, kernel, stride, channels, blocks. */
const STAGES = [
  [1, 3, 1, 16, 1],
  [6, 3, 2, 24, 2],
  [6, 5, 2, 40, 2],
  [6, 3, 2, 80, 3],
  [6, 5, 1, 112, 3],
  [6, 5, 2, 192, 4],
  [6, 3, 1, 320, 1],
] as const;

/** The compound coefficients: width, depth, resolution. */
type Scale = readonly [width: number, depth: number, resolution: number];

/** B0 to B7. */
const SCALES: readonly Scale[] = [
  [1.0, 1.0, 224],
  [1.0, 1.1, 240],
  [1.1, 1.2, 260],
  [1.2, 1.4, 300],
  [1.4, 1.8, 380],
  [1.6, 2.2, 456],
  [1.8, 2.6, 528],
  [2.0, 3.1, 600],
];

/** Lite0 to Lite4. */
const LITE_SCALES: readonly Scale[] = [
  [1.0, 1.0, 224],
  [1.0, 1.1, 240],
  [1.1, 1.2, 260],
  [1.2, 1.4, 280],
  [1.4, 1.8, 300],
];

/** As in torchvision, where B5 to B7 have the BatchNorm of TensorFlow. */
const build =
  (name: string, [ownWidth, ownDepth]: Scale, norm: { readonly eps?: number; readonly momentum?: number }) =>
  (options: ArchitectureOptions): Model => {
    const [width, depth] = [ownWidth * options.width, ownDepth * options.depth];
    const defaults = { norm, conv: kaimingNormal("fan_out"), linear: uniformFanOut };
    return classifier(name, options, defaults, (net, image) => {
      const features = net.scope("features");
      let x = convNormAct(features.scope(0), image, { out: makeDivisible(32 * width), stride: 2, act: "silu" });
      for (const [stage, [expand, kernel, stride, channels, repeats]] of STAGES.entries())
        for (let i = 0; i < deeper(repeats, depth); i++)
          x = invertedResidual(features.scope(stage + 1).scope(i), x, {
            out: makeDivisible(channels * width),
            expand,
            kernel,
            stride: i === 0 ? stride : 1,
            act: "silu",
            squeeze: { channels: Math.max(1, Math.floor(channelsOf(x) / 4)), act: "silu" },
          });
      x = convNormAct(features.scope(STAGES.length + 1), x, { out: 4 * channelsOf(x), kernel: 1, act: "silu" });
      return net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier.1", out: options.classes });
    });
  };

/**
 * Lite: no squeeze-and-excite, ReLU6 for swish, and the first and last layers and stages stay as they are when the rest grows, for
 * phones and fixed-point hardware (github.com/tensorflow/tpu, efficientnet/lite). As in timm.
 */
const buildLite =
  (name: string, [ownWidth, ownDepth]: Scale) =>
  (options: ArchitectureOptions): Model => {
    const [width, depth] = [ownWidth * options.width, ownDepth * options.depth];
    const defaults = { conv: kaimingGrouped, linear: uniformFanOut };
    return classifier(name, options, defaults, (net, image) => {
      let x = convNormAct(net, image, { out: 32, stride: 2, act: "relu6", names: TIMM.stem });
      for (const [stage, [expand, kernel, firstStride, channels, repeats]] of STAGES.entries()) {
        const out = makeDivisible(channels * width);
        const scaled = stage === 0 || stage === STAGES.length - 1 ? 1 : depth;
        for (let i = 0; i < deeper(repeats, scaled); i++) {
          const at = net.scope("blocks").scope(stage).scope(i);
          const stride = i === 0 ? firstStride : 1;
          x =
            stage === 0
              ? depthwiseSeparable(at, x, { out, act: "relu6", lastAct: "none", names: TIMM.separable, skip: true })
              : invertedResidual(at, x, { out, expand, kernel, stride, act: "relu6", names: TIMM.inverted });
        }
      }
      x = convNormAct(net, x, { out: 1280, kernel: 1, act: "relu6", names: TIMM.head });
      return net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier", out: options.classes });
    });
  };

const PAPER = {
  title: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
  id: "arXiv:1905.11946",
};

const entriesOf = (
  family: string,
  prefix: string,
  scales: readonly Scale[],
  make: (name: string, scale: Scale, index: number) => (options: ArchitectureOptions) => Model,
): Entries =>
  Object.fromEntries(
    scales.map((scale, i) => {
      const defaults: Defaults = imageNet(scale[2]);
      return [`${prefix}${i}`, { family, paper: PAPER, defaults, build: make(`${prefix}${i}`, scale, i) }];
    }),
  );

export const efficientnet: Entries = {
  ...entriesOf("EfficientNet", "efficientnet_b", SCALES, (name, scale, i) =>
    build(name, scale, i >= 5 ? { eps: 1e-3, momentum: 0.01 } : {}),
  ),
  ...entriesOf("EfficientNet-Lite", "efficientnet_lite", LITE_SCALES, buildLite),
};
