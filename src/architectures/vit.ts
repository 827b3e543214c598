import { int } from "../ir/attrs.ts";
import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, classifier, type Entries, imageNet } from "./architecture.ts";
import { feedForward, firstToken, multiHeadAttention } from "./attention.ts";
import { type Activation, activate } from "./blocks.ts";
import { normal, torchDefault, truncatedNormal } from "./init.ts";
import { type Net, sizeAt, type Value } from "./net.ts";
import { scaled, type TransformerSizes } from "./transformer.ts";

export interface ViTBlockOptions extends Pick<TransformerSizes, "heads" | "inner"> {
  readonly act?: Activation;
  readonly eps?: number;
}

/**
 * An encoder layer that normalizes before attention and before the feed-forward network, on [N, T, C] (Dosovitskiy et al. 2021,
 * arXiv:2010.11929, figure 1). Query, key and value are one layer; named as in timm.
 */
export function vitBlock(net: Net, x: Value, { heads, inner, act = "gelu", eps = 1e-6 }: ViTBlockOptions): Value {
  const out = sizeAt(x, -1);
  const all = net.linear(net.layerNorm(x, { name: "norm1", eps }), { name: "attn.qkv", out: 3 * out });
  const [q, k, v] = net.split(all, [out, out, out], -1, "attn.split");
  const attended = multiHeadAttention(net.scope("attn"), q!, k!, v!, { heads });
  x = net.add(x, net.linear(attended, { name: "attn.proj", out }), "attn.residual");
  const activation = (wide: Value): Value => activate(net, wide, act, "mlp.act");
  const y = net.layerNorm(x, { name: "norm2", eps });
  return net.add(x, feedForward(net, y, { names: ["mlp.fc1", "mlp.fc2"], inner, activation }), "mlp.residual");
}

/** An image as a row of vectors, one for each patch of `patch` × `patch`: [N, C, H, W] to [N, H / patch · W / patch, size]. */
export function patchEmbedding(net: Net, image: Value, size: number, patch: number): Value {
  const options = { name: "patch_embed.proj", out: size, kernel: patch, stride: patch, padding: 0, bias: true };
  const grid = net.conv(image, { ...options, init: torchDefault, biasInit: torchDefault });
  return net.transpose(net.reshape(grid, [0, 0, -1], "patch_embed"), [0, 2, 1], "patch_embed");
}

/** A learned token before the others of [N, T, C], the same for every image. */
export function classToken(net: Net, x: Value): Value {
  const size = sizeAt(x, -1);
  const token = net.parameter("cls_token", [1, 1, size], normal(1e-6));
  const batch = net.op("Shape", [x], { name: "batch", attrs: { start: int(0), end: int(1) } });
  const shape = net.concat([batch, net.ints([1, size])], 0, "cls_shape");
  return net.concat([net.op("Expand", [token, shape], { name: "cls_token.expand" }), x], 1, "tokens");
}

const PATCH = 16;

function build(name: string, base: TransformerSizes, options: ArchitectureOptions): Model {
  const { layers, dimension, heads, inner } = scaled(base, options);
  const drawn = truncatedNormal(0.02);
  return classifier(name, options, { linear: drawn }, (net, image) => {
    let x = classToken(net, patchEmbedding(net, image, dimension, PATCH));
    x = net.add(x, net.parameter("pos_embed", [1, sizeAt(x, 1), dimension], drawn), "embedded");
    for (let i = 0; i < layers; i++) x = vitBlock(net.scope(`blocks.${i}`), x, { heads, inner });
    return net.linear(firstToken(net, net.layerNorm(x, { name: "norm", eps: 1e-6 })), {
      name: "head",
      out: options.classes,
    });
  });
}

const STEINER = {
  title: "How to train your ViT? Data, Augmentation, and Regularization in Vision Transformers",
  id: "arXiv:2106.10270",
};
const DOSOVITSKIY = {
  title: "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
  id: "arXiv:2010.11929",
};

/** Name, paper, channels, heads; 12 layers with four times the channels in the middle. */
const VITS = [
  ["vit_tiny", STEINER, 192, 3],
  ["vit_small", STEINER, 384, 6],
  ["vit_base", DOSOVITSKIY, 768, 12],
] as const;

export const vits: Entries = Object.fromEntries(
  VITS.map(([name, paper, dimension, heads]) => [
    name,
    {
      family: "ViT",
      paper,
      defaults: imageNet(),
      build: (options) => build(name, { layers: 12, dimension, heads, inner: 4 * dimension }, options),
    },
  ]),
);
