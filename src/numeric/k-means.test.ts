import { describe, expect, it } from "vitest";
import { kMeans } from "./k-means.ts";
import { normal, random } from "./random.ts";

const error = (values: Float32Array, centres: ArrayLike<number>): number =>
  values.reduce((sum, value) => sum + Math.min(...Array.from(centres, (c) => (value - c) ** 2)), 0);

describe("k-means in one dimension", () => {
  it("gives few different numbers back as they are", () => {
    expect([...kMeans(Float32Array.of(3, 1, 3, 2, 1), 4)]).toEqual([1, 2, 3]);
    expect([...kMeans(new Float32Array(0), 4)]).toEqual([]);
  });

  it("rises, and every centre is the mean of what is nearest to it", () => {
    const next = random(3);
    const values = Float32Array.from({ length: 5000 }, () => normal(next) ** 3);
    const centres = kMeans(values, 16, 10_000);
    expect([...centres]).toEqual([...centres].sort((a, b) => a - b));
    const nearest = centres.length;
    expect(nearest).toBe(16);
    for (const [i, centre] of centres.entries()) {
      const own = values.filter((value) => {
        const distances = Array.from(centres, (c) => Math.abs(value - c));
        return distances.indexOf(Math.min(...distances)) === i;
      });
      expect(own.reduce((a, b) => a + b, 0) / own.length).toBeCloseTo(centre, 4);
    }
  });

  it("is nearer than even steps", () => {
    const next = random(4);
    const values = Float32Array.from({ length: 5000 }, () => normal(next));
    const even = Array.from({ length: 16 }, (_, i) => -3.5 + (7 * i) / 15);
    expect(error(values, kMeans(values, 16))).toBeLessThan(0.6 * error(values, even));
  });
});
