import { MinnowError } from "../errors.ts";
import {
  type CalibrationMethod,
  METHODS,
  type Range,
  type RangeOptions,
  type Ranges,
  type Statistics,
  type ValueStatistics,
} from "./types.ts";

/**
 * The ranges of a calibration method, from one calibration's statistics.
 *
 * @example
 * const statistics = await calibrate(model, photos.take(200));
 * const ranges = rangesBy("percentile", statistics, { percentile: 99.9 });
 */
export function rangesBy(method: CalibrationMethod, statistics: Statistics, options: RangeOptions = {}): Ranges {
  const choose = chooser(method, options);
  return new Map([...statistics.values].map(([name, seen]) => [name, choose(seen)]));
}

function chooser(method: CalibrationMethod, { percentile = 99.99 }: RangeOptions): (seen: ValueStatistics) => Range {
  if (!(percentile > 50 && percentile <= 100))
    throw new MinnowError(`The percentile is ${percentile}; it can be above 50, up to 100.`, {
      code: "quantize/option",
      at: "percentile",
      mend: "99.99 keeps all but one number in ten thousand.",
    });
  switch (method) {
    case "minmax":
      return ({ min, max }) => ({ min, max });
    case "movingAverage":
      return ({ averageMin, averageMax }) => ({ min: averageMin, max: averageMax });
    case "percentile":
      return (seen) => byPercentile(seen, percentile);
    case "entropy":
      return byEntropy;
    case "mse":
      return byError;
    default:
      throw new MinnowError(`There is no calibration method "${String(method)}".`, {
        code: "quantize/option",
        at: "method",
        mend: `Methods are ${METHODS.join(", ")}.`,
      });
  }
}

/** Cuts half of what is left out from either end; zeros count. As in onnxruntime.quantization's PercentileCalibrater. */
function byPercentile(seen: ValueStatistics, percentile: number): Range {
  const { bins, first, width, zeros, min, max } = seen;
  const total = bins.reduce((a, b) => a + b, zeros);
  const cut = (total * (100 - percentile)) / 200;
  const zeroBin = -first;
  const at = (i: number) => (bins[i] ?? 0) + (i === zeroBin ? zeros : 0);
  let [low, below] = [0, at(0)];
  while (low < bins.length - 1 && below <= cut) below += at(++low);
  let [high, above] = [bins.length - 1, at(bins.length - 1)];
  while (high > 0 && above <= cut) above += at(--high);
  return clipped((first + low) * width, (first + high + 1) * width, min, max);
}

const clipped = (low: number, high: number, min: number, max: number): Range => ({
  min: Math.max(min, Math.min(0, low)),
  max: Math.min(max, Math.max(0, high)),
});

/** Thresholds that are tried, as parts of the largest magnitude. */
const STEPS = 128;

/**
 * The clipping threshold ±t with the least divergence between the distribution and its quantized form. Source: Migacz,
 * "8-bit inference with TensorRT" (GTC 2017), with as many levels as the quantized value has on the grid.
 */
function byEntropy(fine: ValueStatistics): Range {
  const seen = coarser(fine, 2048);
  const { min, max } = seen;
  const largest = Math.max(-min, max);
  if (largest === 0) return { min, max };
  let best = { t: largest, divergence: Infinity };
  for (let step = STEPS; step >= STEPS / 8; step--) {
    const t = (largest * step) / STEPS;
    const divergence = divergenceAt(seen, Math.max(min, -t), Math.min(max, t));
    if (divergence < best.divergence) best = { t, divergence };
  }
  return clipped(-best.t, best.t, min, max);
}

/** The same counts in at most so many bins. */
function coarser(seen: ValueStatistics, most: number): ValueStatistics {
  if (seen.bins.length <= most) return seen;
  const first = Math.floor(seen.first / 2);
  const bins = new Float64Array(Math.floor((seen.first + seen.bins.length - 1) / 2) - first + 1);
  seen.bins.forEach((count, i) => {
    bins[Math.floor((seen.first + i) / 2) - first]! += count;
  });
  return coarser({ ...seen, width: seen.width * 2, first, bins }, most);
}

/**
 * Kullback-Leibler divergence between the numbers clipped to a range and what 255 steps make of them. Every level spreads
 * its count evenly over the bins it covers that are not empty.
 */
function divergenceAt({ bins, first, width }: ValueStatistics, min: number, max: number): number {
  const [low, high] = [Math.min(0, min), Math.max(0, max)];
  const from = Math.max(0, Math.floor(low / width) - first);
  const to = Math.min(bins.length, Math.ceil(high / width) - first);
  const reference = bins.slice(from, to);
  const inner = Float64Array.from(reference);
  for (let i = 0; i < from; i++) reference[0]! += bins[i]!;
  for (let i = to; i < bins.length; i++) reference[reference.length - 1]! += bins[i]!;
  const perLevel = reference.length / Math.min(256, reference.length);
  const total = reference.reduce((a, b) => a + b, 0);
  const kept = inner.reduce((a, b) => a + b, 0);
  let divergence = 0;
  for (let level = 0; level * perLevel < reference.length; level++) {
    const [a, b] = [Math.round(level * perLevel), Math.min(reference.length, Math.round((level + 1) * perLevel))];
    let [mass, filled] = [0, 0];
    for (let i = a; i < b; i++) {
      mass += inner[i]!;
      if (reference[i]! > 0) filled++;
    }
    for (let i = a; i < b; i++) {
      const p = reference[i]! / total;
      if (p > 0) divergence += p * Math.log(p / Math.max(1e-12, mass / filled / kept));
    }
  }
  return divergence;
}

/** The range with the least squared error over the histogram: each end in turn, over parts of what was seen. */
function byError(seen: ValueStatistics): Range {
  let { min, max } = { min: Math.min(0, seen.min), max: Math.max(0, seen.max) };
  for (let round = 0; round < 2; round++) {
    max = leastError(seen.max, (end) => errorAt(seen, min, end), max);
    min = leastError(seen.min, (end) => errorAt(seen, end, max), min);
  }
  return { min, max };
}

function leastError(end: number, error: (end: number) => number, fallback: number): number {
  let best = { end: fallback, error: error(fallback) };
  for (let step = 96; step >= 16; step -= 2) {
    const tried = { end: (end * step) / 96, error: error((end * step) / 96) };
    if (tried.error < best.error) best = tried;
  }
  return best.end;
}

/** Sum of squared errors when the numbers of a histogram are put on 256 levels over a range. */
function errorAt({ bins, first, width }: ValueStatistics, min: number, max: number): number {
  const step = (max - min) / 255;
  if (!(step > 0)) return Infinity;
  const inside = (step * step + width * width) / 12;
  let error = 0;
  for (let i = 0; i < bins.length; i++) {
    const count = bins[i]!;
    if (count === 0) continue;
    const x = (first + i + 0.5) * width;
    const over = x > max ? x - max : x < min ? min - x : 0;
    error += count * (over > 0 ? over * over : inside);
  }
  return error;
}
