import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import type { Architecture, ArchitectureOptions, Entries, Paper, TextOptions } from "./architecture.ts";
import { feedForward, firstToken, multiHeadAttention, paddingMask, positionsOf } from "./attention.ts";
import { type Initializer, normal } from "./init.ts";
import { Net, type Value } from "./net.ts";
import { scaled, type TransformerSizes } from "./transformer.ts";

/** Normal of 0.02, as BERT has every weight. */
export const bertNormal: Initializer = normal(0.02);

/** {@link bertNormal} for a table of tokens, the padding token 0 being nothing. */
export const tokenTable: Initializer = (values, fans, next) => {
  bertNormal(values, fans, next);
  values.fill(0, 0, fans.in);
};

const EPS = 1e-12;

/** Places an encoder has embeddings for. */
const POSITIONS = 512;

/** The inputs of a BERT as Hugging Face exports it, int64 [N, T]. */
export interface TokenInputs {
  readonly ids: Value;
  /** Ones, and zeros for padding. */
  readonly mask: Value;
}

/** Opens the inputs `input_ids` and `attention_mask`; a length of 0 leaves T open. */
export function tokenInputs(net: Net, length: number): TokenInputs {
  if (length > POSITIONS)
    throw new MinnowError(`It is ${length}, and there are embeddings for ${POSITIONS} places.`, {
      code: "architectures/length",
      at: 'option "length"',
      mend: `Give ${POSITIONS} or less.`,
    });
  const shape = ["N", length || "T"];
  return { ids: net.input("input_ids", shape, "int64"), mask: net.input("attention_mask", shape, "int64") };
}

/** Opens the input `token_type_ids` of the same shape: the sentence each token is of. */
export const typeInput = (net: Net, { ids }: TokenInputs): Value => net.input("token_type_ids", ids.shape, "int64");

/** The vectors of the places of a text, from a table of 512: [T, size]. */
export function positionEmbedding(net: Net, ids: Value, size: number): Value {
  return net.embedding(positionsOf(net, ids), {
    name: "position_embeddings",
    count: POSITIONS,
    size,
    init: bertNormal,
  });
}

/** Names of the layers inside one encoder layer. */
export interface EncoderNames {
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly output: string;
  readonly attentionNorm: string;
  readonly feedForward: readonly [string, string];
  readonly norm: string;
}

const BERT_NAMES: EncoderNames = {
  query: "attention.self.query",
  key: "attention.self.key",
  value: "attention.self.value",
  output: "attention.output.dense",
  attentionNorm: "attention.output.LayerNorm",
  feedForward: ["intermediate.dense", "output.dense"],
  norm: "output.LayerNorm",
};

const DISTILBERT_NAMES: EncoderNames = {
  query: "attention.q_lin",
  key: "attention.k_lin",
  value: "attention.v_lin",
  output: "attention.out_lin",
  attentionNorm: "sa_layer_norm",
  feedForward: ["ffn.lin1", "ffn.lin2"],
  norm: "output_layer_norm",
};

export interface EncoderLayerOptions extends Pick<TransformerSizes, "heads" | "inner"> {
  readonly names?: EncoderNames;
  readonly mask?: Value;
}

/**
 * An encoder layer that normalizes after each residual: attention, then the feed-forward network with GELU, on [N, T, C]
 * (Devlin et al. 2019, arXiv:1810.04805).
 */
export function encoderLayer(net: Net, x: Value, options: EncoderLayerOptions): Value {
  const { heads, inner, names = BERT_NAMES, mask } = options;
  const out = x.shape.at(-1) as number;
  const [q, k, v] = [names.query, names.key, names.value].map((name) => net.linear(x, { name, out }));
  const attended = multiHeadAttention(net, q!, k!, v!, { heads, mask });
  const mixed = net.add(net.linear(attended, { name: names.output, out }), x, "attention.residual");
  x = net.layerNorm(mixed, { name: names.attentionNorm, eps: EPS });
  const y = feedForward(net, x, { names: names.feedForward, inner, activation: (wide) => net.gelu(wide, "gelu") });
  return net.layerNorm(net.add(y, x, "residual"), { name: names.norm, eps: EPS });
}

type Shape = TransformerSizes & Pick<TextOptions, "vocabulary" | "length">;

/** Embeddings and layers, under the names of `BertModel`, or of `DistilBertModel` where there are no token types. */
function encoder(net: Net, inputs: TokenInputs, types: Value | undefined, sizes: Shape): Value {
  const { layers, dimension: size, vocabulary, heads, inner } = sizes;
  const e = net.scope("embeddings");
  let x = e.embedding(inputs.ids, { name: "word_embeddings", count: vocabulary, size, init: tokenTable });
  if (types !== undefined)
    x = e.add(x, e.embedding(types, { name: "token_type_embeddings", count: 2, size, init: bertNormal }));
  x = e.layerNorm(e.add(x, positionEmbedding(e, inputs.ids, size)), { name: "LayerNorm", eps: EPS });
  const mask = paddingMask(net, inputs.mask);
  const [stack, names] = types === undefined ? ["transformer", DISTILBERT_NAMES] : ["encoder", BERT_NAMES];
  for (let i = 0; i < layers; i++) x = encoderLayer(net.scope(`${stack}.layer.${i}`), x, { heads, inner, names, mask });
  return x;
}

/** BERT with its pooler; with classes, the head for classifying sequences on it. */
function bert(name: string, options: ArchitectureOptions & Shape): Model {
  const net = new Net({ seed: options.seed, linear: bertNormal });
  const inputs = tokenInputs(net, options.length);
  const types = typeInput(net, inputs);
  const body = options.classes > 0 ? net.scope("bert") : net;
  const states = encoder(body, inputs, types, scaled(options, options));
  const pooled = pooler(body, states);
  return options.classes > 0
    ? net.model({ logits: net.linear(pooled, { name: "classifier", out: options.classes }) }, name)
    : net.model({ last_hidden_state: states, pooler_output: pooled }, name);
}

/** tanh of a layer on the first token's state. */
export const pooler = (net: Net, states: Value): Value =>
  net.tanh(net.linear(firstToken(net, states), { name: "pooler.dense", out: states.shape.at(-1) as number }), "pooler");

/** DistilBERT, which knows no token types and has no pooler. */
function distilbert(name: string, options: ArchitectureOptions & Shape): Model {
  const net = new Net({ seed: options.seed, linear: bertNormal });
  const inputs = tokenInputs(net, options.length);
  const body = options.classes > 0 ? net.scope("distilbert") : net;
  const states = encoder(body, inputs, undefined, scaled(options, options));
  if (options.classes === 0) return net.model({ last_hidden_state: states }, name);
  const first = firstToken(net, states);
  const before = net.relu(net.linear(first, { name: "pre_classifier", out: first.shape.at(-1) as number }), "relu");
  return net.model({ logits: net.linear(before, { name: "classifier", out: options.classes }) }, name);
}

const VOCABULARY = 30_522;

/** What every encoder of this vocabulary can be given. */
export const encoderDefaults = (sizes: TransformerSizes) => ({
  classes: 0,
  vocabulary: VOCABULARY,
  length: 0,
  width: 1,
  depth: 1,
  ...sizes,
});

function entry(
  family: string,
  paper: Paper,
  sizes: TransformerSizes,
  make: (options: ArchitectureOptions & Shape) => Model,
): Architecture {
  const defaults = encoderDefaults(sizes);
  return { family, paper, defaults, build: (options) => make({ ...defaults, ...options }) };
}

const SMALLER: Paper = {
  title: "Well-Read Students Learn Better: On the Importance of Pre-training Compact Models",
  id: "arXiv:1908.08962",
};
const DEVLIN: Paper = {
  title: "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
  id: "arXiv:1810.04805",
};
const SANH: Paper = {
  title: "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter",
  id: "arXiv:1910.01108",
};
const JIAO: Paper = { title: "TinyBERT: Distilling BERT for Natural Language Understanding", id: "arXiv:1909.10351" };

/** Name, family, paper, layers, channels, heads, channels in the middle. */
const BERTS = [
  ["bert_tiny", "BERT", SMALLER, 2, 128, 2, 512],
  ["bert_mini", "BERT", SMALLER, 4, 256, 4, 1024],
  ["bert_small", "BERT", SMALLER, 4, 512, 8, 2048],
  ["bert_base", "BERT", DEVLIN, 12, 768, 12, 3072],
  ["tinybert4", "TinyBERT", JIAO, 4, 312, 12, 1200],
  ["tinybert6", "TinyBERT", JIAO, 6, 768, 12, 3072],
] as const;

export const berts: Entries = {
  ...Object.fromEntries(
    BERTS.map(([name, family, paper, layers, dimension, heads, inner]) => [
      name,
      entry(family, paper, { layers, dimension, heads, inner }, (options) => bert(name, options)),
    ]),
  ),
  distilbert: entry("DistilBERT", SANH, { layers: 6, dimension: 768, heads: 12, inner: 3072 }, (options) =>
    distilbert("distilbert", options),
  ),
};
