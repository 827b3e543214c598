import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { convNormAct, type InvertedResidualNames, invertedResidual } from "./blocks.ts";
import { kaimingNormal, normal } from "./init.ts";
import { channelsOf } from "./net.ts";

/** One block: expansion, channels, stride, kernel. */
type Row = readonly [expand: number, channels: number, stride: number, kernel: number];

interface Found {
  readonly resolution: number;
  /** Channels of the first convolution. */
  readonly first: number;
  readonly rows: readonly Row[];
}

/** Names of the state dicts published with the paper. */
const NAMES: InvertedResidualNames = {
  expand: ["mobile_inverted_conv.inverted_bottleneck.conv", "mobile_inverted_conv.inverted_bottleneck.bn"],
  depthwise: ["mobile_inverted_conv.depth_conv.conv", "mobile_inverted_conv.depth_conv.bn"],
  project: ["mobile_inverted_conv.point_linear.conv", "mobile_inverted_conv.point_linear.bn"],
};

const build =
  (name: string, { first, rows }: Found) =>
  (options: ArchitectureOptions): Model => {
    const { classes, width } = options;
    const wide = (channels: number): number => makeDivisible(channels * width);
    const defaults = { norm: { eps: 1e-3, momentum: 0.1 }, conv: kaimingNormal("fan_out"), linear: normal(0.01) };
    return classifier(name, options, defaults, (net, image) => {
      let x = convNormAct(net.scope("first_conv"), image, {
        out: wide(first),
        stride: 2,
        act: "relu6",
        names: ["conv", "bn"],
      });
      for (const [i, [expand, channels, stride, kernel]] of rows.entries())
        x = invertedResidual(net.scope("blocks").scope(i), x, {
          out: wide(channels),
          expand,
          hidden: channelsOf(x) * expand,
          stride,
          kernel,
          names: NAMES,
        });
      return net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier.linear", out: classes });
    });
  };

/** What the search found for 10 and 5 images a second, and for 256 kB/1 MB, 320 kB/1 MB, 512 kB/2 MB of memory. */
const FOUND: Readonly<Record<string, Found>> = {
  mcunet_in0: {
    resolution: 48,
    first: 24,
    rows: [
      [1, 16, 1, 3],
      [4, 16, 2, 5],
      [3, 16, 1, 3],
      [4, 16, 1, 3],
      [5, 24, 2, 7],
      [4, 24, 1, 5],
      [5, 24, 1, 5],
      [5, 48, 2, 7],
      [4, 48, 1, 5],
      [5, 56, 1, 3],
      [4, 56, 1, 5],
      [5, 56, 1, 3],
      [6, 112, 2, 3],
      [4, 112, 1, 5],
      [6, 192, 1, 3],
    ],
  },
  mcunet_in1: {
    resolution: 96,
    first: 16,
    rows: [
      [1, 8, 1, 3],
      [4, 16, 2, 3],
      [3, 16, 1, 3],
      [3, 24, 2, 7],
      [5, 24, 1, 3],
      [5, 40, 2, 3],
      [4, 40, 1, 7],
      [4, 48, 1, 5],
      [3, 48, 1, 3],
      [4, 48, 1, 3],
      [5, 96, 2, 7],
      [4, 96, 1, 5],
      [4, 96, 1, 5],
      [6, 160, 1, 3],
    ],
  },
  mcunet_in2: {
    resolution: 160,
    first: 16,
    rows: [
      [1, 8, 1, 3],
      [3, 16, 2, 5],
      [6, 16, 1, 7],
      [5, 16, 1, 3],
      [5, 16, 1, 5],
      [5, 24, 2, 3],
      [6, 24, 1, 7],
      [6, 24, 1, 5],
      [4, 40, 2, 7],
      [5, 40, 1, 5],
      [5, 48, 1, 3],
      [5, 48, 1, 5],
      [4, 48, 1, 3],
      [6, 96, 2, 5],
      [4, 96, 1, 5],
      [3, 96, 1, 5],
      [4, 96, 1, 3],
      [5, 160, 1, 5],
    ],
  },
  mcunet_in3: {
    resolution: 176,
    first: 16,
    rows: [
      [1, 8, 1, 3],
      [3, 16, 2, 7],
      [5, 16, 1, 3],
      [5, 16, 1, 7],
      [4, 16, 1, 5],
      [5, 24, 2, 5],
      [5, 24, 1, 5],
      [5, 24, 1, 5],
      [5, 40, 2, 3],
      [6, 40, 1, 7],
      [4, 40, 1, 5],
      [5, 48, 1, 5],
      [5, 48, 1, 7],
      [5, 48, 1, 3],
      [6, 96, 2, 3],
      [5, 96, 1, 7],
      [4, 96, 1, 3],
      [5, 160, 1, 7],
    ],
  },
  mcunet_in4: {
    resolution: 160,
    first: 32,
    rows: [
      [1, 16, 1, 3],
      [3, 24, 2, 7],
      [5, 24, 1, 3],
      [4, 24, 1, 5],
      [5, 40, 2, 7],
      [4, 40, 1, 3],
      [4, 40, 1, 7],
      [3, 80, 2, 7],
      [3, 80, 1, 3],
      [3, 80, 1, 7],
      [4, 96, 1, 3],
      [3, 96, 1, 5],
      [3, 96, 1, 5],
      [4, 192, 2, 7],
      [3, 192, 1, 7],
      [3, 192, 1, 5],
      [4, 320, 1, 5],
    ],
  },
};

export const mcunets: Entries = Object.fromEntries(
  Object.entries(FOUND).map(([name, found]) => {
    const { depth: _, ...defaults } = imageNet(found.resolution);
    const paper = { title: "MCUNet: Tiny Deep Learning on IoT Devices", id: "arXiv:2007.10319" };
    return [name, { family: "MCUNet", paper, defaults, build: build(name, found) }];
  }),
);
