import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, deeper, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { convNormAct, fusedMBConv, invertedResidual, residual } from "./blocks.ts";
import { kaimingGrouped, kaimingNormal, uniformFanOut } from "./init.ts";
import { TIMM } from "./names.ts";
import { channelsOf } from "./net.ts";

/** A row of Table 4: fused or not, expansion, stride, channels, blocks; all kernels are 3 × 3. */
type Row = readonly [fused: boolean, expand: number, stride: number, out: number, repeats: number];

const SMALL: readonly Row[] = [
  [true, 1, 1, 24, 2],
  [true, 4, 2, 48, 4],
  [true, 4, 2, 64, 4],
  [false, 4, 2, 128, 6],
  [false, 6, 1, 160, 9],
  [false, 6, 2, 256, 15],
];

const BASE: readonly Row[] = [
  [true, 1, 1, 16, 1],
  [true, 4, 2, 32, 2],
  [true, 4, 2, 48, 2],
  [false, 4, 2, 96, 3],
  [false, 6, 1, 112, 5],
  [false, 6, 2, 192, 8],
];

/** As in torchvision. */
function buildSmall(options: ArchitectureOptions): Model {
  const { classes, width, depth } = options;
  const defaults = { norm: { eps: 1e-3 }, conv: kaimingNormal("fan_out"), linear: uniformFanOut };
  return classifier("efficientnetv2_s", options, defaults, (net, image) => {
    const features = net.scope("features");
    let x = convNormAct(features.scope(0), image, { out: makeDivisible(24 * width), stride: 2, act: "silu" });
    for (const [stage, [fused, expand, firstStride, channels, repeats]] of SMALL.entries())
      for (let i = 0; i < deeper(repeats, depth); i++) {
        const at = features.scope(stage + 1).scope(i);
        const block = { out: makeDivisible(channels * width), expand, stride: i === 0 ? firstStride : 1 };
        const squeeze = { channels: Math.max(1, Math.floor(channelsOf(x) / 4)), act: "silu" } as const;
        x = fused ? fusedMBConv(at, x, block) : invertedResidual(at, x, { ...block, act: "silu", squeeze });
      }
    x = convNormAct(features.scope(SMALL.length + 1), x, { out: 1280, kernel: 1, act: "silu" });
    return net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier.1", out: classes });
  });
}

/** Channels are rounded to the nearest multiple of 8, up or down. Padded as in TensorFlow, named as in timm. */
function buildBase(options: ArchitectureOptions): Model {
  const { classes, width, depth } = options;
  const wide = (channels: number): number => makeDivisible(channels * width, 8, { share: 0 });
  const defaults = { norm: { eps: 1e-3 }, conv: kaimingGrouped, linear: uniformFanOut };
  const same = { act: "silu", padding: "same" } as const;
  return classifier("efficientnetv2_b0", options, defaults, (net, image) => {
    let x = convNormAct(net, image, { ...same, out: wide(32), stride: 2, names: TIMM.stem });
    for (const [stage, [fused, expand, firstStride, channels, repeats]] of BASE.entries())
      for (let i = 0; i < deeper(repeats, depth); i++) {
        const at = net.scope("blocks").scope(stage).scope(i);
        const block = { ...same, out: wide(channels), expand, stride: i === 0 ? firstStride : 1 };
        const squeeze = { channels: Math.round(channelsOf(x) / 4), act: "silu" } as const;
        if (expand === 1) x = residual(at, x, convNormAct(at, x, { ...block, names: TIMM.conv }));
        else if (fused) x = fusedMBConv(at, x, { ...block, names: TIMM.fused });
        else x = invertedResidual(at, x, { ...block, squeeze, names: TIMM.inverted });
      }
    x = convNormAct(net, x, { ...same, out: wide(1280), kernel: 1, names: TIMM.head });
    return net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier", out: classes });
  });
}

const FAMILY = {
  family: "EfficientNetV2",
  paper: { title: "EfficientNetV2: Smaller Models and Faster Training", id: "arXiv:2104.00298" },
};

export const efficientnetV2: Entries = {
  efficientnetv2_s: { ...FAMILY, defaults: imageNet(384), build: buildSmall },
  efficientnetv2_b0: { ...FAMILY, defaults: imageNet(224), build: buildBase },
};
