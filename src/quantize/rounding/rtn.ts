import type { Rounding } from "../blocks.ts";

/** Scales below this would have no finite inverse in float32; such blocks count as zeros. */
export const LEAST_MAGNITUDE = 2 ** -120;

/**
 * Round to nearest, over the whole range of each block. Symmetric: the number of largest magnitude takes the lowest level,
 * which is one further from the middle than the highest. Asymmetric: the range is widened to hold 0, which stays exact.
 * Source: ONNX Runtime, `MatMulNBits`, and the `q4_0` format of ggml for the sign of the scale.
 */
export const roundToNearest: Rounding = (values, size, grid, into) =>
  grid.symmetric ? symmetric(values, size, grid.bits, into) : asymmetric(values, size, grid.bits, into);

function symmetric(
  values: Float32Array,
  size: number,
  bits: number,
  { levels, scales, zeroPoints }: Parameters<Rounding>[3],
): void {
  const half = 2 ** (bits - 1);
  const last = 2 * half - 1;
  const middle = half + 0.5;
  for (let block = 0, at = 0; at < values.length; block++, at += size) {
    const end = at + size;
    let low = 0;
    let high = 0;
    for (let i = at; i < end; i++) {
      const value = values[i]!;
      if (value < low) low = value;
      else if (value > high) high = value;
    }
    const most = -low > high ? low : high;
    const scale = Math.abs(most) < LEAST_MAGNITUDE ? 0 : Math.fround(most / -half);
    const inverse = scale === 0 ? 0 : 1 / scale;
    scales[block] = scale;
    zeroPoints[block] = half;
    for (let i = at; i < end; i++) {
      const level = (values[i]! * inverse + middle) | 0;
      levels[i] = Math.min(level, last);
    }
  }
}

function asymmetric(
  values: Float32Array,
  size: number,
  bits: number,
  { levels, scales, zeroPoints }: Parameters<Rounding>[3],
): void {
  const last = 2 ** bits - 1;
  for (let block = 0, at = 0; at < values.length; block++, at += size) {
    const end = at + size;
    let low = 0;
    let high = 0;
    for (let i = at; i < end; i++) {
      const value = values[i]!;
      if (value < low) low = value;
      else if (value > high) high = value;
    }
    const scale = high - low < LEAST_MAGNITUDE ? 0 : Math.fround((high - low) / last);
    const inverse = scale === 0 ? 0 : 1 / scale;
    const zero = (-low * inverse + 0.5) | 0;
    scales[block] = scale;
    zeroPoints[block] = zero;
    const middle = zero + 0.5;
    for (let i = at; i < end; i++) {
      const level = (values[i]! * inverse + middle) | 0;
      levels[i] = Math.min(level, last);
    }
  }
}
