import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { kaimingUniform, normal } from "./init.ts";
import type { Net, Value } from "./net.ts";

export interface FireOptions {
  /** Channels of the 1 × 1 convolution that the others read. */
  readonly squeeze: number;
  /** Channels that each of the two, 1 × 1 and 3 × 3, gives. */
  readonly expand: number;
}

/** Few channels, then many by 1 × 1 and 3 × 3 convolutions side by side (Iandola et al. 2016, arXiv:1602.07360). */
export function fire(net: Net, x: Value, { squeeze, expand }: FireOptions): Value {
  const few = net.relu(net.conv(x, { name: "squeeze", out: squeeze, kernel: 1, bias: true }));
  const sides = ([1, 3] as const).map((kernel) =>
    net.relu(net.conv(few, { name: `expand${kernel}x${kernel}`, out: expand, kernel, bias: true })),
  );
  return net.concat(sides, 1);
}

/** What comes after the first convolution: pooling, or fire modules of these channels. */
type Row = "pool" | readonly [squeeze: number, expand: number];

/** Table 1, with and without the changes of version 1.1. */
const VERSIONS: Readonly<Record<string, { channels: number; kernel: number; rows: readonly Row[] }>> = {
  squeezenet1_0: {
    channels: 96,
    kernel: 7,
    rows: [
      "pool",
      [16, 64],
      [16, 64],
      [32, 128],
      "pool",
      [32, 128],
      [48, 192],
      [48, 192],
      [64, 256],
      "pool",
      [64, 256],
    ],
  },
  squeezenet1_1: {
    channels: 64,
    kernel: 3,
    rows: [
      "pool",
      [16, 64],
      [16, 64],
      "pool",
      [32, 128],
      [32, 128],
      "pool",
      [48, 192],
      [48, 192],
      [64, 256],
      [64, 256],
    ],
  },
};

const build =
  (name: string, { channels, kernel, rows }: (typeof VERSIONS)[string]) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width } = options;
    const wide = (count: number): number => makeDivisible(count * width);
    return classifier(name, options, { conv: kaimingUniform() }, (net, image) => {
      const features = net.scope("features");
      const first = { name: "0", out: wide(channels), kernel, stride: 2, padding: 0, bias: true };
      let x = net.relu(features.conv(image, first));
      for (const [i, row] of rows.entries())
        x =
          row === "pool"
            ? features.maxPool(x, { kernel: 3, stride: 2, padding: 0, ceil: true })
            : fire(features.scope(i + 2), x, { squeeze: wide(row[0]), expand: wide(row[1]) });
      x = net.conv(x, { name: "classifier.1", out: classes, kernel: 1, bias: true, init: normal(0.01) });
      return net.flatten(net.globalAveragePool(net.relu(x)));
    });
  };

const { depth: _, ...DEFAULTS } = imageNet();

export const squeezenets: Entries = Object.fromEntries(
  Object.entries(VERSIONS).map(([name, version]) => [
    name,
    {
      family: "SqueezeNet",
      paper: {
        title: "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
        id: "arXiv:1602.07360",
      },
      defaults: DEFAULTS,
      build: build(name, version),
    },
  ]),
);
