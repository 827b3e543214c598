import { inverseFactor, solveDefinite } from "../../numeric/cholesky.ts";
import { type Grid, type RoundedMatrix, type Rounding, roomFor, roundBlocks } from "../blocks.ts";

/** Options of {@link gptq}. */
export interface GptqOptions {
  /** What is added to the diagonal of the Hessian, as a share of its mean; default 0.01. */
  readonly damping?: number;
  /** Columns in the order of how much they count, rather than as they lie; default true. */
  readonly actOrder?: boolean;
}

/** Rows that are rounded together, so that the factor of the Hessian is read once for all of them. */
const TOGETHER = 16;

/**
 * Rounds the columns of a matrix one after the other, and after each takes its error, as far as the inputs let it, out of
 * the columns that are still to come. `hessian` [columns, columns] is the sum of x·xᵀ over the inputs. Scales and zero
 * points are those of `rounding` on the matrix as it came (static groups), so that the order of the columns is free; at the
 * end scales are fitted to the levels.
 * Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
 * arXiv 2210.17323; act-order and static groups from its code.
 */
export function gptq(
  weights: Float32Array,
  rows: number,
  columns: number,
  hessian: Float64Array,
  grid: Grid,
  rounding: Rounding,
  { damping = 0.01, actOrder = true }: GptqOptions = {},
): RoundedMatrix {
  const blocks = Math.ceil(columns / grid.blockSize);
  const rounded = { ...roomFor(rows * blocks, 0), levels: new Uint8Array(rows * columns), rows, columns, blocks };
  roundBlocks(weights, rounded, grid, rounding);
  const order = actOrder ? byDiagonal(hessian, columns) : Int32Array.from({ length: columns }, (_, i) => i);
  const factor = inverseFactor(ordered(hessian, order, columns, damping), columns);
  for (let row = 0; row < rows; row += TOGETHER)
    compensate(weights, rounded, row, Math.min(rows, row + TOGETHER), { order, factor, grid });
  for (let row = 0; row < rows; row++) refit(weights, rounded, row, hessian, grid.blockSize);
  return rounded;
}

/** Sets the scales of a row to those with the least squared error of the outputs for the levels it has. */
function refit(
  weights: Float32Array,
  { columns, blocks, levels, scales, zeroPoints }: RoundedMatrix,
  row: number,
  hessian: Float64Array,
  blockSize: number,
): void {
  const own = Float64Array.from({ length: columns }, (_, i) => {
    return levels[row * columns + i]! - zeroPoints[row * blocks + Math.floor(i / blockSize)]!;
  });
  const products = new Float64Array(blocks * blocks);
  const targets = new Float64Array(blocks);
  const parts = new Float64Array(blocks);
  for (let i = 0; i < columns; i++) {
    if (own[i] === 0) continue;
    const line = hessian.subarray(i * columns, (i + 1) * columns);
    parts.fill(0);
    let target = 0;
    for (let j = 0; j < columns; j++) {
      parts[(j / blockSize) | 0]! += line[j]! * own[j]!;
      target += line[j]! * weights[row * columns + j]!;
    }
    const block = (i / blockSize) | 0;
    for (let b = 0; b < blocks; b++) products[block * blocks + b]! += own[i]! * parts[b]!;
    targets[block]! += own[i]! * target;
  }
  let trace = 0;
  for (let b = 0; b < blocks; b++) trace += products[b * blocks + b]!;
  if (trace === 0) return;
  const found = solveHeld(products, targets, scales.subarray(row * blocks, (row + 1) * blocks), trace / blocks);
  for (let b = 0; b < blocks; b++) if (scales[row * blocks + b] !== 0) scales[row * blocks + b] = found[b]!;
}

/**
 * Solves for scales, each held to what it was: slightly, so that a block that no input reaches keeps its scale, and more where
 * inputs that depend on each other leave the sums without a definite solution.
 */
function solveHeld(products: Float64Array, targets: Float64Array, scales: Float32Array, mean: number): Float64Array {
  const n = scales.length;
  for (let held = 1e-6 * mean; ; held *= 100) {
    const [left, right] = [products.slice(), targets.slice()];
    for (let b = 0; b < n; b++) {
      left[b * n + b]! += held;
      right[b]! += held * scales[b]!;
    }
    try {
      return solveDefinite(left, right, n);
    } catch (error) {
      if (!(held < mean)) throw error;
    }
  }
}

function byDiagonal(hessian: Float64Array, n: number): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  return order.sort((a, b) => hessian[b * n + b]! - hessian[a * n + a]! || a - b);
}

/** The Hessian in an order, its diagonal damped; inputs that were never seen count as independent of the others. */
function ordered(hessian: Float64Array, order: Int32Array, n: number, damping: number): Float64Array {
  const out = new Float64Array(n * n);
  let trace = 0;
  for (let i = 0; i < n; i++) trace += hessian[i * n + i]!;
  const added = trace === 0 ? 1 : (damping * trace) / n;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) out[i * n + j] = hessian[order[i]! * n + order[j]!]!;
    out[i * n + i]! += added;
  }
  return out;
}

function compensate(
  weights: Float32Array,
  { columns, blocks, levels, scales, zeroPoints }: RoundedMatrix,
  first: number,
  end: number,
  { order, factor, grid }: { order: Int32Array; factor: Float64Array; grid: Grid },
): void {
  const last = 2 ** grid.bits - 1;
  const now = new Float64Array((end - first) * columns);
  for (let row = first; row < end; row++)
    for (let i = 0; i < columns; i++) now[(row - first) * columns + i] = weights[row * columns + order[i]!]!;
  for (let i = 0; i < columns; i++) {
    const column = order[i]!;
    const line = factor.subarray(i * columns, (i + 1) * columns);
    for (let row = first; row < end; row++) {
      const own = now.subarray((row - first) * columns, (row - first + 1) * columns);
      const block = row * blocks + Math.floor(column / grid.blockSize);
      const [scale, zero] = [scales[block]!, zeroPoints[block]!];
      const value = own[i]!;
      const level = scale === 0 ? zero : Math.max(0, Math.min(last, Math.floor(value / scale + zero + 0.5)));
      levels[row * columns + column] = level;
      const error = (value - (level - zero) * scale) / line[i]!;
      if (error !== 0) for (let j = i + 1; j < columns; j++) own[j]! -= error * line[j]!;
    }
  }
}
