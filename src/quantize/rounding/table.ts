import type { Rounding } from "../blocks.ts";
import { LEAST_MAGNITUDE } from "./rtn.ts";

/** The numbers that levels stand for, times the largest magnitude of their block: from −1 to 1. */
export type Table = readonly number[];

/**
 * Quantiles of the normal distribution, zero among them. Source: Dettmers et al., "QLoRA: Efficient Finetuning of Quantized
 * LLMs", arXiv 2305.14314, appendix E.
 */
export const NF4: Table = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

const FP4_POSITIVE = [0, 0.005208333333, 0.6666667, 1, 0.3333333, 0.5, 0.1666667, 0.25];

/** Floats of 4 bits, in the order of their bits. Source: bitsandbytes, as ONNX Runtime's MatMulBnb4 reads them. */
export const FP4: Table = [...FP4_POSITIVE, ...FP4_POSITIVE.map((value) => -value)];

/** Rounds to the nearest number of a table, times the largest magnitude of the block unless `unscaled`. Zero points are 0. */
export function roundToTable(table: Table, unscaled = false): Rounding {
  const sorted = table.map((value, level) => ({ value, level })).sort((a, b) => a.value - b.value);
  const order = Uint8Array.from(sorted, ({ level }) => level);
  const middles = middlesOf(sorted.map(({ value }) => value));
  return (values, size, _grid, { levels, scales, zeroPoints }) => {
    zeroPoints.fill(0);
    for (let block = 0, at = 0; at < values.length; block++, at += size) {
      let most = 0;
      for (let i = at; i < at + size; i++) most = Math.max(most, Math.abs(values[i]!));
      const scale = unscaled ? 1 : most < LEAST_MAGNITUDE ? 0 : most;
      scales[block] = scale;
      const inverse = scale === 0 ? 0 : 1 / scale;
      for (let i = at; i < at + size; i++) levels[i] = order[placeOf(values[i]! * inverse, middles)]!;
    }
  };
}

/** The middles between numbers that rise. */
export const middlesOf = (numbers: ArrayLike<number>): Float64Array =>
  Float64Array.from({ length: Math.max(0, numbers.length - 1) }, (_, i) => (numbers[i]! + numbers[i + 1]!) / 2);

/** How many of the numbers, which rise, lie below a value. */
export function placeOf(value: number, numbers: Float64Array): number {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value > numbers[middle]!) low = middle + 1;
    else high = middle;
  }
  return low;
}
