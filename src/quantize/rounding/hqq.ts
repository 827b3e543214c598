import type { Rounding } from "../blocks.ts";
import { roundToNearest } from "./rtn.ts";

/** Norm of the error that is made small, weight of the quadratic term, its growth, and the most rounds. */
const NORM = 0.7;
const BETA = 10;
const GROWTH = 1.01;
const ROUNDS = 20;

/**
 * Half-quadratic quantization: the zero point that makes the error small in the norm of power 0.7, which lets outliers be
 * wrong for the sake of the others. Asymmetric alone; the zero point is rounded in the end, as runtimes store it.
 * Source: Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (2023).
 */
export const halfQuadratic: Rounding = (values, size, grid, into) => {
  roundToNearest(values, size, { ...grid, symmetric: false }, into);
  const last = 2 ** grid.bits - 1;
  for (let block = 0, at = 0; at < values.length; block++, at += size) {
    const scale = into.scales[block]!;
    if (scale === 0) continue;
    const zero = Math.max(
      0,
      Math.min(last, Math.round(bestZero(values, at, size, scale, into.zeroPoints[block]!, last))),
    );
    into.zeroPoints[block] = zero;
    for (let i = at; i < at + size; i++) into.levels[i] = levelOf(values[i]! / scale, zero, last);
  }
};

const levelOf = (steps: number, zero: number, last: number): number =>
  Math.max(0, Math.min(last, Math.floor(steps + zero + 0.5)));

function bestZero(values: Float32Array, at: number, size: number, scale: number, start: number, last: number): number {
  let [zero, best, least, beta] = [start, start, Number.POSITIVE_INFINITY, BETA];
  for (let round = 0; round < ROUNDS; round++, beta *= GROWTH) {
    let [next, error] = [0, 0];
    for (let i = at; i < at + size; i++) {
      const value = values[i]!;
      const level = levelOf(value / scale, zero, last);
      const off = value - (level - zero) * scale;
      error += Math.abs(off);
      next += level - (value - shrink(off, beta)) / scale;
    }
    if (error >= least) break;
    [best, least, zero] = [zero, error, next / size];
  }
  return best;
}

/** The proximal step of the norm. */
function shrink(value: number, beta: number): number {
  const magnitude = Math.abs(value);
  return magnitude === 0 ? 0 : Math.sign(value) * Math.max(0, magnitude - magnitude ** (NORM - 1) / beta);
}
