import type { Model } from "../../ir/graph.ts";
import { titleOf } from "../../ir/walk.ts";
import { optimize, type Pass, type PassResult } from "../../passes/index.ts";
import { merged } from "../../passes/pass.ts";
import { groupsOf, type ScalingGroup } from "./groups.ts";
import { WorkingWeights } from "./working.ts";

/** Rounds over all groups; each begins where the one before ended. */
const ROUNDS = 20;
/** Below this the factors of a round change nothing any more. */
const SETTLED = 1e-3;

/**
 * Cross-layer equalization: multiplies channels so that the weights that make them and the weights that read them have the
 * same range, which one scale for a whole weight needs. What the model computes stays the same up to float rounding. It
 * needs no data, and passes Relu, sums of branches, concatenations and pooling, but no Clip with an upper bound.
 * Optimizes the model first, since normalization must lie in the weights.
 * Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv 1906.04721,
 * section 4.1.
 *
 * @example
 * const { model: even } = await equalizeLayers().run(model);
 * const { model: small } = await quantizeStatic({ data, perChannel: false }).run(even);
 */
export const equalizeLayers = (): Pass => ({ name: "equalizeLayers", options: {}, run: equalized });

async function equalized(given: Model): Promise<PassResult> {
  const { model, changes } = await optimize().run(given);
  const groups = groupsOf(model);
  const weights = await WorkingWeights.of(model, groups);
  let moved = false;
  for (let round = 0; round < ROUNDS; round++) {
    let largest = 0;
    for (const group of groups) {
      const factors = factorsOf(group, weights);
      weights.move(group, factors);
      for (const factor of factors) largest = Math.max(largest, Math.abs(Math.log(factor)));
    }
    if (largest < SETTLED) break;
    moved = true;
  }
  if (!moved) return { model: given, changes: [] };
  const told = groups.map(({ weights: [first] }) => ({
    what: "Made the ranges of weights on either side of channels equal.",
    at: titleOf(first!.node),
  }));
  return { model: weights.done(), changes: merged([...changes, ...told]) };
}

/** √(range of the readers / range of the makers), 1 for channels that one of them leaves at 0. */
function factorsOf(group: ScalingGroup, weights: WorkingWeights): Float64Array {
  const made = weights.magnitudes(group, ({ divided, matrix }) => !divided && matrix);
  const read = weights.magnitudes(group, ({ divided, matrix }) => divided && matrix);
  return made.map((own, c) => (own > 0 && read[c]! > 0 ? Math.sqrt(read[c]! / own) : 1));
}
