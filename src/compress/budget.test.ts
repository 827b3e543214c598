import { describe, expect, it } from "vitest";
import { checkBudget, distance, isMet, isUncertain } from "./budget.ts";
import { chooseTrial } from "./search.ts";
import type { Trial } from "./trials.ts";

const figures = (quality: number, bytes = 1000) => ({ quality, bytes, parameters: 1, macs: 1 });

describe("a budget", () => {
  it("a drop of exactly the bound is within it", () => {
    expect(isMet(checkBudget({ maxDrop: { value: 0.01, relative: false } }, figures(0.91), figures(0.9)))).toBe(true);
  });

  it("a relative drop is a share of what was", () => {
    const budget = { maxDrop: { value: 0.1, relative: true } };
    expect(isMet(checkBudget(budget, figures(0.5), figures(0.455)))).toBe(true);
    expect(isMet(checkBudget(budget, figures(0.5), figures(0.445)))).toBe(false);
  });

  it("its distance is the worst excess, and nothing when it is met", () => {
    const budget = { maxDrop: { value: 0.01, relative: false }, maxSize: 500 };
    expect(distance(checkBudget(budget, figures(0.9), figures(0.9)))).toBe(1);
    expect(distance(checkBudget(budget, figures(0.9), figures(0.9, 400)))).toBe(0);
  });

  it("a latency nobody measured does not meet a bound on latency", () => {
    expect(isMet(checkBudget({ maxLatency: 5 }, figures(1), figures(1)))).toBe(false);
  });

  it("is uncertain where the interval reaches beyond it", () => {
    const budget = { maxDrop: { value: 0.01, relative: false } };
    expect(isUncertain(budget, figures(0.9), { value: -0.005, low: -0.012, high: 0.002 })).toBe(true);
    expect(isUncertain(budget, figures(0.9), { value: -0.005, low: -0.008, high: -0.002 })).toBe(false);
  });
});

const trial = (name: string, met: boolean, distance: number, latencyMs: number, brotliBytes: number): Trial => ({
  name,
  recipe: [{ name: "optimize" }],
  figures: { ...figures(0.9), latencyMs, brotliBytes },
  met,
  distance,
  seconds: 1,
});

describe("the choice between trials", () => {
  const quick = trial("quick", true, 0, 1, 900);
  const small = trial("small", true, 0, 5, 100);
  const missed = trial("missed", false, 0.5, 0.1, 10);

  it("takes the fastest on a target, without one the smallest to download, of those that meet the budget", () => {
    expect(chooseTrial([missed, quick, small], true)?.name).toBe("quick");
    expect(chooseTrial([missed, quick, small], false)?.name).toBe("small");
  });

  it("takes the nearest when none meets it", () => {
    expect(chooseTrial([trial("far", false, 3, 1, 1), missed], false)?.name).toBe("missed");
  });

  it("never takes one that failed", () => {
    const { figures: _, ...failed } = missed;
    expect(chooseTrial([{ ...failed, distance: Infinity }], false)).toBeUndefined();
  });
});
