import { describe, expect, it } from "vitest";
import { type Choice, chooseWithin } from "./knapsack.ts";
import { random } from "./random.ts";

/** The least loss within a budget, by trying everything; Infinity where nothing fits. */
function bruteForce(groups: readonly (readonly Choice[])[], budget: number): number {
  const [group, ...rest] = groups;
  if (group === undefined) return budget >= -1e-9 ? 0 : Infinity;
  return Math.min(...group.map(({ cost, loss }) => loss + bruteForce(rest, budget - cost)));
}

const sumOf = (groups: readonly (readonly Choice[])[], chosen: readonly number[], what: "cost" | "loss"): number =>
  chosen.reduce((sum, choice, g) => sum + groups[g]![choice]![what], 0);

describe("the knapsack", () => {
  it("finds what trying everything finds, whole numbers and ties or not, at every budget", () => {
    const next = random(5);
    for (let round = 0; round < 300; round++) {
      const whole = round % 2 === 0;
      const drawn = (most: number) => (whole ? Math.floor(most * next()) : most * next());
      const groups = Array.from({ length: 1 + Math.floor(5 * next()) }, () =>
        Array.from({ length: 1 + Math.floor(4 * next()) }, () => ({ cost: drawn(8), loss: drawn(8) })),
      );
      const budget = drawn(8 * groups.length);
      const least = bruteForce(groups, budget);
      const chosen = chooseWithin(groups, budget);
      if (least === Infinity) expect(chosen).toBeUndefined();
      else {
        expect(chosen).toHaveLength(groups.length);
        expect(sumOf(groups, chosen!, "cost")).toBeLessThanOrEqual(budget + 1e-6);
        expect(sumOf(groups, chosen!, "loss")).toBeCloseTo(least, 9);
      }
    }
  });

  it("is not misled by losses of very different size, nor by a budget without end", () => {
    const groups = Array.from({ length: 60 }, (_, i) => [
      { cost: 2 ** -i, loss: 1e-6 * i },
      { cost: 0, loss: 1e6 },
    ]);
    expect(chooseWithin(groups, Infinity)).toEqual(groups.map(() => 0));
    expect(chooseWithin(groups, 0)).toEqual(groups.map(() => 1));
    expect(chooseWithin(groups, 1)).toEqual(groups.map((_, i) => (i === 0 ? 1 : 0)));
  });

  it("stays quick where trying everything would take forever: 200 layers of 6 formats", () => {
    const next = random(7);
    const groups = Array.from({ length: 200 }, () => {
      const [size, noise] = [1000 + 1e6 * next(), next() ** 4];
      return [32, 16, 8, 4, 3, 2].map((bits) => ({ cost: (size * bits) / 8, loss: noise * 4 ** -bits }));
    });
    const all = groups.reduce((sum, group) => sum + group[0]!.cost, 0);
    const chosen = chooseWithin(groups, all / 7)!;
    expect(sumOf(groups, chosen, "cost")).toBeLessThanOrEqual(all / 7);
    // Moving any one layer to a smaller loss does not fit any more.
    const room = all / 7 - sumOf(groups, chosen, "cost");
    for (const [g, choice] of chosen.entries())
      for (const other of groups[g]!)
        if (other.loss < groups[g]![choice]!.loss) expect(other.cost - groups[g]![choice]!.cost).toBeGreaterThan(room);
  });
});
