import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { isKnown } from "../ir/dim.ts";
import { int64s, tensorFrom } from "../ir/tensor.ts";
import { type Net, sizeAt, type Value } from "./net.ts";

/** The score of a place that may not be looked at. exp(−10⁴) is 0 in float32, and float16 still holds the number. */
const UNSEEN = -1e4;

/** The places of the tokens of [N, T, …] along T: 0, 1 … (int64, [T]). */
export function positionsOf(net: Net, tokens: Value): Value {
  const length = tokens.shape[1];
  if (length !== undefined && isKnown(length))
    return net.constant(`positions_${length}`, int64s(Array.from({ length }, (_, i) => i)));
  const shape = net.op("Shape", [tokens], { name: "length", attrs: { start: int(1), end: int(2) } });
  return rangeOf(net, net.op("Squeeze", [shape], { name: "length" }), "positions");
}

/** 0, 1 … up to a number, which is not included. */
const rangeOf = (net: Net, end: Value, name: string): Value =>
  net.op("Range", [integer(net, 0), end, integer(net, 1)], { name });

/** A constant whole number. */
const integer = (net: Net, value: number): Value => net.constant(`int_${value}`, tensorFrom("int64", [], [value]));

/** Which keys count: true for the ones of a mask [N, T] (int64), false for the zeros of padding; [N, 1, 1, T]. */
export function paddingMask(net: Net, mask: Value): Value {
  const seen = net.op("Cast", [mask], { name: "mask", attrs: { to: int(BOOL) } });
  return net.op("Unsqueeze", [seen, net.ints([1, 2])], { name: "mask" });
}

/** Which keys a query may look at where it may not see the future: true up to its own place; [T, T]. */
export function causalMask(net: Net, positions: Value): Value {
  const query = net.op("Unsqueeze", [positions, net.ints([1])], { name: "query_position" });
  return net.op("LessOrEqual", [positions, query], { name: "causal" });
}

/** The number ONNX gives the type bool. */
const BOOL = 9;

export interface AttentionOptions {
  /** Heads of the queries. */
  readonly heads: number;
  /** Heads of keys and values, of which each serves heads / kvHeads neighbouring queries; default as many. */
  readonly kvHeads?: number;
  /** True where a query may look at a key; broadcasts to [N, heads, T, S], with fewer kvHeads to [N, kvHeads, heads / kvHeads, T, S]. */
  readonly mask?: Value | undefined;
  /** What queries and keys are turned by. */
  readonly rotation?: Rotation;
}

/**
 * Attention of several heads: softmax(q · kᵀ / √d) · v in each (Vaswani et al. 2017, arXiv:1706.03762, section 3.2). Queries
 * [N, T, heads · d], keys and values [N, S, kvHeads · d], already projected; gives [N, T, heads · d], to be projected by the caller.
 * Fewer key-value heads than heads is grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245).
 *
 * @example
 * const [q, k, v] = ["query", "key", "value"].map((name) => net.linear(x, { name, out: 128 }));
 * x = net.linear(multiHeadAttention(net, q, k, v, { heads: 2 }), { name: "out", out: 128 });
 */
export function multiHeadAttention(net: Net, q: Value, k: Value, v: Value, options: AttentionOptions): Value {
  const { heads, kvHeads = heads, mask, rotation } = options;
  const width = sizeAt(q, -1);
  const size = width / heads;
  const turn = (x: Value, name: string): Value => (rotation === undefined ? x : rotate(net, x, rotation, name));
  // One more axis where several queries share a key: [N, kvHeads, heads / kvHeads, T, d].
  const grouped = kvHeads !== heads;
  const split = (x: Value, perKey: number, name: string): Value => {
    const parts = net.reshape(x, [0, 0, ...(grouped ? [kvHeads, perKey] : [heads]), size], `${name}_heads`);
    return net.transpose(parts, grouped ? [0, 2, 3, 1, 4] : [0, 2, 1, 3], `${name}_heads`);
  };
  const query = turn(split(q, heads / kvHeads, "query"), "query_rotated");
  const key = turn(split(k, 1, "key"), "key_rotated");
  const keys = net.transpose(key, grouped ? [0, 1, 2, 4, 3] : [0, 1, 3, 2], "key_transposed");
  let scores = net.mul(net.matMul(query, keys, "scores"), net.scalar(size ** -0.5), "scores");
  if (mask !== undefined) scores = net.op("Where", [mask, scores, net.scalar(UNSEEN)], { name: "scores" });
  const found = net.matMul(net.softmax(scores, -1, "weights"), split(v, 1, "value"), "context");
  const together = net.transpose(found, grouped ? [0, 3, 1, 2, 4] : [0, 2, 1, 3], "context");
  return net.reshape(together, [0, 0, width], "context");
}

/** Cosines and sines of the angle by which each pair of a head is turned at each place, [T, d / 2]. */
export interface Rotation {
  readonly cos: Value;
  readonly sin: Value;
}

/**
 * The angles of rotary position embedding for heads of `size`: place / theta^(2i / size) for pair i (Su et al. 2021,
 * arXiv:2104.09864, section 3.2.2). `positions` is [T].
 */
export function rotaryEmbedding(net: Net, positions: Value, size: number, theta = 10_000): Rotation {
  if (size % 2 !== 0)
    throw new MinnowError(`Heads of ${size} channels have no pairs that could be turned.`, {
      code: "architectures/heads",
      mend: "Give a dimension that is an even multiple of the number of heads.",
    });
  const pairs = rangeOf(net, integer(net, size / 2), "rotary");
  const index = net.op("Cast", [pairs], { name: "rotary", attrs: { to: int(FLOAT) } });
  const frequencies = net.op("Exp", [net.mul(index, net.scalar((-2 * Math.log(theta)) / size), "rotary")], {
    name: "rotary",
  });
  const places = net.op("Cast", [positions], { name: "rotary_positions", attrs: { to: int(FLOAT) } });
  const column = net.op("Unsqueeze", [places, net.ints([1])], { name: "rotary_positions" });
  const angles = net.mul(column, frequencies, "angles");
  return { cos: net.op("Cos", [angles], { name: "cos" }), sin: net.op("Sin", [angles], { name: "sin" }) };
}

/** The number ONNX gives the type float32. */
const FLOAT = 1;

/** Turns heads […, T, d]: pair i is made of elements i and i + d / 2, as Hugging Face stores them. */
export function rotate(net: Net, x: Value, { cos, sin }: Rotation, name = "rotated"): Value {
  const half = sizeAt(x, -1) / 2;
  const [a, b] = net.split(x, [half, half], -1, name) as [Value, Value];
  const first = net.sub(net.mul(a, cos, name), net.mul(b, sin, name), name);
  const second = net.add(net.mul(b, cos, name), net.mul(a, sin, name), name);
  return net.concat([first, second], -1, name);
}

/** x / √(mean of x² + eps), times `<name>.weight`, over the last axis (Zhang and Sennrich 2019, arXiv:1910.07467). */
export function rmsNorm(net: Net, x: Value, { name, eps = 1e-6 }: { name: string; eps?: number }): Value {
  const weight = net.parameter(`${name}.weight`, [sizeAt(x, -1)], (values) => values.fill(1));
  const square = net.op("Pow", [x, net.scalar(2)], { name: `${name}.square` });
  const mean = net.add(net.mean(square, [-1], true, `${name}.mean`), net.scalar(eps), `${name}.mean`);
  const root = net.op("Sqrt", [mean], { name: `${name}.root` });
  return net.mul(net.div(x, root, name), weight, name);
}

export interface FeedForwardOptions {
  /** The layer that widens, and the one that narrows again. */
  readonly names: readonly [string, string];
  /** The width in between. */
  readonly inner: number;
  readonly activation: (x: Value) => Value;
}

/** Two linear layers with an activation in between (Vaswani et al. 2017, section 3.3). */
export function feedForward(
  net: Net,
  x: Value,
  { names: [widen, narrow], inner, activation }: FeedForwardOptions,
): Value {
  const wide = activation(net.linear(x, { name: widen, out: inner }));
  return net.linear(wide, { name: narrow, out: sizeAt(x, -1) });
}

/** SwiGLU: down(silu(gate(x)) · up(x)), without biases (Shazeer 2020, arXiv:2002.05202). */
export function swiGlu(net: Net, x: Value, inner: number): Value {
  const layer = (name: string): Value => net.linear(x, { name, out: inner, bias: false });
  const gated = net.mul(net.silu(layer("gate_proj"), "gate"), layer("up_proj"), "gated");
  return net.linear(gated, { name: "down_proj", out: sizeAt(x, -1), bias: false });
}

/** The first token's state of [N, T, C]: [N, C]. */
export const firstToken = (net: Net, x: Value): Value =>
  net.op("Gather", [x, integer(net, 0)], { name: "first_token", attrs: { axis: int(1) } });
