import type { CostAfter, PrunedCost } from "./cost.ts";
import type { Scores } from "./scores.ts";
import type { Targets } from "./types.ts";

const COSTS = { macs: "macs", latency: "macs", parameters: "parameters", size: "weightBytes" } as const;

/**
 * Scores over what an index costs: the share of what is to become less (multiply-adds where no target says) that goes with one
 * index of its group. Ranked so, what is dear and worth little goes first: early layers of nets for pictures, whose channels cost
 * most of the multiply-adds and hold few of the weights (after Molchanov et al. 2017, arXiv 1611.06440, section 2.2).
 */
export function perCost(scores: Scores, cost: CostAfter, targets: Targets): Scores {
  const named = (["macs", "latency", "parameters", "size"] as const).filter((name) => targets[name] !== undefined);
  const counted: readonly (keyof PrunedCost)[] = named.length > 0 ? named.map((name) => COSTS[name]) : ["macs"];
  const whole = cost(new Map());
  return new Map(
    [...scores].map(([group, values]) => {
      const left = cost(new Map([[group.variable, new Uint8Array(group.size).fill(1).fill(0, 0, 1)]]));
      const saved = Math.max(...counted.map((name) => 1 - left[name] / whole[name]));
      return [group, values.map((score) => score / Math.max(saved, 1e-12))];
    }),
  );
}
