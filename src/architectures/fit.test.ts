import { describe, expect, it } from "vitest";
import { costOf } from "../measure/cost.ts";
import { type FitBudget, fitBudget } from "./fit.ts";
import { type ArchitectureOptions, create } from "./index.ts";

describe("fitting a budget", () => {
  const cases: [string, FitBudget, Partial<ArchitectureOptions>][] = [
    ["mobilenet_v2", { macs: 50e6 }, { resolution: 96 }],
    ["mobilenet_v2", { macs: 50e6 }, {}],
    ["mobilenet_v2", { macs: 5e6 }, { classes: 10 }],
    ["mobilenet_v1", { parameters: 500_000 }, { classes: 10 }],
    ["mobilenet_v1", { macs: 20e6, parameters: 300_000 }, { classes: 10, channels: 1 }],
    ["mobilenet_v3_small", { macs: 30e6 }, { resolution: 160 }],
    ["dscnn", { macs: 1e6 }, { resolution: 49 }],
  ];
  it.each(cases)("%s within %j, given %j, comes close from below", (name, budget, given) => {
    const { options, macs, parameters } = fitBudget(name, budget, given);
    const cost = costOf(create(name, options));
    expect(options).toMatchObject(given);
    expect({ macs: cost.macs, parameters: cost.parameters }).toEqual({ macs, parameters });
    const used = Math.max(macs / (budget.macs ?? Infinity), parameters / (budget.parameters ?? Infinity));
    expect(used).toBeLessThanOrEqual(1);
    expect(used).toBeGreaterThan(0.95);
  });

  it("leaves no larger width that fits when nothing else is free", () => {
    const given = { resolution: 96, depth: 1 };
    const { options, macs } = fitBudget("mobilenet_v2", { macs: 50e6 }, given);
    const next = create("mobilenet_v2", { ...options, width: (options.width as number) + 0.01 });
    expect(macs).toBeLessThanOrEqual(50e6);
    expect(costOf(next).macs).toBeGreaterThan(50e6);
  });

  it("gives the net itself for its own budget", () => {
    const { macs, parameters } = costOf(create("mobilenet_v2"));
    const fit = fitBudget("mobilenet_v2", { macs, parameters });
    expect(fit).toMatchObject({ macs, parameters });
  });

  it("says what the smallest net takes where the budget is below it", () => {
    const fit = () => fitBudget("mobilenet_v2", { macs: 1e6 }, { resolution: 96 });
    expect(fit).toThrow(/The smallest "mobilenet_v2" there is has \d+ multiply-adds, and 1000000 were asked for/);
    const least = Number(/has (\d+) mult/.exec(messageOf(fit))?.[1]);
    expect(fitBudget("mobilenet_v2", { macs: least }, { resolution: 96 }).macs).toBe(least);
    expect(() => fitBudget("mobilenet_v2", { macs: least - 1 }, { resolution: 96 })).toThrow("smallest");
  });

  it("refuses what has nothing to pick, and no budget", () => {
    expect(() => fitBudget("mobilenet_v2", {})).toThrow("no budget");
    expect(() => fitBudget("mobilenet_v2", { macs: 1e8 }, { width: 1, depth: 1, resolution: 96 })).toThrow(
      "left to pick",
    );
  });
});

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return "";
}
