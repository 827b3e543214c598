import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Histogram } from "./histogram.ts";
import type { ValueStatistics } from "./types.ts";

const number = fc
  .float({ noNaN: true, min: Math.fround(-1e6), max: Math.fround(1e6) })
  .map((x) => (Math.abs(x) < 1e-6 ? 0 : x));
const numbers = fc.array(number, { minLength: 1, maxLength: 60 });

const countOf = (values: readonly (readonly number[])[]): ValueStatistics => {
  const histogram = new Histogram();
  for (const part of values) histogram.add(Float32Array.from(part));
  return histogram.result();
};

const total = ({ bins, zeros }: ValueStatistics): number => bins.reduce((a, b) => a + b, zeros);

describe("A histogram", () => {
  it("counts every number once, in the bin that holds it", () => {
    fc.assert(
      fc.property(numbers, (values) => {
        const seen = countOf([values]);
        expect(total(seen)).toBe(values.length);
        expect([seen.min + 0, seen.max + 0]).toEqual([Math.min(...values) + 0, Math.max(...values) + 0]);
        for (const value of values.filter((v) => v !== 0))
          expect(seen.bins[Math.floor(value / seen.width) - seen.first]).toBeGreaterThan(0);
      }),
      { seed: 1, numRuns: 2000 },
    );
  });

  it("is the same in whatever portions the numbers come", () => {
    fc.assert(
      fc.property(numbers, fc.nat(60), (values, at) => {
        const { averageMin: _a, averageMax: _b, ...whole } = countOf([values]);
        const { averageMin: _c, averageMax: _d, ...parts } = countOf([values.slice(0, at), values.slice(at)]);
        expect(parts).toEqual(whole);
      }),
      { seed: 2, numRuns: 2000 },
    );
  });

  it("stays small whatever it counts", () => {
    const histogram = new Histogram();
    for (let i = 0; i < 300; i++) histogram.add(Float32Array.of(1e-38 * 10 ** (i / 4), -1));
    expect(histogram.result().bins.length).toBeLessThanOrEqual(8192);
  });

  it("passes over NaN and infinity, and says how many there were", () => {
    const seen = countOf([[1, Number.NaN, 2], [Infinity, -1, -Infinity], [Number.NaN], []]);
    expect(seen).toMatchObject({ min: -1, max: 2, broken: 4 });
    expect(total(seen)).toBe(3);
    expect(countOf([[Number.NaN, Infinity]])).toMatchObject({ min: 0, max: 0, broken: 2 });
  });

  it("of zeros alone, or of nothing, has the range 0 to 0", () => {
    expect(countOf([[0, -0, 0]])).toMatchObject({ min: 0, max: 0, zeros: 3, bins: new Float64Array(0) });
    expect(countOf([])).toMatchObject({ min: 0, max: 0, zeros: 0 });
  });

  it("averages the extremes of examples, not of batches", () => {
    const [one, two] = [new Histogram(), new Histogram()];
    one.add(Float32Array.of(0, 1, 0, 101), 2);
    two.add(Float32Array.of(0, 1));
    two.add(Float32Array.of(0, 101));
    expect(one.result()).toEqual(two.result());
    expect(one.result().averageMax).toBeCloseTo(2);
  });
});
