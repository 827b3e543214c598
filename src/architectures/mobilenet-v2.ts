import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, deeper, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import type { InvertedResidualNames } from "./blocks.ts";
import { convNormAct, invertedResidual } from "./blocks.ts";
import { kaimingNormal, normal } from "./init.ts";

/** Table 2: expansion, channels, blocks, stride of the first. */
const STAGES = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

/** torchvision's names: the last convolution of a block and its BatchNorm are layers of their own. */
const namesOf = (expands: boolean): InvertedResidualNames => {
  const first = expands ? 1 : 0;
  return {
    expand: ["conv.0.0", "conv.0.1"],
    depthwise: [`conv.${first}.0`, `conv.${first}.1`],
    project: [`conv.${first + 1}`, `conv.${first + 2}`],
  };
};

function build(options: ArchitectureOptions): Model {
  const { classes, width, depth } = options;
  const defaults = { conv: kaimingNormal("fan_out"), linear: normal(0.01) };
  return classifier("mobilenet_v2", options, defaults, (net, image) => {
    const features = net.scope("features");
    let at = 0;
    let x = convNormAct(features.scope(at++), image, { out: makeDivisible(32 * width), stride: 2, act: "relu6" });
    for (const [expand, channels, repeats, stride] of STAGES)
      for (let i = 0; i < deeper(repeats, depth); i++)
        x = invertedResidual(features.scope(at++), x, {
          out: makeDivisible(channels * width),
          expand,
          stride: i === 0 ? stride : 1,
          names: namesOf(expand > 1),
        });
    // A narrower net keeps the last layer: a wider one widens it.
    const last = makeDivisible(1280 * Math.max(1, width));
    x = convNormAct(features.scope(at), x, { out: last, kernel: 1, act: "relu6" });
    return net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier.1", out: classes });
  });
}

export const mobilenetV2: Entries = {
  mobilenet_v2: {
    family: "MobileNetV2",
    paper: { title: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", id: "arXiv:1801.04381" },
    defaults: imageNet(),
    build,
  },
};
