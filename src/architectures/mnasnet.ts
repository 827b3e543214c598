import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, deeper, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { convNormAct, depthwiseSeparable, invertedResidual } from "./blocks.ts";
import { kaimingNormal, uniform } from "./init.ts";
import { sequential } from "./names.ts";

/** MnasNet-B1: kernel, stride, expansion, channels, blocks. */
const STAGES = [
  [3, 2, 3, 24, 3],
  [5, 2, 3, 40, 3],
  [5, 2, 6, 80, 3],
  [3, 1, 6, 96, 2],
  [5, 2, 6, 192, 4],
  [3, 1, 6, 320, 1],
] as const;

const build =
  (name: string, own: number) =>
  (options: ArchitectureOptions): Model => {
    const { classes, depth } = options;
    const channels = (count: number): number => makeDivisible(count * own * options.width);
    // Kaiming uniform by fan_out with the gain 1 of a sigmoid, as in torchvision.
    const defaults = {
      norm: { momentum: 3e-4 },
      conv: kaimingNormal("fan_out"),
      linear: uniform(Math.sqrt(3 / classes)),
    };
    return classifier(name, options, defaults, (net, image) => {
      const layers = net.scope("layers");
      let x = convNormAct(layers, image, { out: channels(32), stride: 2 });
      const names = { depthwise: ["3", "4"], pointwise: ["6", "7"] } as const;
      x = depthwiseSeparable(layers, x, { out: channels(16), lastAct: "none", names });
      for (const [stage, [kernel, stride, expand, out, repeats]] of STAGES.entries())
        for (let i = 0; i < deeper(repeats, depth); i++)
          x = invertedResidual(layers.scope(8 + stage).scope(i), x, {
            out: channels(out),
            expand,
            kernel,
            stride: i === 0 ? stride : 1,
            act: "relu",
            names: sequential("layers"),
          });
      x = convNormAct(layers, x, { out: 1280, kernel: 1, names: ["14", "15"] });
      return net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier.1", out: classes });
    });
  };

const entry = (name: string, width: number): Entries => ({
  [name]: {
    family: "MnasNet",
    paper: { title: "MnasNet: Platform-Aware Neural Architecture Search for Mobile", id: "arXiv:1807.11626" },
    defaults: imageNet(),
    build: build(name, width),
  },
});

export const mnasnet: Entries = {
  ...entry("mnasnet0_5", 0.5),
  ...entry("mnasnet0_75", 0.75),
  ...entry("mnasnet1_0", 1),
  ...entry("mnasnet1_3", 1.3),
};
