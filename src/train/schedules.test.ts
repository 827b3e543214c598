import { describe, expect, it } from "vitest";
import golden from "../../test/golden/training.json" with { type: "json" };
import { constant, cosine, oneCycle, type Schedule, stepDecay, warmUp } from "./schedules.ts";

const run = { steps: 20, stepsPerEpoch: 4 };
const rates = (schedule: Schedule) => Array.from({ length: run.steps }, (_, step) => schedule(step, run));

describe("schedules", () => {
  const ours: Record<keyof typeof golden.schedules, Schedule> = {
    cosine: cosine(0.4, { min: 0.01 }),
    oneCycle: oneCycle(0.4),
    stepDecay: stepDecay(0.4, { every: 2, gamma: 0.3 }),
    milestones: stepDecay(0.4, { at: [1, 4] }),
  };
  for (const [name, schedule] of Object.entries(ours))
    it(`${name} gives PyTorch's rates`, () => {
      const theirs = golden.schedules[name as keyof typeof ours];
      for (const [step, rate] of rates(schedule).entries()) expect(rate).toBeCloseTo(theirs[step] as number, 7);
    });

  it("a warm-up rises in a straight line to where the schedule begins, and the schedule still ends with the run", () => {
    const warm = rates(warmUp(cosine(1), { steps: 4 }));
    expect(warm.slice(0, 5).map((rate) => Math.round(rate * 1e6) / 1e6)).toEqual([0.2, 0.4, 0.6, 0.8, 1]);
    expect(warm.at(-1)).toBeCloseTo(cosine(1)(15, { ...run, steps: 16 }), 12);
    expect(rates(warmUp(constant(2), { epochs: 1 }))).toEqual(rates(warmUp(constant(2), { steps: 4 })));
  });

  it("says what is wrong with a rate or a fall that cannot be", () => {
    expect(() => constant(Number.NaN)).toThrow("A learning rate of NaN");
    expect(() => cosine(-1)).toThrow("from 0 on");
    expect(() => stepDecay(1, {})).toThrow("every");
  });
});
