import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import type { ArchitectureOptions, Entries, TextOptions } from "./architecture.ts";
import {
  causalMask,
  multiHeadAttention,
  paddingMask,
  positionsOf,
  type Rotation,
  rmsNorm,
  rotaryEmbedding,
  swiGlu,
} from "./attention.ts";
import { normal } from "./init.ts";
import { Net, sizeAt, type Value } from "./net.ts";
import { scaled } from "./transformer.ts";

export interface DecoderLayerOptions extends Pick<TextOptions, "heads" | "kvHeads" | "inner"> {
  readonly mask: Value;
  readonly rotation: Rotation;
  readonly eps?: number;
}

/**
 * A decoder layer that normalizes before each residual: RMSNorm and rotated, grouped-query attention, RMSNorm and SwiGLU, on
 * [N, T, C] (Touvron et al. 2023, arXiv:2302.13971), under the names of `LlamaDecoderLayer`.
 */
export function decoderLayer(net: Net, x: Value, options: DecoderLayerOptions): Value {
  const { heads, kvHeads, inner, mask, rotation, eps = 1e-6 } = options;
  const size = sizeAt(x, -1) / heads;
  const layer = (y: Value, name: string, out: number): Value =>
    net.linear(y, { name: `self_attn.${name}`, out, bias: false });
  const y = rmsNorm(net, x, { name: "input_layernorm", eps });
  const [q, k, v] = [
    layer(y, "q_proj", heads * size),
    layer(y, "k_proj", kvHeads * size),
    layer(y, "v_proj", kvHeads * size),
  ];
  const attended = multiHeadAttention(net, q, k, v, { heads, kvHeads, mask, rotation });
  x = net.add(x, layer(attended, "o_proj", heads * size), "attention.residual");
  return net.add(
    x,
    swiGlu(net.scope("mlp"), rmsNorm(net, x, { name: "post_attention_layernorm", eps }), inner),
    "residual",
  );
}

/** What a llama can be given besides {@link ArchitectureOptions}. */
export interface LlamaOptions {
  /** What is added to the mean square in RMSNorm; default 1e-6. */
  readonly eps?: number;
  /** Base of the angles of rotary embedding; default 10 000. */
  readonly theta?: number;
  /** Whether the table of tokens is the last layer too; default true. */
  readonly tied?: boolean;
}

/**
 * A llama-shaped decoder from `input_ids` and `attention_mask`, int64 [N, T], to `logits` [N, T, vocabulary] of the token that
 * follows each place. Weights are named as in `LlamaForCausalLM`.
 */
export function llama(options: ArchitectureOptions & TextOptions & LlamaOptions): Model {
  const { vocabulary, length, seed, eps = 1e-6, theta = 10_000, tied = true } = options;
  const { layers, dimension, heads, inner } = scaled(options, options);
  const kvHeads = groupsOf(options, heads);
  const net = new Net({ seed, linear: normal(0.02) });
  const shape = ["N", length || "T"];
  const [ids, given] = [net.input("input_ids", shape, "int64"), net.input("attention_mask", shape, "int64")];
  const positions = positionsOf(net, ids);
  let mask = net.op("And", [paddingMask(net, given), causalMask(net, positions)], { name: "seen" });
  if (kvHeads !== heads) mask = net.op("Unsqueeze", [mask, net.ints([1])], { name: "seen" });
  const rotation = rotaryEmbedding(net, positions, dimension / heads, theta);
  const body = net.scope("model");
  const table = body.parameter("embed_tokens.weight", [vocabulary, dimension], normal(0.02));
  let x = body.op("Gather", [table, ids], { name: "embed_tokens" });
  for (let i = 0; i < layers; i++)
    x = decoderLayer(body.scope(`layers.${i}`), x, { heads, kvHeads, inner, mask, rotation, eps });
  x = rmsNorm(body, x, { name: "norm", eps });
  const logits = tied
    ? net.matMul(x, net.transpose(table, [1, 0], "lm_head.weight"), "lm_head")
    : net.linear(x, { name: "lm_head", out: vocabulary, bias: false });
  return net.model({ logits }, "llama");
}

/** Heads of keys and values for this many heads, as many serving each as in the net that was not widened. */
function groupsOf({ heads, kvHeads: given }: Pick<TextOptions, "heads" | "kvHeads">, scaledHeads: number): number {
  const kvHeads = given || heads;
  if (heads % kvHeads !== 0)
    throw new MinnowError(`${heads} heads cannot share ${kvHeads} heads of keys and values.`, {
      code: "architectures/heads",
      mend: `Give a number of kvHeads that divides ${heads}.`,
    });
  const shared = scaledHeads / (heads / kvHeads);
  return Number.isInteger(shared) ? shared : scaledHeads;
}

/** The sizes of a model of 15 million parameters that tells stories (Eldan and Li 2023, arXiv:2305.07759). */
const SMALL = {
  vocabulary: 32_000,
  length: 0,
  layers: 6,
  dimension: 288,
  heads: 6,
  kvHeads: 0,
  inner: 768,
  width: 1,
  depth: 1,
};

export const llamas: Entries = {
  llama: {
    family: "LLaMA",
    paper: { title: "LLaMA: Open and Efficient Foundation Language Models", id: "arXiv:2302.13971" },
    defaults: SMALL,
    build: (options) => llama({ ...SMALL, ...options }),
  },
};
