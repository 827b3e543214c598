import type { Dataset } from "../../data/dataset.ts";
import { MinnowError } from "../../errors.ts";
import type { Model } from "../../ir/graph.ts";
import { titleOf } from "../../ir/walk.ts";
import { optimize, type Pass, type PassResult } from "../../passes/index.ts";
import { merged } from "../../passes/pass.ts";
import type { CalibrateOptions } from "../types.ts";
import { type ChannelStatistics, observeChannels } from "./channels.ts";
import { groupsOf, type ScalingGroup } from "./groups.ts";
import { WorkingWeights } from "./working.ts";

export interface SmoothQuantOptions extends CalibrateOptions {
  /** Typical examples; 100 or so suffice. */
  readonly data: Dataset;
  /** How much of the difficulty moves from activations into weights, 0 to 1; default 0.5. */
  readonly alpha?: number;
  /**
   * Whether channels are enlarged before a Clip that the examples do not bring to its bound. Only then does the result
   * depend on the examples: what goes beyond `headroom` times what they reach is cut off. Default false.
   */
  readonly clips?: boolean;
  /** For `clips`: how far beyond what the examples reach nothing is cut off, as a factor; default 1.25. */
  readonly headroom?: number;
}

/** Channels are enlarged or made smaller by no more than this. */
const MOST_FACTOR = 32;

/**
 * SmoothQuant: divides channels of activations by max|X|^α / max|W|^(1−α) and multiplies the weights that read them, so
 * that one scale fits all channels of a value. What reads one channel for each output (depthwise kernels) has a scale
 * for each channel anyway: there α is 1. What the model computes stays the same up to float rounding, `clips` left out.
 * Optimizes the model first.
 * Source: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models",
 * arXiv 2211.10438; across any operators that let factors pass.
 *
 * @example
 * const { model: smooth } = await smoothQuant({ data: texts.take(64) }).run(model);
 */
export function smoothQuant(options: SmoothQuantOptions): Pass {
  const { data, signal, onProgress, threads, batch, ...rest } = options;
  const { alpha = 0.5, headroom = 1.25 } = options;
  if (!(alpha >= 0 && alpha <= 1)) throw wrong("alpha", `It is ${alpha}.`, "Give a number from 0 to 1.");
  if (!(headroom >= 1)) throw wrong("headroom", `It is ${headroom}.`, "Give a factor from 1 on.");
  return { name: "smoothQuant", options: { ...rest }, run: (model) => smoothed(model, options) };
}

const wrong = (at: string, what: string, mend: string) => new MinnowError(what, { code: "quantize/option", at, mend });

async function smoothed(given: Model, options: SmoothQuantOptions): Promise<PassResult> {
  const { model, changes } = await optimize().run(given);
  const groups = groupsOf(model, { bounds: options.clips ?? false });
  if (groups.length === 0) return { model: given, changes: [] };
  const weights = await WorkingWeights.of(model, groups);
  const seen = await observeChannels(model, groups, options.data, options);
  for (const [g, group] of groups.entries()) weights.move(group, factorsOf(group, seen[g]!, weights, options));
  const told = groups.map((group) => ({
    what: "Moved ranges of channels from activations into weights.",
    at: titleOf(group.weights[0]!.node),
  }));
  return { model: weights.done(), changes: merged([...changes, ...told]) };
}

function factorsOf(
  group: ScalingGroup,
  { most, peak }: ChannelStatistics,
  weights: WorkingWeights,
  { alpha = 0.5, headroom = 1.25 }: SmoothQuantOptions,
): Float64Array {
  const own = isApart(group) ? 1 : alpha;
  if (group.bounds.length > 0) {
    const bound = Math.min(...group.bounds.map((b) => b.most));
    return peak.map((x) => (x > 0 ? Math.min(MOST_FACTOR, Math.max(1, bound / (headroom * x)) ** own) : 1));
  }
  const read = weights.magnitudes(group, ({ divided, matrix }) => divided && matrix);
  const factors = most.map((x, c) => (x > 0 && read[c]! > 0 ? read[c]! ** (1 - own) / x ** own : Number.NaN));
  const alive = factors.filter(Number.isFinite);
  const middle = Math.exp(alive.reduce((sum, f) => sum + Math.log(f), 0) / Math.max(1, alive.length));
  return factors.map((f) => (Number.isNaN(f) ? 1 : Math.min(MOST_FACTOR, Math.max(1 / MOST_FACTOR, f / middle))));
}

/** Whether every matrix that reads the group has one input channel for each output channel. */
const isApart = ({ weights, count }: ScalingGroup): boolean =>
  weights.filter((w) => w.divided && w.matrix).every(({ classes }) => runs(classes) <= count);

function runs(classes: Int32Array): number {
  let count = 0;
  for (let i = 0; i < classes.length; i++) if (i === 0 || classes[i] !== classes[i - 1]) count++;
  return count;
}
