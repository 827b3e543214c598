import type { DType } from "../ir/dtype.ts";
import type { Backward, Gradients } from "./gradient.ts";

/*
 * Straight-through: the gradient of a quantized integer tensor is given in the units of what it stands for, so that it
 * passes every operator that only moves integers as it is. Scales as in LSQ (Esser et al. 2020, arXiv:1902.08153).
 */

/** The least and the greatest number of a quantized type. */
const RANGES: Partial<Record<DType, readonly [number, number]>> = {
  uint2: [0, 3],
  int2: [-2, 1],
  uint4: [0, 15],
  int4: [-8, 7],
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  float4e2m1: [-6, 6],
  float8e4m3fn: [-448, 448],
  float8e4m3fnuz: [-240, 240],
  float8e5m2: [-57344, 57344],
  float8e5m2fnuz: [-57344, 57344],
};

/** Where the scale of a node lies: the shape of what is quantized with every block split off, and the blocks' own axes. */
interface Blocks {
  /** The shape of x, its blocked axis padded to whole blocks. */
  readonly whole: readonly number[];
  /** `whole` with the blocked axis as [blocks, elements of one]. */
  readonly split: readonly number[];
  /** The shape of a scale that broadcasts to `split`. */
  readonly scale: readonly number[];
}

function blocksOf(g: Backward): Blocks {
  const [shape, scale] = [g.shape(g.x[0] as string), g.shape(g.x[1] as string)];
  const one = shape.map(() => 1);
  if (scale.length === 0 || (scale.length === 1 && scale[0] === 1)) return { whole: shape, split: shape, scale: one };
  const axis = g.axis(g.int("axis", 1), g.x[0] as string);
  if (scale.length === 1) return { whole: shape, split: shape, scale: one.with(axis, scale[0] as number) };
  const [count, size] = [scale[axis] as number, g.int("block_size", 0)];
  return {
    whole: shape.with(axis, count * size),
    split: shape.toSpliced(axis, 1, count, size),
    scale: scale.toSpliced(axis, 1, count, 1),
  };
}

/** A scale or a zero point as many times as what is quantized with it. */
function spread(g: Backward, value: string): string {
  const { whole, split, scale } = blocksOf(g);
  const parameter = g.reshape(value, scale);
  if (split.length === whole.length) return parameter;
  const all = g.reshape(g.expand(parameter, split), whole);
  const shape = g.shape(g.x[0] as string);
  return g.pad(all, [...shape.map(() => 0), ...shape.map((size, i) => size - (whole[i] as number))]);
}

/** The sums over all that is quantized with the same scale. */
function gathered(g: Backward, value: string): string {
  const { whole, split, scale } = blocksOf(g);
  const shape = g.shape(value);
  const padded = g.pad(value, [...shape.map(() => 0), ...shape.map((size, i) => (whole[i] as number) - size)]);
  return g.reshape(g.sumTo(g.reshape(padded, split), scale), g.shape(g.x[1] as string));
}

/** The gradient where x lies in the range of the type, zero where it saturates. */
function inside(g: Backward): string {
  const [x, scale, zero] = g.x as [string, string, string | undefined];
  const dtype = g.dtype(g.dy);
  const [low, high] = RANGES[g.dtype(g.y)] ?? [-Infinity, Infinity];
  const steps = g.div(g.cast(x, dtype), g.cast(spread(g, scale), dtype));
  const level = zero ? g.add(steps, spread(g, g.cast(zero, dtype))) : steps;
  const within = g.op("And", [g.is("GreaterOrEqual", level, low), g.is("LessOrEqual", level, high)]);
  return g.where(within, g.dy, 0);
}

function quantize(g: Backward): readonly (string | undefined)[] {
  const [x, scale] = g.x as [string, string];
  const dx = inside(g);
  const sum = () => gathered(g, g.mul(dx, g.cast(x, g.dtype(dx))));
  return [dx, g.wants(1) ? g.neg(g.div(sum(), g.cast(scale, g.dtype(dx)))) : undefined];
}

function dequantize(g: Backward): readonly (string | undefined)[] {
  const scale = g.x[1] as string;
  const sum = () => gathered(g, g.mul(g.dy, g.y));
  return [g.dy, g.wants(1) ? g.div(sum(), g.cast(scale, g.dtype(g.dy))) : undefined];
}

const runtime = {
  missing: "it computes in integers: train with QuantizeLinear and DequantizeLinear around the operator",
};

export const quantGradients: Gradients = {
  // q = clamp(round(x/s) + z): dx = dq where nothing saturates, ds = −Σ dq·x/s over the same
  QuantizeLinear: quantize,
  "com.microsoft:QuantizeLinear": quantize,
  // y = (q − z)·s: dq = dy in the units of y, ds = Σ dy·(q − z) = Σ dy·y / s
  DequantizeLinear: dequantize,
  "com.microsoft:DequantizeLinear": dequantize,
  DynamicQuantizeLinear: { missing: "its scale follows the range of its input; give it a scale with QuantizeLinear" },
  "com.microsoft:GatherBlockQuantized": { missing: "its table is packed: train before it is" },
  "com.microsoft:QLinearAdd": runtime,
  "com.microsoft:QLinearMul": runtime,
  "com.microsoft:QLinearConcat": runtime,
  "com.microsoft:QLinearGlobalAveragePool": runtime,
  "com.microsoft:QLinearLeakyRelu": runtime,
  "com.microsoft:QLinearSigmoid": runtime,
  "com.microsoft:QLinearSoftmax": runtime,
};
