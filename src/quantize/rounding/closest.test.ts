import { describe, expect, it } from "vitest";
import { normal, random } from "../../numeric/random.ts";
import type { Grid } from "../blocks.ts";
import { closestLevels } from "./closest.ts";
import { gptq } from "./gptq.ts";
import { ROUNDINGS } from "./index.ts";

const next = random(5);
const COLUMNS = 4;

/** Inputs that are much alike, as those of a depthwise kernel are, and the sum of their squares with a damped diagonal. */
function hessianOf(columns: number, alike: number) {
  const sum = new Float64Array(columns * columns);
  for (let k = 0; k < 64; k++) {
    const common = normal(next);
    const x = Array.from({ length: columns }, () => alike * common + normal(next));
    for (let i = 0; i < columns; i++) for (let j = 0; j < columns; j++) sum[i * columns + j]! += x[i]! * x[j]!;
  }
  return sum;
}

function errorOf(weights: ArrayLike<number>, values: readonly number[], hessian: Float64Array): number {
  const n = values.length;
  const trace = Array.from({ length: n }, (_, i) => hessian[i * n + i]!).reduce((a, b) => a + b, 0);
  const off = values.map((value, i) => value - weights[i]!);
  let sum = 0;
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) sum += off[i]! * (hessian[i * n + j]! + (i === j ? (0.01 * trace) / n : 0)) * off[j]!;
  return sum;
}

describe("The exact search", () => {
  it("finds the levels with the least error of the outputs that there are for its scale", () => {
    const grid: Grid = { bits: 2, symmetric: true, blockSize: COLUMNS };
    for (const alike of [0, 2, 10])
      for (let row = 0; row < 8; row++) {
        const weights = Float32Array.from({ length: COLUMNS }, () => normal(next));
        const hessian = hessianOf(COLUMNS, alike);
        const { levels, scales, zeroPoints } = closestLevels(weights, 1, COLUMNS, hessian, grid, ROUNDINGS.rtn);
        const numberOf = (level: number) => (level - zeroPoints[0]!) * scales[0]!;
        const found = errorOf(weights, Array.from(levels, numberOf), hessian);
        const all = Array.from({ length: 4 ** COLUMNS }, (_, code) => {
          const candidate = Array.from({ length: COLUMNS }, (_, i) => numberOf(Math.floor(code / 4 ** i) % 4));
          return errorOf(weights, candidate, hessian);
        });
        expect(found).toBeLessThanOrEqual(Math.min(...all) * (1 + 1e-9));
      }
  });

  it("leaves less error than GPTQ where nine inputs are much alike", () => {
    const grid: Grid = { bits: 8, symmetric: true, blockSize: 9 };
    const weights = Float32Array.from({ length: 16 * 9 }, () => normal(next));
    const hessian = hessianOf(9, 10);
    const [a, b] = [closestLevels, gptq].map((round) => {
      const made = round(weights, 16, 9, hessian, grid, ROUNDINGS.rtn);
      const values = Array.from(made.levels, (level, i) => {
        const row = Math.floor(i / 9);
        return (level - made.zeroPoints[row]!) * made.scales[row]!;
      });
      return Array.from({ length: 16 }, (_, r) => {
        return errorOf(weights.subarray(9 * r, 9 * r + 9), values.slice(9 * r, 9 * r + 9), hessian);
      }).reduce((x, y) => x + y, 0);
    });
    expect(a).toBeLessThan(0.9 * b!);
  });

  it("keeps a row of zeros", () => {
    const grid: Grid = { bits: 8, symmetric: true, blockSize: 9 };
    const made = closestLevels(new Float32Array(9), 1, 9, hessianOf(9, 1), grid, ROUNDINGS.rtn);
    expect(made.scales[0]).toBe(0);
  });
});
