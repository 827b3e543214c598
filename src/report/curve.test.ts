import { describe, expect, it } from "vitest";
import { curve, ticksOf } from "./curve.ts";

const options = { title: "Loss", format: (v: number) => v.toFixed(2), along: "epoch" };

describe("curves", () => {
  it("ticks are round, span the range and are few, whatever its size", () => {
    for (const [low, high] of [
      [0, 1],
      [0.2, 2.31],
      [-3, 5],
      [1e-6, 3e-6],
      [99.1, 99.2],
      [5, 5],
      [0, 0],
      [0, 1e9],
    ] as const) {
      const ticks = ticksOf(low, high);
      expect(ticks[0]).toBeLessThanOrEqual(low + 1e-12);
      expect(ticks.at(-1)).toBeGreaterThanOrEqual(high - 1e-12);
      expect(ticks.length).toBeGreaterThanOrEqual(2);
      expect(ticks.length).toBeLessThanOrEqual(7);
    }
  });

  it("a line goes down where numbers fall, and has a gap where one is missing", () => {
    const { html } = curve([{ name: "train", values: [2, 1, undefined, 0.5, 0.25] }], options);
    const [, drawn = ""] = /<path d="(M[^"]*)" fill="none"/.exec(html) ?? [];
    expect(drawn.match(/M/g)?.length).toBe(2);
    const heights = [...drawn.matchAll(/[ML]([\d.]+) ([\d.]+)/g)].map((m) => Number(m[2]));
    expect(heights).toEqual(heights.toSorted((a, b) => a - b));
    expect(html).toContain("train");
  });

  it("nothing is drawn of nothing", () => {
    expect(curve([{ name: "train", values: [] }], options).html).toBe("");
  });
});
