import { describe, expect, it } from "vitest";
import { normal, random } from "../../numeric/random.ts";
import { type Grid, type LevelBits, roomFor } from "../blocks.ts";
import { adaRound } from "./adaround.ts";
import { gptq } from "./gptq.ts";
import { ROUNDINGS, type RoundingMethod } from "./index.ts";
import { FP4, NF4, roundToTable } from "./table.ts";

const next = random(21);
const noise = (count: number, size = 1): Float32Array =>
  Float32Array.from({ length: count }, () => size * normal(next));
const METHODS = Object.keys(ROUNDINGS) as RoundingMethod[];
const BITS: readonly LevelBits[] = [2, 3, 4, 7, 8];

function rounded(values: Float32Array, size: number, grid: Omit<Grid, "blockSize">, method: RoundingMethod) {
  const into = roomFor(values.length / size, size);
  ROUNDINGS[method](values, size, { ...grid, blockSize: size }, into);
  const back = values.map((_, i) => {
    const block = Math.floor(i / size);
    return (into.levels[i]! - into.zeroPoints[block]!) * into.scales[block]!;
  });
  return { ...into, back };
}

const error = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);

describe("Every rounding method", () => {
  it("gives levels of its bits, finite scales, and zero for zero, whatever the numbers", () => {
    const odd = Float32Array.of(
      0,
      -0,
      1e-45,
      -1e-42,
      3e38,
      -3e38,
      1,
      -1,
      ...noise(8, 1e-20),
      ...noise(8, 1e20),
      ...noise(8),
    );
    for (const method of METHODS)
      for (const bits of BITS)
        for (const symmetric of method === "hqq" ? [false] : [true, false])
          for (const values of [noise(64), odd, new Float32Array(32), noise(32, 1e-38), noise(33).map(Math.abs)]) {
            const size = values.length === 33 ? 11 : 16;
            const { levels, scales, zeroPoints } = rounded(values, size, { bits, symmetric }, method);
            expect(Math.max(...levels, ...zeroPoints)).toBeLessThan(2 ** bits);
            expect([...scales].every(Number.isFinite)).toBe(true);
            if (symmetric) expect(new Set(zeroPoints)).toEqual(new Set([2 ** (bits - 1)]));
            values.forEach((value, i) => {
              const block = Math.floor(i / size);
              if (value === 0 && scales[block] !== 0) expect(levels[i]).toBe(zeroPoints[block]);
            });
          }
  });

  it("is off by no more than half a step where it cuts nothing off", () => {
    for (const bits of BITS)
      for (const symmetric of [true, false]) {
        const values = noise(320);
        const { back, scales } = rounded(values, 32, { bits, symmetric }, "rtn");
        values.forEach((value, i) => {
          const step = Math.abs(scales[Math.floor(i / 32)]!);
          const cut = symmetric ? 1 : 0.5;
          expect(Math.abs(value - back[i]!)).toBeLessThanOrEqual((cut + 1e-5) * step);
        });
      }
  });

  it("searched by squared error is never further off than rounding to nearest", () => {
    for (const bits of BITS)
      for (const symmetric of [true, false]) {
        const values = noise(3200).map((value) => value ** 3);
        const grid = { bits, symmetric };
        const nearest = rounded(values, 32, grid, "rtn").back;
        expect(error(values, rounded(values, 32, grid, "mse").back)).toBeLessThan(error(values, nearest));
      }
  });

  it("gives the nearest number of a table", () => {
    const values = noise(640);
    for (const table of [NF4, FP4]) {
      const into = roomFor(10, 64);
      roundToTable(table)(values, 64, { bits: 4, symmetric: true, blockSize: 64 }, into);
      values.forEach((value, i) => {
        const scale = into.scales[Math.floor(i / 64)]!;
        const best = Math.min(...table.map((entry) => Math.abs(entry * scale - value)));
        expect(Math.abs(table[into.levels[i]!]! * scale - value)).toBeCloseTo(best, 5);
      });
    }
  });
});

describe("GPTQ", () => {
  const [rows, columns, examples] = [24, 40, 400];
  const mix = noise(columns * columns, 0.3);
  const inputs = Array.from({ length: examples }, () => {
    const x = noise(columns);
    return Float32Array.from(x, (value, i) => x.reduce((sum, other, j) => sum + other * mix[i * columns + j]!, value));
  });
  const hessian = new Float64Array(columns * columns);
  for (const x of inputs)
    for (let i = 0; i < columns; i++) for (let j = 0; j < columns; j++) hessian[i * columns + j]! += x[i]! * x[j]!;
  const weights = noise(rows * columns);

  /** Squared error of the outputs over the examples. */
  const missed = (back: ArrayLike<number>): number => {
    let sum = 0;
    for (const x of inputs)
      for (let row = 0; row < rows; row++) {
        let off = 0;
        for (let c = 0; c < columns; c++) off += (weights[row * columns + c]! - back[row * columns + c]!) * x[c]!;
        sum += off * off;
      }
    return sum;
  };
  const restored = (grid: Grid, options = {}, round: typeof gptq | typeof adaRound = gptq): Float32Array => {
    const { levels, scales, zeroPoints, blocks } = round(weights, rows, columns, hessian, grid, ROUNDINGS.mse, options);
    return Float32Array.from(levels, (level, i) => {
      const block = Math.floor(i / columns) * blocks + Math.floor((i % columns) / grid.blockSize);
      return (level - zeroPoints[block]!) * scales[block]!;
    });
  };

  it("makes the outputs much less wrong than rounding each number for itself, in any order", () => {
    for (const symmetric of [true, false]) {
      const grid = { bits: 3, symmetric, blockSize: 20 } as const;
      const nearest = missed(rounded(weights, 20, grid, "mse").back);
      for (const actOrder of [true, false]) expect(missed(restored(grid, { actOrder }))).toBeLessThan(0.75 * nearest);
    }
  });

  it("has in AdaRound, which learns what goes up and what down, another way to that", () => {
    const grid = { bits: 3, symmetric: true, blockSize: 20 } as const;
    const nearest = rounded(weights, 20, grid, "mse").back;
    const learned = restored(grid, { steps: 150 }, adaRound);
    expect(missed(learned)).toBeLessThan(0.75 * missed(nearest));
    // No step of gradient descent: what is nearest stays.
    expect(missed(restored(grid, { steps: 0 }, adaRound))).toBeCloseTo(missed(nearest), 3);
  });

  it("rounds each number for itself where inputs do not depend on each other", () => {
    const grid = { bits: 4, symmetric: true, blockSize: 20 } as const;
    const unit = new Float64Array(columns * columns);
    for (let i = 0; i < columns; i++) unit[i * columns + i] = 1;
    const { levels } = gptq(weights, rows, columns, unit, grid, ROUNDINGS.mse);
    expect([...levels]).toEqual([...rounded(weights, 20, grid, "mse").levels]);
    const never = gptq(weights, rows, columns, new Float64Array(columns * columns), grid, ROUNDINGS.mse);
    expect([...never.levels]).toEqual([...levels]);
  });
});
