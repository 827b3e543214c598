import { benchmark } from "../measure/benchmark.ts";
import { pairedDifference } from "../measure/interval.ts";
import { checkBudget, type Figures, isMet, isUncertain } from "./budget.ts";
import type { CompressResult } from "./compress.ts";
import { judgeBy } from "./judge.ts";
import { chooseTrial, judgeOptions, rankLayers, type Search, threadsOf } from "./search.ts";

/** Judges the best of a search on the examples that had no part in choosing it, and times it against the original. */
export async function conclude(search: Search, interrupted: boolean): Promise<CompressResult> {
  const { options, original, final, trials, runtime, choosing, best } = search;
  const chosen = chooseTrial(trials, options.target !== undefined);
  const { signal: _, ...judging } = judgeOptions(options);
  const judge = await judgeBy(original, final, { ...judging, metric: choosing.quality });
  const untimed: Figures = { ...search.before, quality: judge.reference.quality };
  const common = { trials, chosen, interrupted, runtime, final, quality: choosing.quality };
  if (chosen?.figures === undefined || best === undefined)
    return {
      ...common,
      ...{ model: undefined, met: false, uncertain: false, checks: [], changes: [], sensitivity: search.sensitivity },
      ...{ before: untimed, after: undefined, change: undefined },
      verdicts: { before: judge.reference, after: undefined },
    };
  if (search.sensitivity.length === 0 && !interrupted) search.sensitivity = await rankLayers(search).catch(() => []);
  const verdict = await judge.judge(best.model);
  const timing = { runtime, ...threadsOf(options), seconds: 2 };
  const [slow, quick] = await benchmark([original, best.model], search.feeds, timing);
  const before: Figures = { ...untimed, latencyMs: slow!.medianMs };
  const after: Figures = { ...chosen.figures, quality: verdict.quality, latencyMs: quick!.medianMs };
  const checks = checkBudget(options.budget, before, after);
  const change = verdict.right.length > 0 ? pairedDifference(judge.reference.right, verdict.right) : undefined;
  return {
    ...common,
    ...{ model: best.model, changes: best.changes, sensitivity: search.sensitivity },
    ...{ before, after, checks, change },
    met: isMet(checks),
    uncertain: change !== undefined && isMet(checks) && isUncertain(options.budget, before, change),
    verdicts: { before: judge.reference, after: verdict },
  };
}
