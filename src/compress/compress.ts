import { bindInputs } from "../data/bind.ts";
import { cached } from "../data/cached.ts";
import { type Dataset, split } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { benchmark } from "../measure/benchmark.ts";
import { costOf } from "../measure/cost.ts";
import { feedBatches } from "../measure/evaluate.ts";
import { type Estimate, pairedDifference } from "../measure/interval.ts";
import { sizeOf } from "../measure/size.ts";
import { type Change, upgrade } from "../passes/index.ts";
import { type LayerSensitivity, sensitivity } from "../quantize/index.ts";
import { defaultRuntime, type Runtime } from "../runtime/index.ts";
import { type Budget, type Check, checkBudget, distance, type Figures, isMet, isUncertain } from "./budget.ts";
import { type Judge, judgeBy, type Quality, type Verdict } from "./judge.ts";
import { ladder, type Strategy } from "./ladder.ts";
import { type Kitchen, kitchen, type Recipe } from "./recipe.ts";
import { noLog, type Trial, type TrialLog } from "./trials.ts";

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
  return finish(search, interrupted);
}

interface Search {
  readonly original: Model;
  readonly options: CompressOptions;
  readonly runtime: Runtime;
  readonly kitchen: Kitchen;
  readonly final: Dataset;
  readonly choosing: Judge;
  readonly before: Figures;
  readonly trials: Trial[];
  sensitivity: readonly LayerSensitivity[];
}

async function startSearch(model: Model, options: CompressOptions): Promise<Search> {
  const { judged, seed = 0, calibration, onEvent } = options;
  if (judged.size < 2)
    throw new MinnowError(`${judged.size} examples to judge on are too few.`, {
      code: "compress/few",
      mend: "Give more data.",
    });
  const [chooser, final] = split(judged, 0.5, { seed });
  const kept = cached(bindInputs(chooser, model.graph), KEPT_BYTES);
  const work = (what: string) => (done: number, total: number) => onEvent?.({ kind: "work", what, done, total });
  const cook = kitchen(model, calibration, { ...signalOf(options), onProgress: work("calibrating") });
  const judging = { ...judgeOptions(options), onProgress: work("judging the float model") };
  const choosing = await judgeBy(model, kept, judging);
  const before = await figuresOf(model, choosing.reference.quality);
  onEvent?.({ kind: "start", before, quality: choosing.quality, samples: choosing.reference.samples });
  const runtime = options.target ?? defaultRuntime();
  return { original: model, options, runtime, kitchen: cook, final, choosing, before, trials: [], sensitivity: [] };
}

/** Examples that choose are judged many times; up to this much of them stays in memory. */
const KEPT_BYTES = 2 ** 29;

const signalOf = ({ signal }: CompressOptions) => (signal ? { signal } : {});

const judgeOptions = ({ target, threads, metric, signal }: CompressOptions) => ({
  ...(target && { runtime: target }),
  ...(threads && { threads }),
  ...(metric && { metric }),
  ...(signal && { signal }),
});

async function figuresOf(model: Model, quality: number): Promise<Figures> {
  const { parameters, macs } = costOf((await upgrade().run(model)).model);
  return { quality, parameters, macs, ...(await sizeOf(model, { brotli: true })) };
}

/** Runs the strategy to its end; true when it was interrupted. */
async function runTrials(search: Search): Promise<boolean> {
  const { options } = search;
  const proposals = (options.strategy ?? ladder)({
    byLatency: options.target !== undefined,
    sensitive: async () => {
      search.sensitivity = await rankLayers(search);
      return search.sensitivity.map((layer) => layer.node);
    },
  });
  try {
    for (let next = await proposals.next(); !next.done; ) {
      options.signal?.throwIfAborted();
      const trial = await runTrial(search, next.value.name, next.value.recipe);
      search.trials.push(trial);
      options.onEvent?.({ kind: "trial", trial });
      next = await proposals.next(trial);
    }
    return false;
  } catch (error) {
    if (options.signal?.aborted) return true;
    throw error;
  }
}

async function rankLayers(search: Search): Promise<readonly LayerSensitivity[]> {
  const data = search.options.calibration.take(32);
  const work = (done: number, total: number) =>
    search.options.onEvent?.({ kind: "work", what: "finding the sensitive layers", done, total });
  return sensitivity(await search.kitchen.base, data, { ...signalOf(search.options), onProgress: work });
}

async function runTrial(search: Search, name: string, recipe: Recipe): Promise<Trial> {
  const { options, choosing, before } = search;
  const log = options.log ?? noLog;
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1000;
  const failed = (note: string): Trial => ({ name, recipe, met: false, distance: Infinity, note, seconds: seconds() });
  if (log.killed(recipe)) return failed("it took the process down the last time, and was skipped");
  await log.started(recipe);
  let trial: Trial;
  try {
    const { model } = await search.kitchen.make(recipe);
    const onProgress = (done: number, total: number) => options.onEvent?.({ kind: "work", what: name, done, total });
    const verdict = await choosing.judge(model, { ...signalOf(options), onProgress });
    const latencyMs = await latencyOf(search, model);
    const size = await sizeOf(model, { brotli: true });
    const { parameters, macs } = before;
    const figures: Figures = { quality: verdict.quality, parameters, macs, ...size, ...latencyMs };
    const checks = checkBudget(options.budget, before, figures);
    trial = {
      name,
      recipe,
      figures,
      metrics: verdict.metrics,
      met: isMet(checks),
      distance: distance(checks),
      seconds: seconds(),
    };
  } catch (error) {
    if (options.signal?.aborted || !(error instanceof MinnowError)) throw error;
    trial = failed(error.message);
  }
  await log.ended(recipe, trial);
  return trial;
}

/** The candidate's latency, and that of the original in the same run so that drift of the machine cancels. */
async function latencyOf(search: Search, model: Model): Promise<{ latencyMs?: number; ratio?: number }> {
  const { options, runtime } = search;
  const feeds = await oneFeed(search);
  const [original, candidate] = await benchmark([search.original, model], feeds, {
    runtime,
    ...(options.threads && { threads: options.threads }),
    seconds: 0.5,
  });
  return { latencyMs: candidate!.medianMs, ratio: candidate!.medianMs / original!.medianMs };
}

async function oneFeed({ original, options }: Search) {
  for await (const { feeds } of feedBatches(original, options.judged.take(8), { batch: 1 })) return feeds;
  throw new MinnowError("No example can be read.", { code: "data/none-readable" });
}

/** The best trial: of those that meet the budget the fastest on the target or the smallest to download, else the nearest. */
export function chooseTrial(trials: readonly Trial[], byLatency: boolean): Trial | undefined {
  const able = trials.filter((trial) => trial.figures !== undefined);
  const cost = ({ figures }: Trial): number =>
    (byLatency ? figures?.latencyMs : (figures?.brotliBytes ?? figures?.bytes)) ?? Infinity;
  const met = able.filter((trial) => trial.met).sort((a, b) => cost(a) - cost(b));
  return met[0] ?? able.sort((a, b) => a.distance - b.distance || cost(a) - cost(b))[0];
}

async function finish(search: Search, interrupted: boolean): Promise<CompressResult> {
  const { options, original, final, trials, runtime, choosing } = search;
  const chosen = chooseTrial(trials, options.target !== undefined);
  const { signal: _, ...judging } = judgeOptions(options);
  const judge = await judgeBy(original, final, { ...judging, metric: choosing.quality });
  const common = { trials, interrupted, runtime, final, quality: choosing.quality };
  const before: Figures = { ...search.before, quality: judge.reference.quality };
  if (chosen?.figures === undefined) {
    const verdicts = { before: judge.reference, after: undefined };
    return {
      ...common,
      model: undefined,
      chosen,
      met: false,
      uncertain: false,
      checks: [],
      before,
      after: undefined,
      change: undefined,
      verdicts,
      changes: [],
      sensitivity: search.sensitivity,
    };
  }
  const { model, changes } = await search.kitchen.make(chosen.recipe);
  if (search.sensitivity.length === 0 && !interrupted) search.sensitivity = await rankLayers(search);
  const verdict = await judge.judge(model);
  const feeds = await oneFeed(search);
  const threads = options.threads ? { threads: options.threads } : {};
  const [slow, quick] = await benchmark([original, model], feeds, { runtime, ...threads, seconds: 2 });
  const timed: Figures = { ...before, latencyMs: slow!.medianMs };
  const { parameters, macs } = costOf((await upgrade().run(model)).model);
  const after: Figures = { ...chosen.figures, parameters, macs, quality: verdict.quality, latencyMs: quick!.medianMs };
  const checks = checkBudget(options.budget, timed, after);
  const change = verdict.right.length > 0 ? pairedDifference(judge.reference.right, verdict.right) : undefined;
  return {
    ...common,
    model,
    chosen,
    met: isMet(checks),
    uncertain: change !== undefined && isMet(checks) && isUncertain(options.budget, timed, change),
    checks,
    before: timed,
    after,
    change,
    verdicts: { before: judge.reference, after: verdict },
    changes,
    sensitivity: search.sensitivity,
  };
}
