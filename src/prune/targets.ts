import type { Model } from "../ir/graph.ts";
import { benchmark, randomFeeds, sizeOf } from "../measure/index.ts";
import { costAfter } from "./cost.ts";
import { derive } from "./derive.ts";
import type { Cut } from "./schedule.ts";
import { limitOf, TARGETS } from "./search.ts";
import type { StructuredPruningOptions, Target } from "./types.ts";

/** What there is of a model before anything is cut. */
export interface Figures {
  readonly macs: number;
  readonly parameters: number;
  /** Bytes of the file. */
  readonly size: number;
  /** Milliseconds of a run, where a latency is asked for. */
  readonly latency: number;
}

/** Measures a model that is prepared. */
export async function figuresOf(model: Model, options: StructuredPruningOptions): Promise<Figures> {
  const { macs, parameters } = costAfter(derive(model))(new Map());
  const { bytes } = await sizeOf(model);
  if (options.latency === undefined) return { macs, parameters, size: bytes, latency: 0 };
  const { runtime, threads, signal, seed = 0 } = options;
  const running = { ...(runtime && { runtime }), ...(threads && { threads }), ...(signal && { signal }) };
  const [measured] = await benchmark([model], randomFeeds(model, { seed }), running);
  return { macs, parameters, size: bytes, latency: measured?.medianMs ?? 0 };
}

/**
 * What one cut of several is to leave, as options for the model of which the share `before` of the channels is left, and the
 * share that is left then.
 */
export function targetsAfter(
  whole: Figures,
  options: StructuredPruningOptions,
  cut: Cut,
  before: number,
): { readonly options: StructuredPruningOptions; readonly share: number } {
  const given = TARGETS.filter((at) => options[at] !== undefined);
  if (given.length > 0) {
    const limits = given.map((at) => {
      const limit = limitOf(options[at] as Target, whole[at], at);
      return [at, limit < whole[at] ? cut.left(limit / whole[at]) * whole[at] : limit] as const;
    });
    return { options: { ...options, ...Object.fromEntries(limits) }, share: before };
  }
  const share = cut.left(1 - (options.pruningRatio ?? 0.5));
  const going = 1 - share / before;
  return { options: { ...options, pruningRatio: going }, share };
}
