import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, deeper, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { convNormAct, depthwiseSeparable } from "./blocks.ts";
import { kaimingGrouped, uniformFanOut } from "./init.ts";
import { TIMM } from "./names.ts";

/** Table 1: channels, blocks, stride of the first. */
const STAGES = [
  [64, 1, 1],
  [128, 2, 2],
  [256, 2, 2],
  [512, 6, 2],
  [1024, 2, 2],
] as const;

function build(options: ArchitectureOptions): Model {
  const { classes, width, depth } = options;
  const defaults = { conv: kaimingGrouped, linear: uniformFanOut };
  return classifier("mobilenet_v1", options, defaults, (net, image) => {
    let x = convNormAct(net, image, { out: makeDivisible(32 * width), stride: 2, act: "relu6", names: TIMM.stem });
    for (const [stage, [channels, repeats, stride]] of STAGES.entries())
      for (let i = 0; i < deeper(repeats, depth); i++)
        x = depthwiseSeparable(net.scope("blocks").scope(stage).scope(i), x, {
          out: makeDivisible(channels * width),
          stride: i === 0 ? stride : 1,
          act: "relu6",
          names: TIMM.separable,
        });
    return net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier", out: classes });
  });
}

export const mobilenetV1: Entries = {
  mobilenet_v1: {
    family: "MobileNetV1",
    paper: {
      title: "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
      id: "arXiv:1704.04861",
    },
    defaults: imageNet(),
    build,
  },
};
