import { bindInputs } from "../data/bind.ts";
import { cached } from "../data/cached.ts";
import { type Dataset, split } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { elements, type TensorData } from "../ir/tensor.ts";
import { benchmark } from "../measure/benchmark.ts";
import { costOf } from "../measure/cost.ts";
import { feedBatches } from "../measure/evaluate.ts";
import { sizeOf } from "../measure/size.ts";
import { upgrade } from "../passes/index.ts";
import { type LayerSensitivity, layerCosts, layersOf, sensitivity } from "../quantize/index.ts";
import { sensitivityIn } from "../quantize/sensitivity.ts";
import { defaultRuntime, type Runtime } from "../runtime/index.ts";
import { checkBudget, distance, type Figures, isMet } from "./budget.ts";
import type { CompressOptions } from "./compress.ts";
import { type Judge, judgeBy } from "./judge.ts";
import { ladder, type Situation } from "./ladder.ts";
import { type Kitchen, kitchen, type Made, type Recipe } from "./recipe.ts";
import { noLog, type Trial } from "./trials.ts";

/** A search under way. */
export interface Search {
  readonly original: Model;
  readonly options: CompressOptions;
  readonly runtime: Runtime;
  readonly kitchen: Kitchen;
  /** Examples that choose nothing: they give the figures at the end. */
  readonly final: Dataset;
  readonly choosing: Judge;
  readonly before: Figures;
  /** One example, for timing. */
  readonly feeds: Readonly<Record<string, TensorData>>;
  readonly trials: Trial[];
  /** What the best trial so far made. */
  best: Made | undefined;
  sensitivity: readonly LayerSensitivity[];
}

/** Examples that choose are judged many times; up to this much of them stays in memory. */
const KEPT_BYTES = 2 ** 29;

/** Splits the data, judges and times the model as given. */
export async function startSearch(model: Model, options: CompressOptions): Promise<Search> {
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
  const runtime = options.target ?? defaultRuntime();
  const feeds = await oneFeed(model, kept);
  const [latency] = await benchmark([model], feeds, { runtime, ...threadsOf(options), seconds: 0.5 });
  const { parameters, macs } = await countsOf(model);
  const size = await sizeOf(model, { brotli: true });
  const before = { quality: choosing.reference.quality, parameters, macs, ...size, latencyMs: latency!.medianMs };
  onEvent?.({ kind: "start", before, quality: choosing.quality, samples: choosing.reference.samples });
  return {
    ...{ original: model, options, runtime, kitchen: cook, final, choosing, before, feeds },
    ...{ trials: [], best: undefined, sensitivity: [] },
  };
}

const signalOf = ({ signal }: CompressOptions) => (signal ? { signal } : {});

export const threadsOf = ({ threads }: CompressOptions) => (threads ? { threads } : {});

/** How a judge is to run. */
export const judgeOptions = (options: CompressOptions) => ({
  ...(options.target && { runtime: options.target }),
  ...(options.metric && { metric: options.metric }),
  ...threadsOf(options),
  ...signalOf(options),
});

/** Parameters and multiply-adds of a model of any opset. */
export async function countsOf(model: Model): Promise<Pick<Figures, "parameters" | "macs">> {
  const { parameters, macs } = costOf((await upgrade().run(model)).model);
  return { parameters, macs };
}

async function oneFeed(model: Model, data: Dataset): Promise<Search["feeds"]> {
  for await (const { feeds } of feedBatches(model, data.take(8), { batch: 1 })) return feeds;
  throw new MinnowError("No example can be read.", { code: "data/none-readable", mend: "Check the data." });
}

/** Runs the strategy to its end; true when it was interrupted. */
export async function runTrials(search: Search): Promise<boolean> {
  const { options, trials } = search;
  const byLatency = options.target !== undefined;
  try {
    const proposals = (options.strategy ?? ladder)(await situationOf(search));
    for (let next = await proposals.next(); !next.done; ) {
      options.signal?.throwIfAborted();
      const { trial, made } = await runTrial(search, next.value.name, next.value.recipe);
      trials.push(trial);
      if (made !== undefined && chooseTrial(trials, byLatency) === trial) search.best = made;
      options.onEvent?.({ kind: "trial", trial });
      next = await proposals.next(trial);
    }
    return false;
  } catch (error) {
    if (options.signal?.aborted) return true;
    throw error;
  }
}

/** What a strategy may know and ask. */
async function situationOf(search: Search): Promise<Situation> {
  const { options, kitchen: cook, before } = search;
  const base = await cook.base;
  const sizes = layersOf(base).map(({ weight }) => base.graph.weights.get(weight)!.shape);
  const numbers = (shapes: readonly (readonly number[])[]) => shapes.reduce((sum, shape) => sum + elements(shape), 0);
  const costs: Situation["costs"] = async (formats) => {
    const onProgress = (done: number, total: number) =>
      options.onEvent?.({ kind: "work", what: "measuring the layers", done, total });
    const few = options.calibration.take(FEW);
    const found = await layerCosts(base, few, { formats, ...signalOf(options), ...threadsOf(options), onProgress });
    if (formats.includes("int8")) search.sensitivity = sensitivityIn(found);
    return found;
  };
  return {
    ...{ costs, target: options.target, budget: options.budget, before },
    matrices: numbers(sizes.filter((shape) => shape.length === 2)) / Math.max(1, numbers(sizes)),
  };
}

/** Examples that layers are measured on. */
const FEW = 32;

/** The layers by what quantizing each alone costs, on a few examples; what hurts most comes first. */
export async function rankLayers({ options, kitchen: cook }: Search): Promise<readonly LayerSensitivity[]> {
  const onProgress = (done: number, total: number) =>
    options.onEvent?.({ kind: "work", what: "finding the sensitive layers", done, total });
  return sensitivity(await cook.base, options.calibration.take(FEW), { ...signalOf(options), onProgress });
}

async function runTrial(search: Search, name: string, recipe: Recipe): Promise<{ trial: Trial; made?: Made }> {
  const { options } = search;
  const log = options.log ?? noLog;
  const start = performance.now();
  const failed = (note: string): Trial => ({
    ...{ name, recipe, met: false, distance: Infinity, note },
    seconds: (performance.now() - start) / 1000,
  });
  if (log.killed(recipe)) return { trial: failed("it took the process down the last time, and was skipped") };
  await log.started(recipe);
  let result: { trial: Trial; made?: Made };
  try {
    const made = await search.kitchen.make(recipe);
    const measured = await measure(search, name, made.model);
    result = { made, trial: { name, recipe, ...measured, seconds: (performance.now() - start) / 1000 } };
  } catch (error) {
    if (options.signal?.aborted) throw error;
    const fault = error instanceof MinnowError ? "" : "a fault in minnow: ";
    result = { trial: failed(fault + (error instanceof Error ? error.message : String(error))) };
  }
  await log.ended(recipe, result.trial);
  return result;
}

/** Judges and times a candidate. Its latency is told by the ratio to the original in the same run, so that drift cancels. */
async function measure({ options, choosing, before, original, runtime, feeds }: Search, what: string, model: Model) {
  const onProgress = (done: number, total: number) => options.onEvent?.({ kind: "work", what, done, total });
  const { quality, metrics } = await choosing.judge(model, { ...signalOf(options), onProgress });
  const timing = { runtime, ...threadsOf(options), seconds: 0.5 };
  const [first, second] = await benchmark([original, model], feeds, timing);
  const latencyMs = (second!.medianMs / first!.medianMs) * (before.latencyMs ?? first!.medianMs);
  const figures: Figures = {
    quality,
    ...(await countsOf(model)),
    ...(await sizeOf(model, { brotli: true })),
    latencyMs,
  };
  const checks = checkBudget(options.budget, before, figures);
  return { figures, metrics, met: isMet(checks), distance: distance(checks) };
}

/** Latencies that are this near count as one. */
const AS_FAST = 1.05;

/**
 * The best trial: of those that meet the budget the smallest to download, with `byLatency` only of those as fast on the target
 * as the fastest; if none does, the nearest.
 */
export function chooseTrial(trials: readonly Trial[], byLatency: boolean): Trial | undefined {
  const able = trials.filter((trial) => trial.figures !== undefined);
  const time = ({ figures }: Trial): number => (byLatency ? (figures?.latencyMs ?? Infinity) : 0);
  const size = ({ figures }: Trial): number => figures?.brotliBytes ?? figures?.bytes ?? Infinity;
  const smallest = (a: Trial, b: Trial) => size(a) - size(b) || time(a) - time(b);
  const met = able.filter((trial) => trial.met);
  const fastest = Math.min(...met.map(time));
  const [best] = met.filter((trial) => time(trial) <= AS_FAST * fastest).sort(smallest);
  return best ?? able.sort((a, b) => a.distance - b.distance || time(a) - time(b) || smallest(a, b))[0];
}
