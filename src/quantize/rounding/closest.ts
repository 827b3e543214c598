import { type Grid, type RoundedMatrix, type Rounding, roomFor, roundBlocks } from "../blocks.ts";

/** Rows of more numbers are not searched. */
export const MOST_SEARCHED = 16;
/** Numbers that are tried for a row and a scale before the best so far is taken. */
const MOST_TRIED = 4000;
/** Scales that are tried: these multiples of the one a rounding method gives. */
const MULTIPLES = [1, 1.02, 1.04, 1.06, 1.08, 1.1, 1.12, 1.14];

/**
 * Finds the levels of short rows whose outputs are off by least, (l·s − w)·H·(l·s − w)ᵀ: the closest point of a
 * lattice, or the best of the first 4000 numbers tried for a scale, by going through the levels of one number after the other in the order of their distance (Schnorr and Euchner,
 * Mathematical Programming 66, 1994), and over some scales. What GPTQ gives is the first point it comes to. For depthwise kernels,
 * whose nine numbers see inputs that are much alike. `hessian` [columns, columns] is the sum of x·xᵀ.
 */
export function closestLevels(
  weights: Float32Array,
  rows: number,
  columns: number,
  hessian: Float64Array,
  grid: Grid,
  rounding: Rounding,
  { damping = 0.01 }: { readonly damping?: number } = {},
): RoundedMatrix {
  const rounded = { ...roomFor(rows, 0), levels: new Uint8Array(rows * columns), rows, columns, blocks: 1 };
  roundBlocks(weights, rounded, { ...grid, blockSize: columns }, rounding);
  const triangle = triangleOf(hessian, columns, damping);
  const search = new Search(triangle, columns, 2 ** grid.bits - 1);
  for (let row = 0; row < rows; row++) {
    const [own, levels] = [row * columns, rounded.levels.subarray(row * columns, (row + 1) * columns)];
    const scale = rounded.scales[row]!;
    if (scale === 0) continue;
    search.start(weights.subarray(own, own + columns), rounded.zeroPoints[row]!);
    search.consider(levels, scale);
    for (const multiple of grid.symmetric ? MULTIPLES : [1]) search.descend(Math.fround(scale * multiple));
    levels.set(search.levels);
    rounded.scales[row] = search.scale;
  }
  return rounded;
}

/** The upper triangular R with H + λ = Rᵀ·R, row by row. */
function triangleOf(hessian: Float64Array, n: number, damping: number): Float64Array {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += hessian[i * n + i]!;
  const added = trace === 0 ? 1 : (damping * trace) / n;
  const r = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = i; j < n; j++) {
      let sum = hessian[i * n + j]! + (i === j ? added : 0);
      for (let k = 0; k < i; k++) sum -= r[k * n + i]! * r[k * n + j]!;
      r[i * n + j] = i === j ? Math.sqrt(Math.max(sum, added * 1e-6)) : sum / r[i * n + i]!;
    }
  return r;
}

/** The best levels found for a row, over the scales that were tried. */
class Search {
  scale = 0;
  readonly levels: Uint8Array;
  readonly #r: Float64Array;
  readonly #n: number;
  readonly #last: number;
  readonly #now: Int32Array;
  /** How far each number is off, in units of the weight. */
  readonly #off: Float64Array;
  #weights: Float32Array = new Float32Array(0);
  #zero = 0;
  #error = Infinity;
  #tried = 0;

  constructor(triangle: Float64Array, n: number, last: number) {
    this.#r = triangle;
    this.#n = n;
    this.#last = last;
    this.levels = new Uint8Array(n);
    this.#now = new Int32Array(n);
    this.#off = new Float64Array(n);
  }

  start(weights: Float32Array, zero: number): void {
    this.#weights = weights;
    this.#zero = zero;
    this.#error = Infinity;
  }

  /** Takes levels as the best where they are. */
  consider(levels: ArrayLike<number>, scale: number): void {
    let error = 0;
    for (let i = this.#n - 1; i >= 0; i--) {
      this.#off[i] = (levels[i]! - this.#zero) * scale - this.#weights[i]!;
      error += this.#pull(i, this.#off[i]!) ** 2;
    }
    if (error < this.#error) this.#take(levels, scale, error);
  }

  /** Goes through all levels with a scale that may still be better, nearest first. */
  descend(scale: number): void {
    this.#tried = 0;
    this.#level(this.#n - 1, 0, scale);
  }

  #take(levels: ArrayLike<number>, scale: number, error: number): void {
    this.levels.set(levels);
    this.scale = scale;
    this.#error = error;
  }

  /** What number i adds to the outputs' error, root of its share, where those behind it are off as they are. */
  #pull(i: number, off: number): number {
    const n = this.#n;
    let sum = this.#r[i * n + i]! * off;
    for (let j = i + 1; j < n; j++) sum += this.#r[i * n + j]! * this.#off[j]!;
    return sum;
  }

  #level(i: number, error: number, scale: number): void {
    if (i < 0) {
      this.#take(this.#now, scale, error);
      return;
    }
    const own = this.#r[i * this.#n + i]!;
    // The offset that would add nothing.
    const wanted = -this.#pull(i, 0) / own;
    const exact = (this.#weights[i]! + wanted) / scale + this.#zero;
    const nearest = Math.max(0, Math.min(this.#last, Math.round(exact)));
    const side = exact >= nearest ? 1 : -1;
    for (let step = 0; this.#tried < MOST_TRIED; step++) {
      const level = nearest + (step % 2 === 1 ? side : -side) * Math.ceil(step / 2);
      if (level < 0 || level > this.#last) {
        if (step > 2 * this.#last) return;
        continue;
      }
      const off = (level - this.#zero) * scale - this.#weights[i]!;
      const more = error + (own * (off - wanted)) ** 2;
      if (more >= this.#error) return;
      this.#tried++;
      this.#now[i] = level;
      this.#off[i] = off;
      this.#level(i - 1, more, scale);
    }
  }
}
