import type { Grid, Rounding } from "../blocks.ts";
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
  (search: Search): Rounding =>
  (values, size, grid, into) => {
    roundToNearest(values, size, grid, into);
    const block = new Block(size, grid, search);
    for (let b = 0, at = 0; at < values.length; b++, at += size) {
      if (into.scales[b] === 0) continue;
      const found = block.best(values, at, into.scales[b]!, into.zeroPoints[b]!);
      into.scales[b] = found.scale;
      into.zeroPoints[b] = found.zero;
      block.levels(values, at, found.scale, found.zero, into.levels);
    }
  };

class Block {
  readonly #size: number;
  readonly #grid: Grid;
  readonly #search: Search;
  readonly #weights: Float64Array;
  #low = 0;
  #high = 0;

  constructor(size: number, grid: Grid, search: Search) {
    this.#size = size;
    this.#grid = grid;
    this.#search = search;
    this.#weights = new Float64Array(size).fill(1);
  }

  best(values: Float32Array, at: number, scale: number, zero: number): { scale: number; zero: number } {
    this.#look(values, at);
    let best = { scale, zero };
    let least = this.#error(values, at, scale, zero);
    const consider = (candidate: number, zero: number) => {
      const fitted = Math.fround(this.#search.refit ? this.#fit(values, at, candidate, zero) : candidate);
      if (Math.abs(fitted) < LEAST_MAGNITUDE) return;
      const error = this.#error(values, at, fitted, zero);
      if (error < least) {
        least = error;
        best = { scale: fitted, zero };
      }
    };
    const last = 2 ** this.#grid.bits - 1;
    const half = 2 ** (this.#grid.bits - 1);
    const most = Math.max(-this.#low, this.#high);
    for (const share of this.#search.shares)
      if (this.#grid.symmetric) {
        consider((share * most) / half, half);
        consider((share * most) / -half, half);
      } else {
        const candidate = (share * (this.#high - this.#low)) / last;
        const middle = Math.round((-share * this.#low) / candidate);
        for (const z of [middle - 1, middle, middle + 1]) if (z >= 0 && z <= last) consider(candidate, z);
      }
    return best;
  }

  levels(values: Float32Array, at: number, scale: number, zero: number, to: Uint8Array): void {
    for (let i = at; i < at + this.#size; i++) to[i] = this.#level(values[i]! / scale, zero);
  }

  #level(steps: number, zero: number): number {
    return Math.max(0, Math.min(2 ** this.#grid.bits - 1, Math.floor(steps + zero + 0.5)));
  }

  /** Finds the range of a block, and what each of its numbers counts. */
  #look(values: Float32Array, at: number): void {
    let squares = 0;
    this.#low = 0;
    this.#high = 0;
    for (let i = at; i < at + this.#size; i++) {
      const value = values[i]!;
      squares += value * value;
      if (value < this.#low) this.#low = value;
      if (value > this.#high) this.#high = value;
    }
    const { importance } = this.#search;
    if (importance === undefined) return;
    const rms = Math.sqrt(squares / this.#size);
    for (let i = 0; i < this.#size; i++) this.#weights[i] = importance(values[at + i]!, rms);
  }

  #error(values: Float32Array, at: number, scale: number, zero: number): number {
    let sum = 0;
    for (let i = 0; i < this.#size; i++) {
      const value = values[at + i]!;
      const error = value - (this.#level(value / scale, zero) - zero) * scale;
      sum += this.#weights[i]! * error * error;
    }
    return sum;
  }

  /** The scale with the least error for the levels a candidate gives: Σ w·x·l / Σ w·l². */
  #fit(values: Float32Array, at: number, scale: number, zero: number): number {
    let [products, squares] = [0, 0];
    for (let i = 0; i < this.#size; i++) {
      const value = values[at + i]!;
      const level = this.#level(value / scale, zero) - zero;
      products += this.#weights[i]! * value * level;
      squares += this.#weights[i]! * level * level;
    }
    return squares === 0 ? scale : products / squares;
  }
}

/** Shares from `from` to `to` in even steps, both included. */
export const sharesBetween = (from: number, to: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => from + ((to - from) * i) / (count - 1));
