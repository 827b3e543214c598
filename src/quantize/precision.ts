import { type Choice, chooseWithin } from "../numeric/knapsack.ts";
import type { LayerChoice, LayerCosts } from "./layer-costs.ts";
import type { PrecisionPlan } from "./mixed.ts";

/** What a plan keeps to, and what it makes small within that. */
export type PrecisionBudget =
  /** The least noise in at most so many bytes of the layers' weights. */
  | { readonly maxBytes: number }
  /** The fewest bytes, or the fewest multiply-adds outside of int8, with at most so much noise. */
  | { readonly maxNoise: number; readonly least?: "bytes" | "floatMacs" };

/** A format for every layer, and the sums of what that costs. */
export interface Precision {
  readonly plan: PrecisionPlan;
  readonly bytes: number;
  readonly noise: number;
  /** Multiply-adds that do not run in integers. */
  readonly floatMacs: number;
}

/**
 * The best formats for the layers of a model within a budget, taking costs as adding up: exactly the best, by dynamic
 * programming over the undominated sums. Undefined where nothing keeps the budget.
 *
 * @example
 * const half = planPrecision(costs, { maxBytes: 500_000 });
 * const { model: small } = await quantizeMixed({ plan: half.plan, data }).run(model);
 */
export function planPrecision(costs: readonly LayerCosts[], budget: PrecisionBudget): Precision | undefined {
  const price = priceBy(budget);
  const groups = costs.map(({ macs, choices }) => choices.map((choice) => price(choice, macs)));
  const chosen = chooseWithin(groups, "maxBytes" in budget ? budget.maxBytes : budget.maxNoise);
  if (chosen === undefined) return undefined;
  const all = costs.map(({ node, macs, choices }, i) => ({ node, macs, ...choices[chosen[i]!]! }));
  return {
    plan: Object.fromEntries(all.map(({ node, format }) => [node, format])),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    noise: all.reduce((sum, { noise }) => sum + noise, 0),
    floatMacs: all.reduce((sum, { format, macs }) => sum + (format === "int8" ? 0 : macs), 0),
  };
}

function priceBy(budget: PrecisionBudget): (choice: LayerChoice, macs: number) => Choice {
  if ("maxBytes" in budget) return ({ bytes, noise }) => ({ cost: bytes, loss: noise });
  if (budget.least !== "floatMacs") return ({ bytes, noise }) => ({ cost: noise, loss: bytes });
  return ({ format, noise, bytes }, macs) => ({ cost: noise, loss: (format === "int8" ? 0 : macs) + 1e-6 * bytes });
}
