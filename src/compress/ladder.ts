import type { Recipe } from "./recipe.ts";
import type { Trial } from "./trials.ts";

/** A candidate to try. */
export interface Candidate {
  readonly name: string;
  readonly recipe: Recipe;
}

/** What a strategy may ask while it decides what to try next. */
export interface Situation {
  /** Nodes that quantize, the one that hurts most first. */
  sensitive(): Promise<readonly string[]>;
  /** Whether latency decides: then nothing may be left untried for being larger. */
  readonly byLatency: boolean;
}

/** Proposes candidates one by one; each `yield` gives back how it went. A search is one such generator. */
export type Strategy = (situation: Situation) => AsyncGenerator<Candidate, void, Trial>;

type Method = Extract<Recipe[number], { name: "quantizeStatic" }>["method"];

const int8 = (method: Method, biasCorrection: boolean, nodesToExclude: readonly string[] = []): Candidate => ({
  name: [
    `int8 ${method}`,
    biasCorrection ? ", bias corrected" : "",
    nodesToExclude.length > 0 ? `, ${nodesToExclude.length} layer${nodesToExclude.length > 1 ? "s" : ""} in float` : "",
  ].join(""),
  recipe: [
    { name: "optimize" },
    {
      name: "quantizeStatic",
      method,
      biasCorrection,
      ...(nodesToExclude.length > 0 && { nodesToExclude: [...nodesToExclude] }),
    },
  ],
});

const stored = (to: "int8" | "fp16", biasCorrection = false): Candidate => ({
  name: `${to} storage${biasCorrection ? ", bias corrected" : ""}`,
  recipe: [{ name: "optimize" }, { name: "storeWeights", to, ...(biasCorrection && { biasCorrection }) }],
});

/**
 * The ladder: int8 by the plainest method, then better ones while the budget is missed (bias correction, other
 * calibrations, the most sensitive layers in float), and the storage formats, which keep float speed on every runtime.
 */
export const ladder: Strategy = async function* (situation) {
  const tried: { trial: Trial; method: Method; corrected: boolean }[] = [];
  let met = false;
  const attempt = async function* (method: Method, corrected: boolean): AsyncGenerator<Candidate, void, Trial> {
    const trial: Trial = yield int8(method, corrected);
    tried.push({ trial, method, corrected });
    met ||= trial.met;
  };
  yield* attempt("minmax", false);
  yield* attempt("minmax", true);
  for (const method of ["entropy", "percentile", "mse"] as const) if (!met) yield* attempt(method, true);
  let storage: Trial = yield stored("int8");
  if (!storage.met) storage = yield stored("int8", true);
  if (!met) {
    const best = tried
      .filter((t) => t.trial.figures !== undefined)
      .sort((a, b) => a.trial.distance - b.trial.distance)[0];
    if (best !== undefined) {
      const order = await situation.sensitive();
      for (const layers of [1, 2, 4, 8, 16]) {
        if (met || layers > order.length / 2) break;
        const trial: Trial = yield int8(best.method, best.corrected, order.slice(0, layers));
        met = trial.met;
      }
    }
  }
  if (!met && !storage.met) yield stored("fp16");
};
