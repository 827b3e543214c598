import { int } from "../ir/attrs.ts";
import type { Attrs } from "../ir/graph.ts";
import type { Backward, Gradient, Gradients } from "./gradient.ts";

/** What the fourth output of Attention holds, by `qk_matmul_output_mode`: the scores from stage to stage, in ONNX Runtime 1.30. */
const SCORES = 0;
const CAPPED = 1;
const MASKED = 2;
const PROBABILITIES = 3;

/** Sizes of queries, keys and values, and how their heads come apart: an axis of their own, or inside the last one. */
class Heads {
  readonly #g: Backward;
  readonly apart: boolean;
  readonly queryHeads: number;
  readonly keyHeads: number;

  constructor(g: Backward) {
    const [q, k] = g.x as [string, string];
    this.#g = g;
    this.apart = g.rank(q) === 4;
    this.queryHeads = this.apart ? (g.shape(q)[1] as number) : g.int("q_num_heads", 1);
    this.keyHeads = this.apart ? (g.shape(k)[1] as number) : g.int("kv_num_heads", 1);
  }

  /** [batch, heads, tokens, size] of what may be [batch, tokens, heads · size]. */
  split(a: string, heads: number): string {
    if (this.apart) return a;
    const [batch, tokens, width] = this.#g.shape(a) as [number, number, number];
    return this.#g.transpose(this.#g.reshape(a, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
  }

  /** The other way round. */
  join(a: string): string {
    if (this.apart) return a;
    const [batch, heads, tokens, size] = this.#g.shape(a) as [number, number, number, number];
    return this.#g.reshape(this.#g.transpose(a, [0, 2, 1, 3]), [batch, tokens, heads * size]);
  }

  /** The query heads that share a head of keys, one below the other: [batch, keyHeads, r · tokens, size]. */
  grouped(a: string): string {
    const [batch, heads, tokens, size] = this.#g.shape(a) as [number, number, number, number];
    return this.#g.reshape(a, [batch, this.keyHeads, (heads / this.keyHeads) * tokens, size]);
  }
}

/** Attention once more, for its scores at one stage. */
function scoresAt(g: Backward, stage: number): string {
  const attrs: Attrs = { ...g.node.attrs, qk_matmul_output_mode: int(stage) };
  return g.ops("Attention", g.x, 4, attrs)[3] as string;
}

/** P from queries and keys, where nothing but a mask of floats comes between; else from the operator, run once more. */
function probabilitiesOf(g: Backward, queries: string, keys: string, scale: number, shape: readonly number[]): string {
  const mask = g.x[3];
  const simple = !mask || (g.dtype(mask) !== "bool" && g.shape(mask).at(-1) === shape[3]);
  const windowed =
    g.int("is_causal", 0) === 1 || ["left", "right"].some((side) => g.int(`${side}_window_size`, -1) >= 0);
  if (!simple || windowed || g.x[6] || g.float("softcap", 0) !== 0) return scoresAt(g, PROBABILITIES);
  const scores = g.reshape(g.mul(scale, g.matMul(queries, keys, { transB: true })), shape);
  return g.op("Softmax", [mask ? g.add(scores, mask) : scores], { axis: int(-1) });
}

/**
 * What the loss gains by the raw scores Q Kᵀ · scale, and by the mask. Through P = softmax(S + M), S = c · tanh(raw / c):
 * dS = P(dP − Σ P dP), dM = dS, d raw = dS(1 − (S / c)²).
 */
function scoreGradients(g: Backward, probabilities: string, dP: string): { raw: string; mask: string } {
  const mode = g.int("qk_matmul_output_mode", SCORES);
  const also = (stage: number, value: string) => (g.dys[3] && mode === stage ? g.add(value, g.dys[3]) : value);
  const d = also(PROBABILITIES, dP);
  const masked = also(MASKED, g.mul(probabilities, g.sub(d, g.sum(g.mul(probabilities, d), [3]))));
  const capped = also(CAPPED, masked);
  const cap = g.float("softcap", 0);
  if (cap === 0) return { raw: also(SCORES, capped), mask: masked };
  const share = g.mul(1 / cap, scoresAt(g, CAPPED));
  return { raw: also(SCORES, g.mul(capped, g.sub(1, g.mul(share, share)))), mask: masked };
}

/** The gradient of a float mask, which is broadcast and may be shorter than the keys. */
function maskGradient(g: Backward, mask: string, d: string): string {
  const shape = g.shape(mask);
  const [own, keys] = [shape.at(-1) as number, g.shape(d)[3] as number];
  return g.sumTo(own > 1 && own < keys ? g.slice(d, [0], [own], [3]) : d, shape);
}

/**
 * Y = P V: dV = Pᵀ dY, dP = dY Vᵀ; with the gradient of the raw scores Q Kᵀ · scale: dQ = scale · d K, dK = scale · dᵀ Q.
 * Of keys and values with a past, each part gets its own.
 */
const attention: Gradient = (g) => {
  const [q, k, v, mask, pastKey, pastValue] = g.x as [string, string, string, ...(string | undefined)[]];
  const heads = new Heads(g);
  const whole = (past: string | undefined, a: string) => {
    const now = heads.split(a, heads.keyHeads);
    return past ? g.concat([past, now], 2) : now;
  };
  const [keys, values] = [whole(pastKey, k), whole(pastValue, v)];
  const queries = heads.split(q, heads.queryHeads);
  const scale = g.float("scale", 1 / Math.sqrt(g.shape(queries)[3] as number));
  const [batch, , tokens] = g.shape(queries) as [number, number, number];
  const shape = [batch, heads.queryHeads, tokens, g.shape(keys)[2] as number];
  const probabilities = probabilitiesOf(g, heads.grouped(queries), keys, scale, shape);
  const dY = heads.grouped(heads.split(g.dy, heads.queryHeads));
  const dP = g.reshape(g.matMul(dY, values, { transB: true }), shape);
  const { raw, mask: dMask } = scoreGradients(g, probabilities, dP);
  const scaled = heads.grouped(g.mul(scale, raw));
  const dQueries = g.reshape(g.matMul(scaled, keys), g.shape(queries));
  const dKeys = g.matMul(scaled, heads.grouped(queries), { transA: true });
  const dValues = g.matMul(heads.grouped(probabilities), dY, { transA: true });
  const parts = (d: string, present: string | undefined, past: string | undefined) => {
    const all = present ? g.add(d, present) : d;
    if (!past) return [heads.join(all), undefined];
    const [before, end] = [g.shape(past)[2] as number, g.shape(all)[2] as number];
    return [heads.join(g.slice(all, [before], [end], [2])), g.slice(all, [0], [before], [2])];
  };
  const [dK, dPastKey] = parts(dKeys, g.dys[1], pastKey);
  const [dV, dPastValue] = parts(dValues, g.dys[2], pastValue);
  const dM = mask && g.wants(3) && g.dtype(mask) !== "bool" ? maskGradient(g, mask, dMask) : undefined;
  return [heads.join(dQueries), dK, dV, dM, dPastKey, dPastValue];
};

/** A rotation of pairs: the gradient is turned back, by sines of the other sign. The tables get none. */
const rotary =
  (sines: number): Gradient =>
  (g) => {
    const inputs = g.x.map((name, i) => (i === 0 ? g.dy : i === sines ? g.neg(name) : name));
    return [g.op("RotaryEmbedding", inputs, g.node.attrs, g.node.domain)];
  };

export const attentionGradients: Gradients = {
  Attention: attention,
  RotaryEmbedding: rotary(2),
  "com.microsoft:RotaryEmbedding": rotary(3),
};
