import { addDim, type Dim, divideExactly, isKnown, mulDim, productOf, sameDim, UNKNOWN } from "../ir/dim.ts";
import {
  type Applied,
  type AxesRule,
  defineOp,
  type Fact,
  type FrozenAxes,
  type Mapped,
  type OpRule,
} from "./define.ts";
import { fact, required } from "./facts.ts";

/** The sizes of queries, keys and values, whether their heads are an axis (rank 4) or lie inside the last one (rank 3). */
interface Heads {
  readonly rank: number;
  readonly batch: Dim;
  readonly queryHeads: Dim;
  readonly keyHeads: Dim;
  readonly queries: Dim;
  readonly keys: Dim;
  /** Keys that were there before: `past_key`. */
  readonly past: Dim;
  readonly size: Dim;
  readonly valueSize: Dim;
}

const KINDS = ["Q", "K", "V"];

/** Sizes of ai.onnx's Attention; undefined where the rank of an operand is not known. */
function headsOf(n: Applied): Heads | undefined {
  const shapes = [0, 1, 2].map((i) => required(n, i).shape);
  for (const [i, shape] of shapes.entries())
    if (shape !== undefined && (shape.length < 3 || shape.length > 4 || shape.length !== (shapes[0] ?? shape).length))
      n.fail(`${KINDS[i]} is [${shape}]; Q, K and V need the same rank, 3 or 4.`);
  const [q, k, v] = shapes as (readonly Dim[] | undefined)[];
  if (q === undefined || k === undefined || v === undefined) return undefined;
  const past = n.node.inputs[4] ? (n.inputs[4]?.shape?.[2] ?? UNKNOWN) : 0;
  const rank = q.length;
  const at = (shape: readonly Dim[], axis: number): Dim => shape[axis] as Dim;
  if (rank === 4) {
    const [queryHeads, keyHeads] = [at(q, 1), at(k, 1)];
    const parts = { batch: at(q, 0), queryHeads, keyHeads, queries: at(q, 2), keys: at(k, 2) };
    return { rank, ...parts, past, size: at(q, 3), valueSize: at(v, 3) };
  }
  const [queryHeads, keyHeads] = [n.int("q_num_heads", 0), n.int("kv_num_heads", 0)];
  if (queryHeads < 1 || keyHeads < 1)
    n.fail(`Q is [${q}]; with rank 3 it needs q_num_heads and kv_num_heads.`, "Set both attributes.");
  const part = (hidden: Dim, heads: number): Dim => {
    const size = divideExactly(hidden, heads);
    if (size === undefined && isKnown(hidden)) n.fail(`${hidden} numbers are not ${heads} heads.`);
    return size ?? UNKNOWN;
  };
  const sizes = { size: part(at(q, 2), queryHeads), valueSize: part(at(v, 2), keyHeads) };
  return { rank, batch: at(q, 0), queryHeads, keyHeads, queries: at(q, 1), keys: at(k, 1), past, ...sizes };
}

function inferAttention(n: Applied): Fact[] {
  const [q, k, v] = [required(n, 0), required(n, 1), required(n, 2)];
  const h = headsOf(n);
  if (h === undefined) return [fact(q.dtype), fact(k.dtype), fact(v.dtype), fact(q.dtype)];
  if (isKnown(h.queryHeads) && isKnown(h.keyHeads) && h.queryHeads % Math.max(h.keyHeads, 1) !== 0)
    n.fail(`${h.queryHeads} heads of queries do not share ${h.keyHeads} of keys evenly.`);
  const total = addDim(h.past, h.keys);
  const y =
    h.rank === 4
      ? [h.batch, h.queryHeads, h.queries, h.valueSize]
      : [h.batch, h.queries, mulDim(h.queryHeads, h.valueSize)];
  return [
    fact(q.dtype, y),
    fact(k.dtype, [h.batch, h.keyHeads, total, h.size]),
    fact(v.dtype, [h.batch, h.keyHeads, total, h.valueSize]),
    fact(q.dtype, [h.batch, h.queryHeads, h.queries, total]),
  ];
}

/** Whether the place of a query decides which keys it sees. */
const readsPositions = (n: Applied): boolean =>
  n.int("is_causal", 0) === 1 || n.int("left_window_size", -1) >= 0 || n.int("right_window_size", -1) >= 0;

/**
 * `n(kr)se, nk!te, nk!tf -> n(kr)sf`: each of k heads of keys serves r heads of queries. Keys are frozen, softmax runs along
 * them; without the attribute `scale` the size of a head counts.
 */
function attentionAxes(n: Mapped): AxesRule | FrozenAxes {
  const h = headsOf(n);
  const mask = n.inputs[3]?.shape;
  if (h === undefined || (n.node.inputs[3] && mask === undefined))
    return { frozen: "the rank of what Attention takes is not known" };
  const repeat = divideExactly(h.queryHeads, h.keyHeads);
  if (repeat === undefined || !isKnown(repeat)) return { frozen: "the heads of Attention are not known" };
  const [queries, e] = [readsPositions(n) ? "!s" : "s", n.has("scale") ? "e" : "~e"];
  const heads = repeat === 1 ? "k" : "kr";
  const split = (all: string, rows: string, last: string): string =>
    h.rank === 3 ? `n${rows}(${all}${last})` : `n${all.length > 1 ? `(${all})` : all}${rows}${last}`;
  const total = n.node.inputs[4] ? "!(p+t)" : "!t";
  const queryHeads = heads.length > 1 ? `(${heads})` : heads;
  const all = [
    split(heads, queries, e),
    split("k", "!t", e),
    split("k", "!t", "f"),
    mask === undefined ? "" : maskAxes(mask, h, ["n", queryHeads, queries, total]),
    `nk!p${e}`,
    "nk!pf",
    "n",
  ];
  const inputs = n.node.inputs.map((name, i) => (name === "" ? "" : (all[i] ?? "")));
  const outputs = [split(heads, queries, "f"), `nk${total}${e}`, `nk${total}f`, `n${queryHeads}${queries}${total}`];
  return {
    map: `${inputs.join(",")} -> ${outputs.slice(0, n.outputs).join(",")}`,
    sizes: { r: repeat, ...(isKnown(h.keyHeads) && { k: h.keyHeads }) },
    ...(h.rank === 3 && { holds: { q_num_heads: heads, kv_num_heads: "k" } }),
  };
}

/** The axes of a mask, right-aligned; 1 where it is broadcast, a letter of its own where it is shorter than the keys. */
function maskAxes(mask: readonly Dim[], h: Heads, letters: readonly string[]): string {
  const sizes = [h.batch, h.queryHeads, h.queries, addDim(h.past, h.keys)];
  const first = sizes.length - mask.length;
  return mask
    .map((dim, i) => {
      const size = sizes[first + i] as Dim;
      if (dim === 1 && size !== 1) return "1";
      return first + i < 3 || sameDim(dim, size) ? letters[first + i] : "!u";
    })
    .join("");
}

/** Queries with keys, and the result with values. */
function attentionMacs(n: Mapped): Dim {
  const h = headsOf(n);
  if (h === undefined) return UNKNOWN;
  const pairs = productOf([h.batch, h.queryHeads, h.queries, addDim(h.past, h.keys)]);
  return mulDim(pairs, addDim(h.size, h.valueSize));
}

const attention = defineOp({
  name: "Attention",
  since: 23,
  infer: inferAttention,
  axes: attentionAxes,
  macs: attentionMacs,
});

/** X with its heads apart (rank 4) or inside the last axis (rank 3), among the other operands. Pairs inside a head are turned: frozen. */
function rotaryAxes(n: Mapped, around: (x: string) => string, tokens = "s"): AxesRule | FrozenAxes {
  const rank = n.inputs[0]?.shape?.length;
  const heads = n.int("num_heads", 0);
  if (rank === undefined) return { frozen: "the rank of what RotaryEmbedding takes is not known" };
  if (rank === 3 && heads === 0) return { frozen: "RotaryEmbedding takes its heads from the width of its tables" };
  const x = rank === 4 ? `nh${tokens}!e` : `n${tokens}(h!e)`;
  return { map: `${around(x)} -> ${x}`, ...(rank === 3 && { sizes: { h: heads }, holds: { num_heads: "h" } }) };
}

const sameAsInput = (n: Applied): Fact[] => {
  const { dtype, shape } = required(n, 0);
  if (shape !== undefined && shape.length !== 3 && shape.length !== 4)
    n.fail(`input is [${shape}]; it needs rank 3 or 4.`);
  return [fact(dtype, shape)];
};

/** X, cosines and sines: of all positions and picked by position_ids, or of each token [batch, tokens, pairs], the batch perhaps 1. */
const rotaryEmbedding = defineOp({
  name: "RotaryEmbedding",
  since: 23,
  infer: sameAsInput,
  axes: (n) => {
    if (n.node.inputs[3]) return rotaryAxes(n, (x) => `${x},!m!c,!m!c,ns`);
    const table = n.inputs[1]?.shape?.[0] === 1 && n.inputs[0]?.shape?.[0] !== 1 ? "1s!c" : "ns!c";
    return rotaryAxes(n, (x) => `${x},${table},${table}${n.inputs.length > 3 ? "," : ""}`);
  },
});

/** X, position_ids (one number: the place of the first token), cosines and sines of all positions: com.microsoft. */
const microsoftRotary = defineOp({
  name: "RotaryEmbedding",
  domain: "com.microsoft",
  since: 1,
  infer: sameAsInput,
  axes: (n) => {
    if (n.int("is_packed_batching", 0) === 1) return { frozen: "RotaryEmbedding takes a batch that is packed" };
    return n.inputs[1]?.shape?.length === 2
      ? rotaryAxes(n, (x) => `${x},ns,!m!c,!m!c`)
      : rotaryAxes(n, (x) => `${x},1,!m!c,!m!c`, "!s");
  },
});

export const attentions: readonly OpRule[] = [attention, microsoftRotary, rotaryEmbedding];
