import { elements, type Tensor, viewOf } from "../ir/tensor.ts";
import type { AdapterModule, Factor } from "./adapter.ts";
import type { LoraLayer } from "./lora-layers.ts";

/** Zeros of a shape, or what `fill` makes of them. */
export const factor = (
  shape: readonly number[],
  fill: (data: Float32Array) => Float32Array = (data) => data,
): Factor => ({
  shape,
  data: fill(new Float32Array(elements(shape))),
});

/** The weight's numbers in PyTorch's order. */
export async function ordered(tensor: Tensor, { order, shape }: LoraLayer): Promise<Float32Array> {
  return rearranged(viewOf("float32", await tensor.read()) as Float32Array, tensor.shape, order, shape);
}

/** Numbers of this shape with axis `order[i]` as axis i. */
export function rearranged(
  data: Float32Array,
  from: readonly number[],
  order: readonly number[],
  to: readonly number[],
): Float32Array {
  if (order.every((axis, i) => axis === i)) return data;
  const strides = from.map((_, i) => elements(from.slice(i + 1)));
  const steps = order.map((axis) => strides[axis] as number);
  const out = new Float32Array(data.length);
  const at = new Array<number>(to.length).fill(0);
  let source = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = data[source] as number;
    for (let axis = to.length - 1; axis >= 0; axis--) {
      source += steps[axis] as number;
      at[axis] = (at[axis] as number) + 1;
      if (at[axis] !== to[axis]) break;
      source -= (steps[axis] as number) * (to[axis] as number);
      at[axis] = 0;
    }
  }
  return out;
}

/** The length of each of `rows` rows. */
export function lengthsOf(data: Float32Array, rows: number): Float32Array {
  const size = data.length / rows;
  return Float32Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = row * size; i < (row + 1) * size; i++) sum += (data[i] as number) ** 2;
    return Math.sqrt(sum);
  });
}

/** W + scale · B · A in PyTorch's order, and the factor of each row: DoRA's length over the row's, else 1. */
export function mergedOf(
  weight: Float32Array,
  { a, b, magnitude }: AdapterModule,
  scale: number,
): { readonly sum: Float32Array; readonly factors: Float32Array } {
  const [out = 1, r = 1] = b.shape;
  const size = weight.length / out;
  const sum = weight.slice();
  for (let row = 0; row < out; row++)
    for (let k = 0; k < r; k++) {
      const share = scale * (b.data[row * r + k] as number);
      for (let i = 0; i < size; i++)
        sum[row * size + i] = (sum[row * size + i] as number) + share * (a.data[k * size + i] as number);
    }
  const lengths = magnitude && lengthsOf(sum, out);
  const factors = new Float32Array(out).map((_, row) =>
    lengths === undefined ? 1 : (magnitude?.data[row] as number) / (lengths[row] as number),
  );
  return { sum, factors };
}
