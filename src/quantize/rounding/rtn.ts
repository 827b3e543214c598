import type { RoundedBlocks, Rounding } from "../blocks.ts";

/** Scales below this would have no finite inverse in float32; such blocks count as zeros. */
export const LEAST_MAGNITUDE = 2 ** -120;

/**
 * Round to nearest, over the whole range of each block. Symmetric: the number of largest magnitude takes the lowest level,
 * which is one further from the middle than the highest. Asymmetric: the range is widened to hold 0, which stays exact.
 * Extrema are found in bit patterns, which order magnitudes as integers do, without branches that random numbers would
 * mispredict. Source: ONNX Runtime, `MatMulNBits`, and the `q4_0` format of ggml for the sign of the scale.
 */
export const roundToNearest: Rounding = (values, size, { bits, symmetric }, into) => {
  const patterns = new Int32Array(values.buffer, values.byteOffset, values.length);
  if (symmetric) scalesOf(patterns, size, bits, into);
  else scalesAndZeros(patterns, size, bits, into);
  const { levels, scales, zeroPoints } = into;
  for (let block = 0, at = 0; at < values.length; block++, at += size) {
    const scale = scales[block]!;
    const inverse = scale === 0 ? 0 : 1 / scale;
    const middle = zeroPoints[block]! + 0.5;
    const end = at + size;
    for (let i = at; i < end; i++) {
      const level = (values[i]! * inverse + middle) | 0;
      // One above the last takes the last.
      levels[i] = level - (level >> bits);
    }
  }
};

const number = new Float32Array(1);
const pattern = new Int32Array(number.buffer);

/** The scale that gives the number of largest magnitude the lowest level; its sign stands in for the last bit meanwhile. */
function scalesOf(patterns: Int32Array, size: number, bits: number, { scales, zeroPoints }: RoundedBlocks): void {
  const half = 2 ** (bits - 1);
  for (let block = 0, at = 0; at < patterns.length; block++, at += size) {
    let a = 0;
    let b = 0;
    const last = at + size - 1;
    let i = at;
    for (; i < last; i += 2) {
      const x = patterns[i]!;
      const y = patterns[i + 1]!;
      const p = (x & 0x7ffffffe) | (x >>> 31);
      const q = (y & 0x7ffffffe) | (y >>> 31);
      a ^= (a ^ p) & ((a - p) >> 31);
      b ^= (b ^ q) & ((b - q) >> 31);
    }
    if (i === last) {
      const p = (patterns[i]! & 0x7ffffffe) | (patterns[i]! >>> 31);
      a ^= (a ^ p) & ((a - p) >> 31);
    }
    a ^= (a ^ b) & ((a - b) >> 31);
    pattern[0] = (a & 0x7ffffffe) | (a << 31);
    const most = number[0]!;
    scales[block] = Math.abs(most) < LEAST_MAGNITUDE ? 0 : most / -half;
    zeroPoints[block] = half;
  }
}

/** The scale that spreads the levels over the range of a block, and the level of zero. */
function scalesAndZeros(patterns: Int32Array, size: number, bits: number, { scales, zeroPoints }: RoundedBlocks): void {
  const last = 2 ** bits - 1;
  for (let block = 0, at = 0; at < patterns.length; block++, at += size) {
    let low = 0;
    let high = 0;
    const end = at + size;
    for (let i = at; i < end; i++) {
      const x = patterns[i]!;
      const negative = x >> 31;
      const p = x & ~negative;
      const q = x & negative & 0x7fffffff;
      high ^= (high ^ p) & ((high - p) >> 31);
      low ^= (low ^ q) & ((low - q) >> 31);
    }
    pattern[0] = high;
    const most = number[0]!;
    pattern[0] = low;
    const least = number[0]!;
    const range = most + least;
    const scale = range < LEAST_MAGNITUDE ? 0 : Math.fround(range / last);
    scales[block] = scale;
    zeroPoints[block] = scale === 0 ? 0 : (least / scale + 0.5) | 0;
  }
}
