import { describe, expect, it } from "vitest";
import { inverseFactor, solveDefinite } from "./cholesky.ts";
import { random } from "./random.ts";

describe("solveDefinite", () => {
  it("finds the rows that give B when multiplied with A", () => {
    const [n, m, next] = [7, 3, random(5)];
    const root = Float64Array.from({ length: n * n }, () => next() - 0.5);
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let k = 0; k < n; k++) a[i * n + j]! += root[i * n + k]! * root[j * n + k]! + (i === j ? 0.1 : 0);
    const x = Float64Array.from({ length: m * n }, () => next() - 0.5);
    const b = new Float64Array(m * n);
    for (let r = 0; r < m; r++)
      for (let j = 0; j < n; j++) for (let k = 0; k < n; k++) b[r * n + j]! += x[r * n + k]! * a[k * n + j]!;
    const solved = solveDefinite(a, b, n);
    for (const [i, value] of solved.entries()) expect(value).toBeCloseTo(x[i]!, 9);
  });

  it("gives an upper triangle that makes the inverse", () => {
    const [n, next] = [9, random(6)];
    const root = Float64Array.from({ length: n * n }, () => next() - 0.5);
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let k = 0; k < n; k++) a[i * n + j]! += root[i * n + k]! * root[j * n + k]! + (i === j ? 0.1 : 0);
    const u = inverseFactor(a.slice(), n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        if (j < i) expect(u[i * n + j]).toBeCloseTo(0, 12);
        let identity = 0;
        for (let k = 0; k < n; k++)
          for (let l = 0; l < n; l++) identity += a[i * n + k]! * u[l * n + k]! * u[l * n + j]!;
        expect(identity).toBeCloseTo(i === j ? 1 : 0, 8);
      }
  });

  it("refuses a matrix that is not definite", () => {
    expect(() => solveDefinite(Float64Array.of(1, 2, 2, 1), Float64Array.of(1, 1), 2)).toThrow(/positive definite/);
  });
});
