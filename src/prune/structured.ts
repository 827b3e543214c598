import { verify } from "../ir/verify.ts";
import type { Change, Json, Pass, PassResult } from "../passes/index.ts";
import { cut } from "./apply.ts";
import { planPruning } from "./plan.ts";
import { reconstruct } from "./reconstruct.ts";
import { reestimateBehind } from "./reestimate.ts";
import type { Plan, StructuredPruningOptions } from "./types.ts";

/**
 * Removes whole channels, heads and hidden units: the model gets smaller and faster on every runtime. It needs no operator
 * it does not have, keeps inputs and outputs, and should be fine-tuned afterwards. With data, the weights that read what
 * was cut are fitted to what they gave before, and normalizations measured again, which wins back much without training.
 * Throws as {@link planPruning} does.
 *
 * @example
 * const { model: small, changes } = await structuredPruning({ macs: "50%", data: photos.take(200) }).run(model);
 */
export function structuredPruning(options: StructuredPruningOptions = {}): Pass {
  return {
    name: "structuredPruning",
    options: plain(options),
    run: async (model) => applyPlan(await planPruning(model, options), options),
  };
}

/** Options as a recipe holds them: what is measured on does not belong to it. */
function plain({ data: _d, loss: _l, signal: _s, onProgress: _p, ...rest }: StructuredPruningOptions): Json {
  return rest as unknown as Json;
}

/** Cuts what a plan says. The plan can be applied again. */
export async function applyPlan(plan: Plan, options: StructuredPruningOptions = {}): Promise<PassResult> {
  const { derivation: d, masks, groups } = plan;
  const changed = groups.filter(({ group, kept }) => kept < group.size);
  let model = await cut(d, masks);
  const changes: Change[] = changed.map(({ group, kept }) => ({
    what: `Kept ${kept} of ${group.size} indices of a group${group.counted.length > 0 ? `, though ${group.counted[0]}` : ""}.`,
    at: group.name,
  }));
  if (options.reconstruct ?? options.data !== undefined) {
    const fitted = await reconstruct(d, masks, model, options);
    model = fitted.model;
    if (fitted.weights > 0)
      changes.push({ what: `Fitted ${fitted.weights} weights to what they gave before.`, at: "model" });
  }
  model = await reestimateBehind(model, options, changes);
  verify(model);
  return { model, changes };
}
