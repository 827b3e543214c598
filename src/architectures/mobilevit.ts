import { string } from "../ir/attrs.ts";
import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, deeper, type Entries, imageNet, makeDivisible } from "./architecture.ts";
import { convNormAct, invertedResidual, pointwise } from "./blocks.ts";
import { kaimingGrouped, normal } from "./init.ts";
import { channelsOf, imageSizeOf, type Net, type Value } from "./net.ts";
import { vitBlock } from "./vit.ts";

/** timm's names of a convolution and its BatchNorm. */
const at = (name: string): readonly [string, string] => [`${name}.conv`, `${name}.bn`];

const RESIDUAL = { expand: at("conv1_1x1"), depthwise: at("conv2_kxk"), project: at("conv3_1x1") };

/** Height and width of a patch: the pixels of one place in every patch attend to one another. */
const PATCH = 2;
const HEADS = 4;

export interface MobileViTBlockOptions {
  /** Channels of a token. */
  readonly dimension: number;
  readonly layers: number;
}

/**
 * Convolves nearby, then attends across the image, and joins that to what came in: [N, C, H, W] to the same shape (Mehta and
 * Rastegari 2022, arXiv:2110.02178, section 3.1); named as in timm.
 */
export function mobileViTBlock(net: Net, x: Value, { dimension, layers }: MobileViTBlockOptions): Value {
  const out = channelsOf(x);
  const near = convNormAct(net, x, { out, act: "silu", names: at("conv_kxk") });
  const maps = net.conv(near, { name: "conv_1x1", out: dimension, kernel: 1 });
  const size = imageSizeOf(maps);
  const even = size.map((n) => PATCH * Math.ceil(n / PATCH)) as [number, number];
  let tokens = unfold(net, resized(net, maps, even, "grow"));
  for (let i = 0; i < layers; i++)
    tokens = vitBlock(net.scope(`transformer.${i}`), tokens, {
      heads: HEADS,
      inner: 2 * dimension,
      act: "silu",
      eps: 1e-5,
    });
  tokens = net.layerNorm(tokens, { name: "norm", eps: 1e-5 });
  const far = resized(net, fold(net, tokens, even), size, "shrink");
  const back = pointwise(net, far, { out, act: "silu", names: at("conv_proj") });
  return convNormAct(net, net.concat([x, back], 1, "joined"), { out, act: "silu", names: at("conv_fusion") });
}

/** [N, C, H, W] to [N · 4, H / 2 · W / 2, C]: the pixels at one place of their patches are a sequence. */
function unfold(net: Net, x: Value): Value {
  const [rows, columns] = imageSizeOf(x).map((n) => n / PATCH) as [number, number];
  const parts = net.reshape(x, [0, 0, rows, PATCH, columns, PATCH], "unfold");
  return net.reshape(net.transpose(parts, [0, 3, 5, 2, 4, 1], "unfold"), [-1, rows * columns, channelsOf(x)], "unfold");
}

/** The inverse of {@link unfold}, to an image of this size. */
function fold(net: Net, tokens: Value, [height, width]: readonly [number, number]): Value {
  const channels = tokens.shape[2] as number;
  const parts = net.reshape(tokens, [-1, PATCH, PATCH, height / PATCH, width / PATCH, channels], "fold");
  return net.reshape(net.transpose(parts, [0, 5, 3, 1, 4, 2], "fold"), [0, 0, height, width], "fold");
}

/** Bilinear, with pixels as areas; the same image where it has that size. */
function resized(net: Net, x: Value, size: readonly [number, number], name: string): Value {
  if (`${imageSizeOf(x)}` === `${size}`) return x;
  const attrs = {
    mode: string("linear"),
    coordinate_transformation_mode: string("half_pixel"),
    axes: { type: "ints", value: [2, 3] },
  } as const;
  return net.op("Resize", [x, undefined, undefined, net.ints(size)], { name, attrs });
}

interface Sizes {
  /** Multiple of the channels inside an inverted residual. */
  readonly expand: number;
  /** Channels of the five stages. */
  readonly channels: readonly [number, number, number, number, number];
  /** Channels of the tokens in the last three. */
  readonly tokens: readonly [number, number, number];
  readonly last: number;
}

/** Table 4: blocks of the first two stages, layers of the transformers in the last three. */
const BLOCKS = [1, 3, 1, 1, 1];
const LAYERS = [2, 4, 3];

function build(name: string, { expand, channels, tokens, last }: Sizes, options: ArchitectureOptions): Model {
  const { width, depth, classes } = options;
  const wide = (n: number): number => makeDivisible(n * width);
  return classifier(name, options, { conv: kaimingGrouped, linear: normal(0.01) }, (net, image) => {
    let x = convNormAct(net, image, { out: wide(16), stride: 2, act: "silu", names: at("stem") });
    for (const [stage, out] of channels.entries()) {
      const here = net.scope(`stages.${stage}`);
      const blocks = stage < 2 ? deeper(BLOCKS[stage]!, depth) : 1;
      for (let i = 0; i < blocks; i++) {
        const stride = stage > 0 && i === 0 ? 2 : 1;
        const hidden = makeDivisible(channelsOf(x) * expand);
        x = invertedResidual(here.scope(i), x, {
          out: wide(out),
          expand,
          hidden,
          stride,
          act: "silu",
          names: RESIDUAL,
        });
      }
      if (stage >= 2)
        x = mobileViTBlock(here.scope(blocks), x, {
          dimension: wide(tokens[stage - 2]!),
          layers: deeper(LAYERS[stage - 2]!, depth),
        });
    }
    x = pointwise(net, x, { out: wide(last), act: "silu", names: at("final_conv") });
    return net.linear(net.flatten(net.globalAveragePool(x)), { name: "head.fc", out: classes });
  });
}

const NETS: Readonly<Record<string, Sizes>> = {
  mobilevit_xxs: { expand: 2, channels: [16, 24, 48, 64, 80], tokens: [64, 80, 96], last: 320 },
  mobilevit_xs: { expand: 4, channels: [32, 48, 64, 80, 96], tokens: [96, 120, 144], last: 384 },
  mobilevit_s: { expand: 4, channels: [32, 64, 96, 128, 160], tokens: [144, 192, 240], last: 640 },
};

export const mobilevits: Entries = Object.fromEntries(
  Object.entries(NETS).map(([name, sizes]) => [
    name,
    {
      family: "MobileViT",
      paper: {
        title: "MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision Transformer",
        id: "arXiv:2110.02178",
      },
      defaults: imageNet(256),
      build: (options) => build(name, sizes, options),
    },
  ]),
);
