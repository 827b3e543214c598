import { nearestNames } from "../numeric/nearest.ts";
import type { Verb } from "./verb.ts";

/** Every command, in the order of help, with what loads its file. */
export const VERBS: Readonly<Record<string, () => Promise<{ readonly verb: Verb }>>> = {
  inspect: () => import("./verbs/inspect.ts"),
  compress: () => import("./verbs/compress.ts"),
  quantize: () => import("./verbs/quantize.ts"),
  prune: () => import("./verbs/prune.ts"),
  optimize: () => import("./verbs/optimize.ts"),
  train: () => import("./verbs/train.ts"),
  distill: () => import("./verbs/distill.ts"),
  finetune: () => import("./verbs/finetune.ts"),
  create: () => import("./verbs/create.ts"),
  evaluate: () => import("./verbs/evaluate.ts"),
  compare: () => import("./verbs/compare.ts"),
  bench: () => import("./verbs/bench.ts"),
};

export async function loadVerb(name: string): Promise<Verb> {
  const load = VERBS[name];
  if (load === undefined) throw new TypeError(`There is no verb ${name}.`);
  return (await load()).verb;
}

/** The command a mistyped one is closest to, if any is close. */
export const nearestTo = (name: string): string | undefined => nearestNames(name, Object.keys(VERBS))[0];
