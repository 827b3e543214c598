import type { Rounding } from "../blocks.ts";
import { LEAST_MAGNITUDE, roundToNearest } from "./rtn.ts";

/** How the candidates of a scale are judged. */
export interface Search {
  /** What the squared error of a number counts, from the number and the root mean square of its block; 1 where absent. */
  readonly importance?: (value: number, rms: number) => number;
  /** Sets the scale of each candidate to the one with the least squared error for its levels. */
  readonly refit: boolean;
  /** Shares of the block's range that the levels are spread over, one candidate each. */
  readonly shares: readonly number[];
}

/** Rounds each block by the candidate scale with the least weighted squared error; rounding to nearest is one of them. */
export const searching =
  ({ importance, refit, shares }: Search): Rounding =>
  (values, size, { bits, symmetric }, into) => {
    roundToNearest(values, size, { bits, symmetric, blockSize: size }, into);
    const half = 2 ** (bits - 1);
    const block = new Block(size, 2 * half - 1);
    for (let b = 0, at = 0; at < values.length; b++, at += size) {
      const start = into.scales[b]!;
      if (start === 0) continue;
      const { low, high, rms } = block.look(values, at);
      if (importance !== undefined) block.weigh((value) => importance(value, rms));
      block.start(start, into.zeroPoints[b]!);
      const step = symmetric ? Math.max(-low, high) / half : (high - low) / (2 * half - 1);
      for (const share of shares) {
        const scale = share * step;
        if (symmetric) {
          block.consider(scale, half, refit);
          block.consider(-scale, half, refit);
        } else {
          const middle = Math.round((-share * low) / scale);
          for (let zero = middle - 1; zero <= middle + 1; zero++) block.consider(scale, zero, refit);
        }
      }
      into.scales[b] = block.scale;
      into.zeroPoints[b] = block.zero;
      block.levels(into.levels, at);
    }
  };

/** A block, and the best scale and zero point found for it. */
class Block {
  scale = 0;
  zero = 0;
  readonly #values: Float64Array;
  readonly #weights: Float64Array;
  readonly #last: number;
  #error = 0;

  constructor(size: number, last: number) {
    this.#values = new Float64Array(size);
    this.#weights = new Float64Array(size).fill(1);
    this.#last = last;
  }

  /** Takes the numbers in; gives their range, widened to hold 0, and their root mean square. */
  look(values: Float32Array, at: number): { low: number; high: number; rms: number } {
    let [low, high, squares] = [0, 0, 0];
    for (let i = 0; i < this.#values.length; i++) {
      const value = values[at + i]!;
      this.#values[i] = value;
      squares += value * value;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return { low, high, rms: Math.sqrt(squares / this.#values.length) };
  }

  weigh(importance: (value: number) => number): void {
    for (let i = 0; i < this.#weights.length; i++) this.#weights[i] = importance(this.#values[i]!);
  }

  start(scale: number, zero: number): void {
    this.scale = scale;
    this.zero = zero;
    this.#error = this.#errorOf(scale, zero);
  }

  consider(candidate: number, zero: number, refit: boolean): void {
    if (zero < 0 || zero > this.#last) return;
    const scale = Math.fround(refit ? this.#fit(candidate, zero) : candidate);
    if (Math.abs(scale) < LEAST_MAGNITUDE) return;
    const error = this.#errorOf(scale, zero);
    if (error >= this.#error) return;
    this.#error = error;
    this.scale = scale;
    this.zero = zero;
  }

  levels(to: Uint8Array, at: number): void {
    const middle = this.zero + 0.5;
    for (let i = 0; i < this.#values.length; i++)
      to[at + i] = Math.max(0, Math.min(this.#last, (this.#values[i]! / this.scale + middle) | 0));
  }

  #errorOf(scale: number, zero: number): number {
    const [values, weights, last] = [this.#values, this.#weights, this.#last];
    const [inverse, middle] = [1 / scale, zero + 0.5];
    let sum = 0;
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      const level = Math.max(0, Math.min(last, (value * inverse + middle) | 0));
      const error = value - (level - zero) * scale;
      sum += weights[i]! * error * error;
    }
    return sum;
  }

  /** The scale with the least error for the levels a candidate gives: Σ w·x·l / Σ w·l². */
  #fit(scale: number, zero: number): number {
    const [values, weights, last] = [this.#values, this.#weights, this.#last];
    const [inverse, middle] = [1 / scale, zero + 0.5];
    let [products, squares] = [0, 0];
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      const level = Math.max(0, Math.min(last, (value * inverse + middle) | 0)) - zero;
      products += weights[i]! * value * level;
      squares += weights[i]! * level * level;
    }
    return squares === 0 ? scale : products / squares;
  }
}

/** Shares from `from` to `to` in even steps, both included. */
export const sharesBetween = (from: number, to: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => from + ((to - from) * i) / (count - 1));
