import { describe, expect, it } from "vitest";
import { normal, random, shuffle } from "./random.ts";

const draw = (seed: number, n: number) => {
  const next = random(seed);
  return Array.from({ length: n }, next);
};

describe("random", () => {
  it("repeats itself for the same seed and differs for another", () => {
    expect(draw(7, 20)).toEqual(draw(7, 20));
    expect(draw(7, 20)).not.toEqual(draw(8, 20));
  });

  it("fills [0, 1) evenly", () => {
    const counts = new Array<number>(16).fill(0);
    for (const x of draw(1, 160_000)) counts[Math.floor(x * 16)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(400);
  });

  it("draws normal numbers of mean 0 and variance 1", () => {
    const next = random(3);
    const xs = Array.from({ length: 100_000 }, () => normal(next));
    const mean = xs.reduce((a, b) => a + b) / xs.length;
    const variance = xs.reduce((a, b) => a + (b - mean) ** 2, 0) / xs.length;
    expect(Math.abs(mean)).toBeLessThan(0.01);
    expect(Math.abs(variance - 1)).toBeLessThan(0.02);
  });

  it("shuffles without losing or repeating an item, and leaves the given array alone", () => {
    const given = [...Array(100).keys()];
    const out = shuffle(given, random(5));
    expect(out).not.toEqual(given);
    expect(out.toSorted((a, b) => a - b)).toEqual(given);
    expect(given[99]).toBe(99);
  });
});
