import { describe, expect, it } from "vitest";
import { symmetricEigen } from "./eigen.ts";
import { normal, random } from "./random.ts";

/** A = B·Bᵀ of the given rank, seeded. */
function gram(n: number, rank: number, seed: number): Float64Array {
  const next = random(seed);
  const b = Float64Array.from({ length: n * rank }, () => normal(next));
  return Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += b[i * rank + k]! * b[j * rank + k]!;
    return sum;
  });
}

const CASES: readonly (readonly [string, Float64Array, number])[] = [
  ["one number", Float64Array.of(-3), 1],
  ["two by two", Float64Array.of(2, 1, 1, 2), 2],
  ["a full one", gram(40, 40, 1), 40],
  ["one of rank 3 in 30", gram(30, 3, 2), 30],
  ["one of both signs", gram(17, 17, 3).map((v, i) => v - (i % 18 === 0 ? 20 : 0)), 17],
  ["a diagonal with equal numbers", Float64Array.from({ length: 36 }, (_, i) => (i % 7 === 0 ? 5 : 0)), 6],
  ["zeros", new Float64Array(25), 5],
  ["one of tiny numbers", gram(12, 12, 4).map((v) => 1e-160 * v), 12],
];

describe("the eigenvectors of a symmetric matrix", () => {
  it.each(CASES)("of %s are orthonormal and put it together again, the largest value first", (_, a, n) => {
    const { values, vectors } = symmetricEigen(a.slice(), n);
    const size = a.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-300);
    let [off, skew] = [0, 0];
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        let [back, product] = [0, 0];
        for (let k = 0; k < n; k++) {
          back += values[k]! * vectors[k * n + i]! * vectors[k * n + j]!;
          product += vectors[i * n + k]! * vectors[j * n + k]!;
        }
        off = Math.max(off, Math.abs(back - a[i * n + j]!));
        skew = Math.max(skew, Math.abs(product - (i === j ? 1 : 0)));
      }
    expect(off).toBeLessThan(1e-12 * size * n);
    expect(skew).toBeLessThan(1e-12);
    for (let k = 1; k < n; k++) expect(values[k]!).toBeLessThanOrEqual(values[k - 1]!);
  });

  it("are refused where a number is none", () => {
    expect(() => symmetricEigen(Float64Array.of(1, Number.NaN, Number.NaN, 1), 2)).toThrow(/not finite/);
  });
});
