import { addDim, type Dim, divideExactly, isKnown, maxDim, mulDim, productOf, UNKNOWN } from "../ir/dim.ts";
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

const MICROSOFT = "com.microsoft";

/** Sizes of an attention of com.microsoft; `valueSize` is that of a head of values. */
interface Sizes {
  readonly batch: Dim;
  readonly heads: number;
  readonly queries: Dim;
  readonly keys: Dim;
  readonly past: Dim;
  readonly size: Dim;
  readonly valueSize: Dim;
}

function headCount(n: Applied, attribute: string): number {
  const heads = n.int(attribute, 0);
  return heads > 0 ? heads : n.fail(`it has no ${attribute}.`, "The operator requires the attribute.");
}

function part(n: Applied, hidden: Dim, heads: number): Dim {
  const size = divideExactly(hidden, heads);
  if (size === undefined && isKnown(hidden)) n.fail(`${hidden} numbers are not ${heads} heads.`);
  return size ?? UNKNOWN;
}

/** Sizes of MultiHeadAttention: heads inside the last axis (rank 3), an axis of their own (rank 4), or packed (rank 5). */
function sizesOfHeads(n: Applied): Sizes | undefined {
  const heads = headCount(n, "num_heads");
  const [q, k, v, past] = [required(n, 0).shape, n.inputs[1]?.shape, n.inputs[2]?.shape, n.inputs[6]?.shape];
  if (q === undefined || (n.node.inputs[1] && k === undefined) || (n.node.inputs[2] && v === undefined))
    return undefined;
  if (q.length !== 3 && q.length !== 5) n.fail(`the query is [${q}]; it needs rank 3, or 5 where it is packed.`);
  if ([k, v].some((shape) => shape !== undefined && (shape.length < 3 || shape.length > 5)))
    n.fail(`key and value are [${k}] and [${v}]; they need rank 3, 4 or 5.`);
  const at = (shape: readonly Dim[], axis: number): Dim => shape[axis] ?? UNKNOWN;
  const size = q.length === 5 ? at(q, 4) : part(n, at(q, 2), heads);
  const valueSize = v === undefined ? size : v.length === 4 ? at(v, 3) : part(n, at(v, 2), heads);
  const keys = k === undefined ? at(q, 1) : at(k, k.length === 4 ? 2 : 1);
  const before = n.node.inputs[6] ? (past?.[2] ?? UNKNOWN) : 0;
  return { batch: at(q, 0), heads, queries: at(q, 1), keys, past: before, size, valueSize };
}

function inferMultiHead(n: Applied): Fact[] {
  const { dtype } = required(n, 0);
  const s = sizesOfHeads(n);
  if (s === undefined) return [fact(dtype), fact(dtype), fact(dtype), fact(dtype)];
  // With a length given apart, past and present share one buffer.
  const total = n.node.inputs[8] ? s.past : addDim(s.past, s.keys);
  return [
    fact(dtype, [s.batch, s.queries, mulDim(s.heads, s.valueSize)]),
    fact(dtype, [s.batch, s.heads, total, s.size]),
    fact(dtype, [s.batch, s.heads, total, s.valueSize]),
    fact(dtype, [s.batch, s.heads, s.queries, n.node.inputs[8] ? UNKNOWN : total]),
  ];
}

/** `ns(ke), n!t(ke), n!t(kf), (ke+ke+kf) -> ns(kf)`: keys are frozen, softmax runs along them. */
function multiHeadAxes(n: Mapped): AxesRule | FrozenAxes {
  const shapes = n.node.inputs.map((name, i) => (name === "" ? undefined : (n.inputs[i]?.shape ?? [])));
  const [q, k, v, , padding, bias, past] = shapes;
  if (q?.length !== 3 || k === undefined || v === undefined || k.length > 4 || v.length > 4)
    return { frozen: "MultiHeadAttention takes queries, keys and values packed" };
  if (shapes[8] !== undefined) return { frozen: "MultiHeadAttention writes into a buffer" };
  const s = n.int("unidirectional", 0) === 1 ? "!s" : "s";
  // The runtime wants heads of keys and of values of one size where either has its heads apart, or a past.
  const tied = past !== undefined || k.length === 4 || v.length === 4;
  const [e, f] = tied ? ["!e", "!f"] : [n.has("scale") ? "e" : "~e", "f"];
  const total = past === undefined ? "!t" : "!(p+t)";
  const apart = (shape: readonly Dim[], last: string): string => (shape.length === 4 ? `nk!t${last}` : `n!t(k${last})`);
  const along = ["n", "k", s, total];
  const masks = [[], ["n"], ["n", total], ["n", s, total]];
  const weights = bias
    ?.map((dim, i) => (dim === 1 && n.results[0]?.shape?.[0] !== 1 && i < 2 ? "1" : along[i]))
    .join("");
  const padded = padding?.length === 1 && padding[0] !== q[0] ? "!u" : masks[padding?.length ?? 0]?.join("");
  const all = [
    `n${s}(k${e})`,
    apart(k, e),
    apart(v, f),
    `(k${e}+k${e}+k${f})`,
    padded,
    weights,
    `nk!p${e}`,
    `nk!p${f}`,
  ];
  const outputs = [`n${s}(k${f})`, `nk${total}${e}`, `nk${total}${f}`, `nk${s}${total}`];
  return {
    map: `${n.node.inputs.map((name, i) => (name === "" ? "" : (all[i] ?? ""))).join(",")} -> ${outputs.slice(0, n.outputs).join(",")}`,
    sizes: { k: n.int("num_heads", 1) },
    holds: { num_heads: "k" },
  };
}

const multiHeadAttention = defineOp({
  name: "MultiHeadAttention",
  domain: MICROSOFT,
  since: 1,
  infer: inferMultiHead,
  axes: multiHeadAxes,
  macs: (n) => {
    const s = sizesOfHeads(n);
    if (s === undefined) return UNKNOWN;
    return mulDim(productOf([s.batch, s.heads, s.queries, addDim(s.past, s.keys)]), addDim(s.size, s.valueSize));
  },
});

/** Sizes of GroupQueryAttention, whose query may hold keys and values too; undefined where the query's rank is not known. */
function groupSizes(n: Applied): (Sizes & { readonly keyHeads: number }) | undefined {
  const [heads, keyHeads] = [headCount(n, "num_heads"), headCount(n, "kv_num_heads")];
  const q = required(n, 0).shape;
  if (q === undefined) return undefined;
  if (q.length !== 3) n.fail(`the query is [${q}]; it needs rank 3.`);
  const [batch, queries, hidden] = q as [Dim, Dim, Dim];
  const size = part(n, hidden, n.node.inputs[1] ? heads : heads + 2 * keyHeads);
  const past = n.node.inputs[3] ? (n.inputs[3]?.shape?.[2] ?? UNKNOWN) : 0;
  return { batch, heads, keyHeads, queries, keys: queries, past, size, valueSize: size };
}

/** Attention of groups of heads to one head of keys, with a cache that past and present share or that grows. */
const groupQueryAttention = defineOp({
  name: "GroupQueryAttention",
  domain: MICROSOFT,
  since: 1,
  infer: (n) => {
    const { dtype } = required(n, 0);
    const s = groupSizes(n);
    const cache = n.inputs[3]?.dtype ?? dtype;
    if (s === undefined) return [fact(dtype), fact(cache), fact(cache), fact(dtype)];
    const total = n.inputs[6]?.value?.[0] ?? UNKNOWN;
    // A cache that slides keeps its length.
    const slides = n.int("sliding_window_cache", 0) === 1;
    const kept = [s.batch, s.keyHeads, slides ? s.past : maxDim(s.past, total), s.size];
    return [
      fact(dtype, [s.batch, s.queries, mulDim(s.heads, s.size)]),
      fact(cache, kept),
      fact(cache, kept),
      fact(dtype, [s.batch, s.heads, s.queries, slides ? UNKNOWN : total]),
    ];
  },
  axes: () => ({ frozen: "GroupQueryAttention keeps its heads in a cache" }),
  macs: (n) => {
    const s = groupSizes(n);
    return s === undefined
      ? UNKNOWN
      : productOf([s.batch, s.heads, s.queries, addDim(s.past, s.keys), mulDim(2, s.size)]);
  },
});

export const fusedAttentions: readonly OpRule[] = [groupQueryAttention, multiHeadAttention];
