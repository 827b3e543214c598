import { describe, expect, it } from "vitest";
import { random } from "../numeric/random.ts";
import { type Judgement, METRICS } from "./metrics.ts";
import { atThreshold, thresholdFor } from "./threshold.ts";

/** A judgement of two classes from margins. */
const judged = (margins: readonly number[], labels: readonly number[]): Judgement =>
  atThreshold(
    {
      indices: Int32Array.from(margins.keys()),
      predictions: new Int32Array(margins.length),
      labels: Int32Array.from(labels),
      ranks: new Int32Array(margins.length),
      margins: Float32Array.from(margins),
      classes: 2,
    },
    0,
  );

describe("a threshold for a sensitivity", () => {
  const next = random(3);
  const cases = Array.from({ length: 40 }, () => {
    const labels = Array.from({ length: 30 }, (_, i) => (i < 10 ? 1 : Math.floor(2 * next())));
    // Few different margins, so that many are equal.
    return judged(
      labels.map((label) => Math.round(4 * (next() + label)) / 2),
      labels,
    );
  });

  it("finds at least that share, and no threshold that does leaves more of class 0 alone", () => {
    for (const [i, j] of cases.entries()) {
      const sensitivity = (1 + (i % 10)) / 10;
      const chosen = atThreshold(j, thresholdFor(j, { sensitivity }));
      expect(METRICS.sensitivity(chosen)).toBeGreaterThanOrEqual(sensitivity);
      for (const margin of j.margins) {
        const other = atThreshold(j, margin);
        if (METRICS.sensitivity(other) >= sensitivity)
          expect(METRICS.specificity(other)).toBeLessThanOrEqual(METRICS.specificity(chosen));
      }
    }
  });

  it("lies between two margins, and changes neither the order of the examples nor the area under it", () => {
    const j = judged([3, 2, 1, 0], [1, 1, 0, 0]);
    expect(thresholdFor(j, { sensitivity: 1 })).toBe(1.5);
    expect(thresholdFor(j, { sensitivity: 0.5 })).toBe(2.5);
    expect(METRICS.auroc(atThreshold(j, 2.5))).toBe(METRICS.auroc(j));
    expect(METRICS.accuracy(atThreshold(j, 2.5))).toBe(0.75);
  });

  it("leaves examples whose class is not known out", () => {
    const j = judged([3, 2, 1], [1, -1, 0]);
    expect([...atThreshold(j, 1.5).ranks]).toEqual([0, -1, 0]);
  });

  it("refuses what cannot be", () => {
    const j = judged([1, 0], [0, 0]);
    expect(() => thresholdFor(j, { sensitivity: 0.9 })).toThrow("No example is of class 1");
    expect(() => thresholdFor(judged([1, 0], [1, 0]), { sensitivity: 95 })).toThrow("A sensitivity of 95");
  });

  it("is for two classes alone", () => {
    const three = { ...judged([0, 1], [0, 1]), classes: 3 };
    expect(() => thresholdFor(three, { sensitivity: 0.9 })).toThrow("two classes");
    expect(() => atThreshold(three, 0)).toThrow("two classes");
  });
});
