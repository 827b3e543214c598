import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import type { Estimate } from "../measure/interval.ts";
import type { Change } from "../passes/index.ts";
import type { LayerSensitivity } from "../quantize/index.ts";
import type { Runtime } from "../runtime/index.ts";
import type { Budget, Check, Figures } from "./budget.ts";
import type { Quality, Verdict } from "./judge.ts";
import type { Strategy } from "./ladder.ts";
import { conclude } from "./outcome.ts";
import { runTrials, startSearch } from "./search.ts";
import type { Trial, TrialLog } from "./trials.ts";

export interface CompressOptions {
  /** What is calibrated from. */
  readonly calibration: Dataset;
  /** What is judged on: a part of it chooses between trials, the rest gives the final figure. */
  readonly judged: Dataset;
  readonly budget: Budget;
  /** Where the result will run; given, the fastest there wins, else the smallest download. */
  readonly target?: Runtime;
  readonly threads?: number;
  /** Default: accuracy with labels, agreement with the float model or closeness of the outputs without. */
  readonly metric?: Quality;
  readonly seed?: number;
  readonly strategy?: Strategy;
  readonly log?: TrialLog;
  /** Aborting ends the search; what was found so far is judged and returned. */
  readonly signal?: AbortSignal;
  /** Told of every stage and trial. */
  readonly onEvent?: (event: CompressEvent) => void;
}

export type CompressEvent =
  | { readonly kind: "start"; readonly before: Figures; readonly quality: Quality; readonly samples: number }
  | { readonly kind: "work"; readonly what: string; readonly done: number; readonly total: number }
  | { readonly kind: "trial"; readonly trial: Trial };

export interface CompressResult {
  /** The best model found; undefined when no trial gave one. */
  readonly model: Model | undefined;
  readonly chosen: Trial | undefined;
  readonly met: boolean;
  /** The budget is met, but its interval reaches beyond it. */
  readonly uncertain: boolean;
  readonly checks: readonly Check[];
  /** Figures of the model as given and of the chosen one, on examples no trial was chosen by. */
  readonly before: Figures;
  readonly after: Figures | undefined;
  /** after − before in the metric, with its paired 95 % interval. */
  readonly change: Estimate | undefined;
  readonly verdicts: { readonly before: Verdict; readonly after: Verdict | undefined };
  readonly final: Dataset;
  readonly quality: Quality;
  readonly trials: readonly Trial[];
  readonly changes: readonly Change[];
  readonly sensitivity: readonly LayerSensitivity[];
  readonly interrupted: boolean;
  readonly runtime: Runtime;
}

/**
 * Searches for a smaller model that keeps a budget. Every candidate is made, loaded and judged; of those that meet the
 * budget the one that is fastest on `target` wins, or without one the smallest to download; if none does, the nearest.
 * The winner's figures come from examples that had no part in choosing it.
 *
 * @example
 * const { met, model } = await compress(float, { calibration, judged, budget: { maxDrop: { value: 0.01, relative: false } } });
 */
export async function compress(model: Model, options: CompressOptions): Promise<CompressResult> {
  const search = await startSearch(model, options);
  const interrupted = await runTrials(search);
  return conclude(search, interrupted);
}
