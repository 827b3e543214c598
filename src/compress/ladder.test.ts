import { describe, expect, it } from "vitest";
import { type Candidate, ladder } from "./ladder.ts";
import type { Trial } from "./trials.ts";

/** Runs the ladder against a rule that says which candidates meet the budget; gives the names it tried. */
async function climb(meets: (candidate: Candidate) => boolean, layers = 40): Promise<string[]> {
  const tried: string[] = [];
  const order = Array.from({ length: layers }, (_, i) => `layer${i}`);
  const proposals = ladder({ byLatency: false, sensitive: async () => order });
  for (let next = await proposals.next(); !next.done; ) {
    const met = meets(next.value);
    tried.push(next.value.name);
    const figures = { quality: 0.5, bytes: 1, parameters: 1, macs: 1 };
    const trial: Trial = { ...next.value, figures, met, distance: met ? 0 : tried.length, seconds: 0 };
    next = await proposals.next(trial);
  }
  return tried;
}

const isStatic = ({ recipe }: Candidate) => recipe.some((step) => step.name === "quantizeStatic");

describe("the ladder", () => {
  it("does not climb on when the plain method is enough, but measures the storage format too", async () => {
    const tried = await climb(isStatic);
    expect(tried.some((name) => name.includes("entropy"))).toBe(false);
    expect(tried.some((name) => name.includes("in float"))).toBe(false);
    expect(tried.some((name) => name.includes("storage"))).toBe(true);
  });

  it("tries bias correction and every calibration, then leaves more and more layers in float", async () => {
    const tried = await climb(() => false);
    for (const word of [
      "minmax",
      "bias corrected",
      "entropy",
      "percentile",
      "mse",
      "1 layer in float",
      "16 layers in float",
      "fp16",
    ])
      expect(
        tried.some((name) => name.includes(word)),
        word,
      ).toBe(true);
  });

  it("never leaves more than half of the layers in float", async () => {
    const tried = await climb(() => false, 6);
    expect(tried.some((name) => name.includes("4 layers"))).toBe(false);
    expect(tried.some((name) => name.includes("2 layers"))).toBe(true);
  });

  it("proposes nothing twice", async () => {
    const tried = await climb(() => false);
    expect(new Set(tried).size).toBe(tried.length);
  });
});
