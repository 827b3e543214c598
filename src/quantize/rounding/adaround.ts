import type { Grid, RoundedMatrix, Rounding } from "../blocks.ts";
import { roomFor, roundBlocks } from "../blocks.ts";

/** Options of {@link adaRound}. */
export interface AdaRoundOptions {
  /** Steps of gradient descent; default 500. */
  readonly steps?: number;
}

/** The rectified sigmoid stretches a sigmoid to this interval and cuts it off at 0 and 1. */
const [LOW, HIGH] = [-0.1, 1.1];
const RATE = 0.02;
const [BETA1, BETA2] = [0.9, 0.999];
/** How much the regularizer counts, beside an error that is divided by that of rounding to nearest. */
const LAMBDA = 10;
/** Rows that are learned together. */
const TOGETHER = 16;

/**
 * AdaRound: learns for every number whether it is rounded up or down, so that the outputs on the examples are off by
 * least. Each number has a variable whose rectified sigmoid h(v) says how far up it goes; gradient descent on the squared
 * error of the outputs, ‖(W̃ − W)·X‖², with a term that pushes every h to 0 or 1 in the end. Of the inputs only
 * `hessian` [columns, columns], the sum of x·xᵀ, is needed: it holds all that the error and its gradient depend on. Scales
 * and zero points are those of `rounding`.
 * Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", arXiv 2004.10568.
 */
export function adaRound(
  weights: Float32Array,
  rows: number,
  columns: number,
  hessian: Float64Array,
  grid: Grid,
  rounding: Rounding,
  { steps = 500 }: AdaRoundOptions = {},
): RoundedMatrix {
  const blocks = Math.ceil(columns / grid.blockSize);
  const rounded = { ...roomFor(rows * blocks, 0), levels: new Uint8Array(rows * columns), rows, columns, blocks };
  roundBlocks(weights, rounded, grid, rounding);
  for (let row = 0; row < rows; row += TOGETHER)
    learn(weights, rounded, row, Math.min(rows, row + TOGETHER), hessian, grid, steps);
  return rounded;
}

/** Rows while they are learned, all their numbers one after the other. */
interface Learned {
  readonly columns: number;
  /** The scale of each number; 0 in blocks of zeros, which stay as they are. */
  readonly scale: Float64Array;
  /** The number in levels, and the level below it. */
  readonly exact: Float64Array;
  readonly floor: Float64Array;
  /** How far up each goes, before the rectified sigmoid. */
  readonly v: Float64Array;
}

/** Learns the levels of some rows; a row that is no better for it stays rounded to nearest. */
function learn(
  weights: Float32Array,
  { columns, blocks, levels, scales, zeroPoints }: RoundedMatrix,
  first: number,
  end: number,
  hessian: Float64Array,
  grid: Grid,
  steps: number,
): void {
  const [count, from] = [(end - first) * columns, first * columns];
  const room = () => new Float64Array(count);
  const it: Learned = { columns, scale: room(), exact: room(), floor: room(), v: room() };
  for (let i = 0; i < count; i++) {
    const block = (first + Math.floor(i / columns)) * blocks + Math.floor((i % columns) / grid.blockSize);
    it.scale[i] = scales[block]!;
    it.exact[i] = scales[block] === 0 ? 0 : weights[from + i]! / scales[block]! + zeroPoints[block]!;
    it.floor[i] = Math.floor(it.exact[i]!);
    it.v[i] = closed(it.exact[i]! - it.floor[i]!);
  }
  const nearest = it.scale.map((scale, i) => scale * (levels[from + i]! - it.exact[i]!));
  const before = errorsOf(nearest, hessian, columns);
  const unit = before.reduce((a, b) => a + b, 0) / count;
  if (!(unit > 0)) return;
  descend(it, hessian, unit, steps);
  const last = 2 ** grid.bits - 1;
  const now = it.v.map((v, i) => Math.max(0, Math.min(last, it.floor[i]! + (open(v) >= 0.5 ? 1 : 0))));
  const after = errorsOf(
    now.map((level, i) => it.scale[i]! * (level - it.exact[i]!)),
    hessian,
    columns,
  );
  for (let i = 0; i < count; i++) {
    const row = Math.floor(i / columns);
    if (after[row]! < before[row]! && it.scale[i] !== 0) levels[from + i] = now[i]!;
  }
}

/** Gradient descent (Adam) on the error of the outputs, in units of what rounding to nearest costs a number. */
function descend(
  { columns, scale, exact, floor, v }: Learned,
  hessian: Float64Array,
  unit: number,
  steps: number,
): void {
  const [m, s] = [new Float64Array(v.length), new Float64Array(v.length)];
  for (let step = 1; step <= steps; step++) {
    const share = step / steps;
    // First the error alone, then a push to 0 or 1 that reaches ever further in.
    const beta = share < 0.2 ? 0 : 20 - 18 * ((share - 0.2) / 0.8);
    const slope = times(
      scale.map((own, i) => own * (floor[i]! + open(v[i]!) - exact[i]!)),
      hessian,
      columns,
    );
    for (let i = 0; i < v.length; i++) {
      const d = 2 * open(v[i]!) - 1;
      const push = beta === 0 ? 0 : -2 * LAMBDA * beta * Math.sign(d) * Math.abs(d) ** (beta - 1);
      const gradient = ((2 * slope[i]! * scale[i]!) / unit + push) * steepness(v[i]!);
      m[i] = BETA1 * m[i]! + (1 - BETA1) * gradient;
      s[i] = BETA2 * s[i]! + (1 - BETA2) * gradient * gradient;
      v[i]! -= (RATE * (m[i]! / (1 - BETA1 ** step))) / (Math.sqrt(s[i]! / (1 - BETA2 ** step)) + 1e-8);
    }
  }
}

const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));

/** The rectified sigmoid. */
const open = (v: number): number => Math.max(0, Math.min(1, sigmoid(v) * (HIGH - LOW) + LOW));

/** What the rectified sigmoid opens this far. */
const closed = (h: number): number => -Math.log((HIGH - LOW) / (h - LOW) - 1);

/** The derivative of the rectified sigmoid: 0 where it is cut off. */
function steepness(v: number): number {
  const h = sigmoid(v) * (HIGH - LOW) + LOW;
  return h <= 0 || h >= 1 ? 0 : sigmoid(v) * (1 - sigmoid(v)) * (HIGH - LOW);
}

/** Rows · a symmetric matrix. */
function times(rows: Float64Array, matrix: Float64Array, columns: number): Float64Array {
  const out = new Float64Array(rows.length);
  for (let row = 0; row < rows.length; row += columns)
    for (let k = 0; k < columns; k++) {
      const value = rows[row + k]!;
      if (value !== 0) for (let j = 0; j < columns; j++) out[row + j]! += value * matrix[k * columns + j]!;
    }
  return out;
}

/** e·H·eᵀ of each row. */
function errorsOf(rows: Float64Array, hessian: Float64Array, columns: number): Float64Array {
  const products = times(rows, hessian, columns);
  const out = new Float64Array(rows.length / columns);
  rows.forEach((value, i) => {
    out[Math.floor(i / columns)]! += value * products[i]!;
  });
  return out;
}
