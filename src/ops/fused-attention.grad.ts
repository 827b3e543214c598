import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { titleOf } from "../ir/walk.ts";
import type { Backward, Gradients } from "./gradient.ts";

const MICROSOFT = "com.microsoft";

/** Stands for −∞ where a query must not see a key. */
const HIDDEN = -1e30;

function refuse(g: Backward, what: string): never {
  throw new MinnowError(`Its gradient is not known for ${what}.`, {
    code: "train/no-gradient",
    at: titleOf(g.node),
    mend: "Train the model as it was before the operator was fused, and fuse it afterwards.",
  });
}

/** [batch, heads, tokens, size] of [batch, tokens, heads · size]; what has its heads apart stays. */
function split(g: Backward, a: string, heads: number): string {
  if (g.rank(a) === 4) return a;
  const [batch, tokens, width] = g.shape(a) as [number, number, number];
  return g.transpose(g.reshape(a, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
}

/** Columns from `start` on of the last axis. */
const columns = (g: Backward, a: string, start: number, count: number): string =>
  g.slice(a, [start], [start + count], [g.rank(a) - 1]);

interface Softmaxed {
  readonly scale: number;
  readonly softcap?: number;
  /** What is added to the scores before the softmax: masks and biases. */
  readonly biases: readonly string[];
  /** What is added last: the {@link pattern} of what a query sees. */
  readonly seen?: string | undefined;
  /** Scores of one key more, that every query sees and that has no value. */
  readonly sink?: string | undefined;
}

/** y = P V, P = softmax(Q Kᵀ · scale + biases) of 4-D operands, a head of keys for every so many of queries; and the scores. */
function attend(
  g: Backward,
  [q, k, v]: readonly [string, string, string],
  how: Softmaxed,
): { readonly y: string; readonly scores: string; readonly probabilities: string } {
  const [batch, heads, tokens, size] = g.shape(q) as [number, number, number, number];
  const [keyHeads, keys] = g.shape(k).slice(1) as [number, number];
  const rows = (heads / keyHeads) * tokens;
  const grouped = g.reshape(q, [batch, keyHeads, rows, size]);
  const raw = g.mul(how.scale, g.matMul(grouped, k, { transB: true }));
  let scores = g.reshape(raw, [batch, heads, tokens, keys]);
  if (how.softcap) scores = g.mul(how.softcap, g.op("Tanh", [g.mul(1 / how.softcap, scores)]));
  for (const bias of how.biases) scores = g.add(scores, bias);
  let all = how.seen ? g.add(scores, how.seen) : scores;
  if (how.sink) all = g.concat([all, g.expand(how.sink, [batch, heads, tokens, 1])], 3);
  all = g.op("Softmax", [all], { axis: int(-1) });
  const probabilities = how.sink ? columns(g, all, 0, keys) : all;
  const y = g.matMul(g.reshape(probabilities, [batch, keyHeads, rows, keys]), v);
  const width = g.shape(v)[3] as number;
  const apart = g.transpose(g.reshape(y, [batch, heads, tokens, width]), [0, 2, 1, 3]);
  return { y: g.reshape(apart, [batch, tokens, heads * width]), scores, probabilities };
}

/** [1, 1, tokens, keys]: 0 where `sees` says that a query sees a key, both counted with the past; else next to −∞. */
function pattern(
  g: Backward,
  [past, tokens, keys]: readonly [number, number, number],
  sees: (query: number, key: number) => boolean,
): string {
  const values = Array.from({ length: tokens * keys }, (_, i) =>
    sees(past + Math.floor(i / keys), i % keys) ? 0 : HIDDEN,
  );
  return g.constant(g.dtype(g.x[0] as string), [1, 1, tokens, keys], values);
}

/** What a padding mask of integers adds to the scores: [batch] lengths, or 1 for keys that count. */
function padding(g: Backward, mask: string, keys: number, filter: number): string {
  const shape = g.shape(mask);
  const batch = g.shape(g.x[0] as string)[0] as number;
  if (shape.length === 1 && shape[0] !== batch) refuse(g, "a padding mask of starts and ends");
  const type = g.dtype(g.x[0] as string);
  const places = g.constant(g.dtype(mask), [1, keys], [...Array(keys).keys()]);
  const counts = shape.length === 1 ? g.op("Less", [places, g.reshape(mask, [batch, 1])]) : g.is("Greater", mask, 0);
  const wide = shape.length === 3 ? [batch, 1, shape[1] as number, keys] : [batch, 1, 1, keys];
  return g.reshape(g.where(counts, 0, filter, type), wide);
}

/** Queries, keys and values of MultiHeadAttention with their heads apart, the bias added. */
function multiHeads(g: Backward): [string, string, string] {
  const [q, k, v, bias] = g.x as [string, string, string, string];
  if (!k || !v || g.rank(q) !== 3 || g.rank(k) > 4 || g.rank(v) > 4) refuse(g, "queries, keys and values packed");
  if (bias && g.rank(k) === 4) refuse(g, "a bias of keys that have their heads apart");
  let start = 0;
  return [q, k, v].map((a) => {
    if (!bias) return split(g, a, g.int("num_heads", 1));
    const width = g.shape(a)[2] as number;
    start += width;
    return split(g, g.add(a, columns(g, bias, start - width, width)), g.int("num_heads", 1));
  }) as [string, string, string];
}

function multiHead(g: Backward): readonly string[] {
  if (g.x[8]) refuse(g, "a past that lies in a buffer");
  const [q, ownKeys, ownValues] = multiHeads(g);
  const before = g.x[6] ? (g.shape(g.x[6])[2] as number) : 0;
  const k = g.x[6] ? g.concat([g.x[6], ownKeys], 2) : ownKeys;
  const v = g.x[7] ? g.concat([g.x[7], ownValues], 2) : ownValues;
  const [tokens, keys] = [g.shape(q)[2] as number, g.shape(k)[2] as number];
  // In ONNX Runtime the last query sees all keys, also those that come after it where there are more keys than queries.
  const last = before + tokens - 1;
  const filter = g.float("mask_filter_value", -10000);
  const biases = [g.x[4] && padding(g, g.x[4], keys, filter), g.x[5]].filter((bias): bias is string => !!bias);
  const seen =
    g.int("unidirectional", 0) === 1
      ? pattern(g, [before, tokens, keys], (query, key) => key <= query || query === last)
      : undefined;
  const scale = g.float("scale", 0) || 1 / Math.sqrt(g.shape(q)[3] as number);
  return [attend(g, [q, k, v], { scale, biases, seen }).y, k, v];
}

/** Queries, keys and values of GroupQueryAttention with their heads apart, from three inputs or from one. */
function groups(g: Backward): [string, string, string] {
  const [heads, keyHeads] = [g.int("num_heads", 1), g.int("kv_num_heads", 1)];
  const [q, k, v] = g.x as [string, string, string];
  if (k && v) return [split(g, q, heads), split(g, k, keyHeads), split(g, v, keyHeads)];
  const size = (g.shape(q)[2] as number) / (heads + 2 * keyHeads);
  const part = (start: number, count: number) => split(g, columns(g, q, start * size, count * size), count);
  return [part(0, heads), part(heads, keyHeads), part(heads + keyHeads, keyHeads)];
}

/** Every sequence is taken to be as long as the longest: what stands behind the end of a shorter one has no meaning. */
function groupQuery(g: Backward): readonly string[] {
  if (g.int("sliding_window_cache", 0) === 1) refuse(g, "a cache that slides");
  let [q, ownKeys, ownValues] = groups(g);
  const [tokens, size] = g.shape(q).slice(2) as [number, number];
  const before = g.x[3] ? (g.shape(g.x[3])[2] as number) : 0;
  if (g.int("do_rotary", 0) === 1) {
    const places = g.x[9] || g.ints([before]);
    const attrs = { interleaved: int(g.int("rotary_interleaved", 0)) };
    const turned = (a: string) =>
      g.op("RotaryEmbedding", [a, places, g.x[7] as string, g.x[8] as string], attrs, MICROSOFT);
    [q, ownKeys] = [turned(q), turned(ownKeys)];
  }
  const k = before > 0 ? g.concat([g.x[3] as string, ownKeys], 2) : ownKeys;
  const v = before > 0 ? g.concat([g.x[4] as string, ownValues], 2) : ownValues;
  const keys = before + tokens;
  const [causal, window] = [g.int("causal", 1) === 1, g.int("local_window_size", -1)];
  const seen =
    causal || window > 0
      ? pattern(
          g,
          [before, tokens, keys],
          (query, key) => (!causal || key <= query) && (window <= 0 || query - key < window),
        )
      : undefined;
  const biases = g.x[10] ? [g.x[10]] : [];
  const scale = g.float("scale", 0) || 1 / Math.sqrt(size);
  const sink = g.x[11]
    ? g.reshape(g.x[11], [1, g.shape(q)[1] as number, 1, 1])
    : g.int("smooth_softmax", 0) === 1
      ? g.scalar(0, g.dtype(q))
      : undefined;
  const softcap = g.float("softcap", 0);
  const { y, scores, probabilities } = attend(g, [q, k, v], { scale, softcap, biases, seen, sink });
  const visible = () => (seen ? g.mul(scores, g.mask(g.is("Equal", seen, 0), scores)) : scores);
  return [y, k, v, g.int("qk_output", 0) === 1 ? visible() : probabilities];
}

/** Both are said as what they were before the fusion: a product, a softmax and a product. */
export const fusedAttentionGradients: Gradients = {
  "com.microsoft:GroupQueryAttention": { as: groupQuery },
  "com.microsoft:MultiHeadAttention": { as: multiHead },
};
