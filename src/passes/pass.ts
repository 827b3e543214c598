import type { Model } from "../ir/graph.ts";

/** Plain data, as JSON writes it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

/** One thing a pass did, for the log, the report and the studio. */
export interface Change {
  /** A sentence: `Folded BatchNormalization "bn1" into its weights.` */
  readonly what: string;
  /** Where: a node (`Conv "conv_1"`), a weight, or the model. */
  readonly at: string;
  /** How often, where more than once; `at` is then the first place. */
  readonly times?: number;
}

export interface PassResult {
  /** The very same object as the model given when nothing changed. */
  readonly model: Model;
  readonly changes: readonly Change[];
}

/** A function from model to model with a name and options that a recipe can hold. The model given stays as it was. */
export interface Pass {
  readonly name: string;
  readonly options: Json;
  run(model: Model): Promise<PassResult>;
}

/** One pass that runs several, one after the other. */
export function sequence(passes: readonly Pass[], name = "sequence"): Pass {
  return {
    name,
    options: passes.map((pass) => ({ name: pass.name, options: pass.options })),
    async run(model) {
      const changes: Change[] = [];
      for (const pass of passes) {
        const result = await pass.run(model);
        model = result.model;
        changes.push(...result.changes);
      }
      return { model, changes: merged(changes) };
    },
  };
}

/** One pass that runs several in turn until none of them finds anything to do. */
export function untilStable(passes: readonly Pass[], name: string): Pass {
  const round = sequence(passes);
  return {
    name,
    options: round.options,
    async run(model) {
      const changes: Change[] = [];
      for (;;) {
        const result = await round.run(model);
        changes.push(...result.changes);
        if (result.model === model) return { model, changes: merged(changes) };
        model = result.model;
      }
    },
  };
}

/** Changes of the same words as one. */
export function merged(changes: readonly Change[]): Change[] {
  const byWords = new Map<string, Change>();
  for (const change of changes) {
    const seen = byWords.get(change.what);
    const times = (seen?.times ?? (seen ? 1 : 0)) + (change.times ?? 1);
    byWords.set(change.what, { ...(seen ?? change), ...(times > 1 && { times }) });
  }
  return [...byWords.values()];
}
