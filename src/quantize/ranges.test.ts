import { describe, expect, it } from "vitest";
import { normal, random } from "../numeric/random.ts";
import { affineOf, quantizeLevel } from "./affine.ts";
import { Histogram } from "./histogram.ts";
import { rangesBy } from "./ranges.ts";
import { type CalibrationMethod, METHODS, type Range, type Statistics } from "./types.ts";

const statisticsOf = (values: Float32Array): Statistics => {
  const histogram = new Histogram();
  histogram.add(values);
  return { values: new Map([["x", histogram.result()]]), samples: 1, skipped: 0 };
};

const rangeBy = (method: CalibrationMethod, values: Float32Array, options = {}): Range =>
  rangesBy(method, statisticsOf(values), options).get("x")!;

const next = random(3);
const bell = Float32Array.from({ length: 50_000 }, () => normal(next));
/** Mostly small numbers, and one in ten thousand that is large. */
const tailed = bell.map((x, i) => (i % 10_000 === 0 ? 60 : Math.abs(x)));

const errorOf = (values: Float32Array, range: Range): number => {
  const affine = affineOf(range, { type: "uint8" });
  return values.reduce((sum, x) => {
    const back = (quantizeLevel(x, affine, "uint8") - affine.zeroPoint) * affine.scale;
    return sum + (back - x) ** 2;
  }, 0);
};

describe("Ranges", () => {
  it("by minmax are what was seen, without error", () => {
    expect(rangeBy("minmax", tailed)).toEqual({ min: Math.min(...tailed), max: 60 });
  });

  it("by percentile leave the share out that was asked for, half of it at either end", () => {
    const even = Float32Array.from({ length: 10_001 }, (_, i) => i / 5000 - 1);
    const { min, max } = rangeBy("percentile", even, { percentile: 90 });
    expect(min).toBeCloseTo(-0.9, 2);
    expect(max).toBeCloseTo(0.9, 2);
    expect(rangeBy("percentile", tailed, { percentile: 99.9 }).max).toBeLessThan(6);
  });

  it("by mse have no larger squared error than by any other method", () => {
    for (const values of [bell, tailed, bell.map((x) => Math.max(0, x))]) {
      const least = errorOf(values, rangeBy("mse", values));
      for (const method of METHODS)
        expect(least, method).toBeLessThanOrEqual(errorOf(values, rangeBy(method, values)) * 1.02);
    }
  });

  it("by entropy cut a far tail off, but not a bell curve to its middle", () => {
    expect(rangeBy("entropy", tailed).max).toBeLessThan(30);
    expect(rangeBy("entropy", bell).max).toBeGreaterThan(2.5);
  });

  it.for(METHODS)(
    "by %s lie within what was seen and hold zero, also for constants, zeros and nothing finite",
    (method) => {
      for (const values of [[3, 3, 3], [-3, -3], [0, 0], [1e-42], [Number.NaN], [Infinity, 2], [-5, 1e30]]) {
        const { min, max } = rangeBy(method, Float32Array.from(values));
        const finite = values.filter(Number.isFinite).map(Math.fround);
        expect(Number.isFinite(min) && Number.isFinite(max)).toBe(true);
        expect(Math.min(0, min)).toBeGreaterThanOrEqual(Math.min(0, ...finite));
        expect(Math.max(0, max)).toBeLessThanOrEqual(Math.max(0, ...finite));
        expect(affineOf({ min, max }, { type: "uint8" }).scale).toBeGreaterThan(0);
      }
    },
  );

  it("by a method that is none are refused", () => {
    expect(() => rangeBy("median" as CalibrationMethod, bell)).toThrow(/median/);
    expect(() => rangeBy("percentile", bell, { percentile: 20 })).toThrow(/percentile/i);
  });
});
