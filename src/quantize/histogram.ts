import type { ValueStatistics } from "./types.ts";

/** Bins on either side of zero; the outermost one stays empty but for NaN. */
const SIDE = 4096;
/** Weight of one example in the running averages; ONNX Runtime's averaging_constant. */
const AVERAGING = 0.01;

/** The smallest and largest of a stream of examples' extrema, and the running averages of both. */
export class Averaged {
  #min = Infinity;
  #max = -Infinity;
  #averageMin = Number.NaN;
  #averageMax = Number.NaN;

  /** Adds the smallest and the largest number of one example. */
  add(min: number, max: number): void {
    this.#min = Math.min(this.#min, min);
    this.#max = Math.max(this.#max, max);
    const first = Number.isNaN(this.#averageMin);
    this.#averageMin = first ? min : this.#averageMin + AVERAGING * (min - this.#averageMin);
    this.#averageMax = first ? max : this.#averageMax + AVERAGING * (max - this.#averageMax);
  }

  /** Zeros where nothing was added. */
  result(): Pick<ValueStatistics, "min" | "max" | "averageMin" | "averageMax"> {
    if (this.#min > this.#max) return { min: 0, max: 0, averageMin: 0, averageMax: 0 };
    return { min: this.#min, max: this.#max, averageMin: this.#averageMin, averageMax: this.#averageMax };
  }
}

/**
 * Counts a stream of numbers in constant memory. Bins lie on a grid of powers of two around zero; when a number falls
 * outside, neighbouring bins become one. So the counts are exact, and the same in whatever portions the numbers come.
 */
export class Histogram {
  #bins = new Float64Array(2 * SIDE);
  #width = 0;
  readonly #extrema = new Averaged();
  #zeros = 0;
  #broken = 0;

  /** Adds the numbers of `examples` examples, one after the other. */
  add(values: Float32Array, examples = 1): void {
    const parts = values.length % examples === 0 ? examples : 1;
    const size = values.length / parts;
    for (let i = 0; i < parts; i++) this.#addExample(values.subarray(i * size, (i + 1) * size));
  }

  #addExample(values: Float32Array): void {
    let { min, max } = extent(values);
    if (!Number.isFinite(min) || !Number.isFinite(max)) {
      const finite = values.filter(Number.isFinite);
      this.#broken += values.length - finite.length;
      values = finite;
      if (values.length === 0) return;
      ({ min, max } = extent(values));
    }
    this.#extrema.add(min, max);
    this.#reach(Math.max(-min, max));
    this.#count(values);
  }

  /** Counts without a branch, since zeros come at random: a number is zero where its bits but the sign are. */
  #count(values: Float32Array): void {
    const bins = this.#bins;
    const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
    const perBin = this.#width === 0 ? 0 : 1 / this.#width;
    let zeros = 0;
    for (let i = 0; i < values.length; i++) {
      bins[(values[i]! * perBin + SIDE) | 0]!++;
      const magnitude = bits[i]! << 1;
      zeros += ((magnitude | -magnitude) >>> 31) ^ 1;
    }
    this.#zeros += zeros;
    bins[SIDE]! -= zeros;
    // NaN becomes index 0.
    this.#broken += bins[0]!;
    bins[0] = 0;
  }

  /** Makes bins wide enough for numbers of this magnitude. */
  #reach(magnitude: number): void {
    if (magnitude === 0) return;
    // Below 2^-140 a bin would be narrower than numbers are dense.
    if (this.#width === 0) this.#width = 2 ** Math.max(-140, Math.floor(Math.log2(magnitude)) - Math.log2(SIDE));
    while (magnitude >= this.#width * (SIDE - 1)) {
      const merged = new Float64Array(2 * SIDE);
      for (let i = 0; i < 2 * SIDE; i++) merged[((i - SIDE) >> 1) + SIDE]! += this.#bins[i]!;
      this.#bins = merged;
      this.#width *= 2;
    }
  }

  /** What was counted so far. */
  result(): ValueStatistics {
    const from = this.#bins.findIndex((count) => count > 0);
    const to = this.#bins.findLastIndex((count) => count > 0);
    return {
      ...this.#extrema.result(),
      width: this.#width,
      first: from < 0 ? 0 : from - SIDE,
      bins: from < 0 ? new Float64Array(0) : this.#bins.slice(from, to + 1),
      zeros: this.#zeros,
      broken: this.#broken,
    };
  }
}

/** The smallest and largest number, NaN passed over; not finite where there is none, or one is infinite. */
function extent(values: Float32Array): { min: number; max: number } {
  let first = 0;
  while (Number.isNaN(values[first])) first++;
  let min = values[first] ?? Number.NaN;
  let max = min;
  for (let i = first; i < values.length; i++) {
    const value = values[i]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { min, max };
}
