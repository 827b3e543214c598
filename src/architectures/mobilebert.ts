import type { Model } from "../ir/graph.ts";
import type { ArchitectureOptions, Entries, TextOptions } from "./architecture.ts";
import { feedForward, multiHeadAttention, paddingMask } from "./attention.ts";
import { bertNormal, encoderDefaults, pooler, positionEmbedding, tokenInputs, tokenTable, typeInput } from "./bert.ts";
import { ones, zeros } from "./init.ts";
import { Net, sizeAt, type Value } from "./net.ts";
import { scaled } from "./transformer.ts";

/** Channels of a token's own vector, before it meets its neighbours. */
const EMBEDDING = 128;

/** What stands between layers is this many times the width inside them. */
const BOTTLENECK = 4;

/** Feed-forward networks in a layer. */
const NETWORKS = 4;

/** x · weight + bias: normalization without its statistics (Sun et al. 2020, arXiv:2004.02984, section 3.3). */
function noNorm(net: Net, x: Value, name: string): Value {
  const [weight, bias] = [
    net.parameter(`${name}.weight`, [sizeAt(x, -1)], ones),
    net.parameter(`${name}.bias`, [sizeAt(x, -1)], zeros),
  ];
  return net.add(net.mul(x, weight, name), bias, name);
}

/** A layer, the sum with the residual, {@link noNorm}: in scope of both. */
function settled(net: Net, x: Value, residual: Value | undefined): Value {
  return noNorm(net, residual === undefined ? x : net.add(x, residual, "residual"), "LayerNorm");
}

/** A linear layer `dense` and {@link noNorm}, with what is added in between. */
function dense(net: Net, x: Value, out: number, residual?: Value): Value {
  return settled(net, net.linear(x, { name: "dense", out }), residual);
}

/** A feed-forward network with ReLU, residual and {@link noNorm}. */
function network(net: Net, x: Value, inner: number): Value {
  const y = feedForward(net, x, {
    names: ["intermediate.dense", "output.dense"],
    inner,
    activation: (wide) => net.relu(wide, "relu"),
  });
  return settled(net.scope("output"), y, x);
}

export interface BottleneckLayerOptions {
  readonly heads: number;
  readonly inner: number;
  readonly mask: Value;
}

/**
 * An encoder layer that works at a quarter of the width it is given: two bottlenecks, of which one feeds queries and keys,
 * attention, four feed-forward networks, and back to [N, T, C] (Sun et al. 2020, figure 1c).
 */
export function bottleneckLayer(net: Net, x: Value, { heads, inner, mask }: BottleneckLayerOptions): Value {
  const out = sizeAt(x, -1) / BOTTLENECK;
  const narrow = dense(net.scope("bottleneck.input"), x, out);
  const shared = dense(net.scope("bottleneck.attention"), x, out);
  const layer = (y: Value, name: string): Value => net.linear(y, { name: `attention.self.${name}`, out });
  const [q, k, v] = [layer(shared, "query"), layer(shared, "key"), layer(x, "value")];
  const attended = multiHeadAttention(net, q, k, v, { heads, mask });
  let y = dense(net.scope("attention.output"), attended, out, narrow);
  for (let i = 0; i < NETWORKS - 1; i++) y = network(net.scope(`ffn.${i}`), y, inner);
  return dense(net.scope("output.bottleneck"), network(net, y, inner), sizeAt(x, -1), x);
}

/** Each token's vector with those of its neighbours, of the next first; beyond the ends are zeros. [N, T, 3 · C]. */
function trigrams(net: Net, x: Value): Value {
  const padded = net.op("Pad", [x, net.ints([0, 1, 0, 0, 1, 0])], { name: "pad" });
  const [next, previous] = [
    net.slice(padded, 1, 2, Number.MAX_SAFE_INTEGER, "next"),
    net.slice(padded, 1, 0, -2, "previous"),
  ];
  return net.concat([next, x, previous], 2, "trigrams");
}

function build(options: ArchitectureOptions & Omit<TextOptions, "kvHeads">): Model {
  const { layers, dimension: size, heads, inner, vocabulary } = scaled(options, options);
  const net = new Net({ seed: options.seed, linear: bertNormal });
  const inputs = tokenInputs(net, options.length);
  const types = typeInput(net, inputs);
  const body = options.classes > 0 ? net.scope("mobilebert") : net;
  const e = body.scope("embeddings");
  const words = e.embedding(inputs.ids, {
    name: "word_embeddings",
    count: vocabulary,
    size: EMBEDDING,
    init: tokenTable,
  });
  let x = e.linear(trigrams(e, words), { name: "embedding_transformation", out: size });
  x = e.add(x, positionEmbedding(e, inputs.ids, size));
  x = e.add(x, e.embedding(types, { name: "token_type_embeddings", count: 2, size, init: bertNormal }));
  x = noNorm(e, x, "LayerNorm");
  const mask = paddingMask(body, inputs.mask);
  for (let i = 0; i < layers; i++) x = bottleneckLayer(body.scope(`encoder.layer.${i}`), x, { heads, inner, mask });
  const pooled = pooler(body, x);
  return options.classes > 0
    ? net.model({ logits: net.linear(pooled, { name: "classifier", out: options.classes }) }, "mobilebert")
    : net.model({ last_hidden_state: x, pooler_output: pooled }, "mobilebert");
}

const defaults = encoderDefaults({ layers: 24, dimension: 512, heads: 4, inner: 512 });

export const mobileberts: Entries = {
  mobilebert: {
    family: "MobileBERT",
    paper: { title: "MobileBERT: a Compact Task-Agnostic BERT for Resource-Limited Devices", id: "arXiv:2004.02984" },
    defaults,
    build: (options) => build({ ...defaults, ...options }),
  },
};
