import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, deeper, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { convNormAct } from "./blocks.ts";
import { kaimingNormal, torchDefault } from "./init.ts";
import { channelsOf, imageSizeOf, type Net, type Value } from "./net.ts";

const PAPER = { title: "Deep Residual Learning for Image Recognition", id: "arXiv:1512.03385" };

interface BlockOptions {
  readonly channels: number;
  readonly stride: number;
}

/** How a block's input comes to the shape of its output. */
type Shortcut = (net: Net, x: Value, like: Value, stride: number) => Value;

/** A 1 × 1 convolution (option B of the paper). */
const projection: Shortcut = (net, x, like, stride) =>
  convNormAct(net.scope("downsample"), x, { out: channelsOf(like), kernel: 1, stride, act: "none" });

/** Every second pixel, and channels of zeros on both sides (option A): no weights. */
const padded: Shortcut = (net, x, like, stride) => {
  const scope = net.scope("shortcut");
  const [height, width] = imageSizeOf(x);
  const inputs = [
    [0, 0],
    [height, width],
    [2, 3],
    [stride, stride],
  ].map((values) => net.ints(values));
  const picked = stride === 1 ? x : scope.op("Slice", [x, ...inputs]);
  const missing = channelsOf(like) - channelsOf(x);
  const before = Math.floor(missing / 2);
  return scope.op("Pad", [picked, net.ints([0, before, 0, 0, 0, missing - before, 0, 0])]);
};

/** Two 3 × 3 convolutions around which the input goes. */
function basicBlock(net: Net, x: Value, { channels, stride }: BlockOptions, shortcut: Shortcut): Value {
  let y = convNormAct(net, x, { out: channels, stride, names: ["conv1", "bn1"] });
  y = convNormAct(net, y, { out: channels, act: "none", names: ["conv2", "bn2"] });
  return net.relu(net.add(y, skipped(net, x, y, stride, shortcut)), "relu_out");
}

/** 1 × 1, 3 × 3, 1 × 1, the last four times as wide; the 3 × 3 has the stride, as in torchvision. */
function bottleneck(net: Net, x: Value, { channels, stride }: BlockOptions, shortcut: Shortcut): Value {
  let y = convNormAct(net, x, { out: channels, kernel: 1, names: ["conv1", "bn1"] });
  y = convNormAct(net, y, { out: channels, stride, names: ["conv2", "bn2"] });
  y = convNormAct(net, y, { out: 4 * channels, kernel: 1, act: "none", names: ["conv3", "bn3"] });
  return net.relu(net.add(y, skipped(net, x, y, stride, shortcut)), "relu_out");
}

const skipped = (net: Net, x: Value, y: Value, stride: number, shortcut: Shortcut): Value =>
  stride === 1 && channelsOf(x) === channelsOf(y) ? x : shortcut(net, x, y, stride);

type Block = typeof basicBlock;

/** Stages `layer1` …, each twice as wide as the one before it and, after the first, half as large. */
function stages(
  net: Net,
  x: Value,
  repeats: readonly number[],
  first: number,
  block: Block,
  shortcut: Shortcut,
): Value {
  for (const [stage, count] of repeats.entries())
    for (let i = 0; i < count; i++) {
      const stride = stage > 0 && i === 0 ? 2 : 1;
      x = block(net.scope(`layer${stage + 1}`).scope(i), x, { channels: first * 2 ** stage, stride }, shortcut);
    }
  return x;
}

/** Table 1 of the paper: a net for ImageNet, with this many blocks in each stage. */
const imageNetResnet =
  (name: string, repeats: readonly number[], block: Block) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width, depth } = options;
    const defaults = { conv: kaimingNormal("fan_out"), linearBias: torchDefault };
    return classifier(name, options, defaults, (net, image) => {
      const first = makeDivisible(64 * width);
      let x = convNormAct(net, image, { out: first, kernel: 7, stride: 2, names: ["conv1", "bn1"] });
      x = net.maxPool(x, { kernel: 3, stride: 2, padding: 1 });
      const counts = repeats.map((count) => deeper(count, depth));
      x = stages(net, x, counts, first, block, projection);
      return net.linear(net.flatten(net.globalAveragePool(x)), { name: "fc", out: classes });
    });
  };

/** Section 4.2: a net for CIFAR-10 of 6n + 2 layers, its shortcuts without weights. */
const cifarResnet =
  (name: string, layers: number) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width, depth } = options;
    const defaults = { conv: kaimingNormal("fan_in"), linear: kaimingNormal("fan_in"), linearBias: torchDefault };
    return classifier(name, options, defaults, (net, image) => {
      const first = makeDivisible(16 * width);
      const repeats = deeper((layers - 2) / 6, depth);
      let x = convNormAct(net, image, { out: first, names: ["conv1", "bn1"] });
      x = stages(net, x, [repeats, repeats, repeats], first, basicBlock, padded);
      return net.linear(net.flatten(net.globalAveragePool(x)), { name: "linear", out: classes });
    });
  };

const forImageNet = (name: string, repeats: readonly number[], block: Block): Entries => ({
  [name]: { family: "ResNet", paper: PAPER, defaults: imageNet(), build: imageNetResnet(name, repeats, block) },
});

const forCifar = (layers: number): Entries => {
  const name = `resnet${layers}`;
  const defaults = { ...imageNet(32), classes: 10 };
  return { [name]: { family: "ResNet (CIFAR)", paper: PAPER, defaults, build: cifarResnet(name, layers) } };
};

export const resnet: Entries = {
  ...forImageNet("resnet18", [2, 2, 2, 2], basicBlock),
  ...forImageNet("resnet34", [3, 4, 6, 3], basicBlock),
  ...forImageNet("resnet50", [3, 4, 6, 3], bottleneck),
  ...forCifar(20),
  ...forCifar(32),
  ...forCifar(44),
  ...forCifar(56),
  ...forCifar(110),
};
