import { describe, expect, it } from "vitest";
import { pairedDifference } from "./interval.ts";
import { accuracyByClass, agreement, type Judgement, METRICS } from "./metrics.ts";

/** A judgement from rows of scores and their labels. */
function judged(scores: readonly (readonly number[])[], labels: readonly number[]): Judgement {
  const order = scores.map((row) => row.map((_, c) => c).sort((a, b) => row[b]! - row[a]!));
  return {
    indices: Int32Array.from(scores.keys()),
    predictions: Int32Array.from(order.map((o) => o[0]!)),
    labels: Int32Array.from(labels),
    ranks: Int32Array.from(order.map((o, i) => o.indexOf(labels[i]!))),
    margins: Float32Array.from(scores.map((row) => row[1]! - row[0]!)),
    classes: scores[0]!.length,
  };
}

describe("metrics of a classifier", () => {
  const j = judged(
    [
      [0.1, 0.9],
      [0.8, 0.2],
      [0.3, 0.7],
      [0.6, 0.4],
    ],
    [1, 0, 0, 1],
  );

  it("accuracy is the share that is right", () => expect(METRICS.accuracy(j)).toBe(0.5));

  it("sensitivity is the share of class 1 that is found, specificity that of class 0", () => {
    expect(METRICS.sensitivity(j)).toBe(0.5);
    expect(METRICS.specificity(j)).toBe(0.5);
  });

  it("AUROC counts the pairs that are in order", () => expect(METRICS.auroc(j)).toBe(0.75));

  it("AUROC of scores that say nothing is a half, ties included", () => {
    const flat = judged(
      [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
      [0, 1, 1],
    );
    expect(METRICS.auroc(flat)).toBe(0.5);
  });

  it("macro F1 is the mean of the classes that occur", () => {
    const three = judged(
      [
        [1, 0, 0],
        [1, 0, 0],
        [0, 1, 0],
      ],
      [0, 1, 1],
    );
    expect(METRICS.f1(three)).toBeCloseTo((2 / 3 + 2 / 3) / 2, 12);
  });

  it("top 5 counts a right class among the five highest", () => {
    const six = judged(
      [
        [6, 5, 4, 3, 2, 1],
        [6, 5, 4, 3, 2, 1],
      ],
      [4, 5],
    );
    expect(METRICS.top5(six)).toBe(0.5);
  });

  it("agreement compares the answers to the same examples only", () => {
    const other = { ...j, indices: Int32Array.of(3, 2, 1, 9), predictions: Int32Array.of(0, 0, 0, 1) };
    expect(agreement(j, other)).toBeCloseTo(2 / 3, 12);
  });

  it("a class without examples has no accuracy", () => {
    const three = judged([[1, 0, 0]], [0]);
    expect(accuracyByClass(three)).toEqual([1, Number.NaN, Number.NaN]);
  });

  it("a metric of two classes refuses three", () => {
    expect(() => METRICS.auroc(judged([[1, 0, 0]], [0]))).toThrow(/two classes; this model has 3/);
  });
});

describe("the paired interval", () => {
  it("is around the difference of the two shares", () => {
    const a = Array.from({ length: 1000 }, (_, i) => i < 800);
    const b = a.map((right, i) => (i < 10 ? !right : right));
    const { value, low, high } = pairedDifference(a, b);
    expect(value).toBeCloseTo(-0.01, 12);
    expect(low).toBeLessThan(-0.01);
    expect(high).toBeLessThan(0);
    expect(high - value).toBeCloseTo(value - low, 12);
  });

  it("is never empty: two equal models on 100 examples may still differ by a few points elsewhere", () => {
    const same = new Array<boolean>(100).fill(true);
    const { low, high } = pairedDifference(same, same);
    expect(high - low).toBeGreaterThan(0.03);
  });
});
