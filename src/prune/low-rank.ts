import { MinnowError } from "../errors.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { verify } from "../ir/verify.ts";
import { costOf } from "../measure/index.ts";
import {
  type Change,
  foldConstants,
  type Json,
  type Pass,
  type PassResult,
  removeDeadCode,
  sequence,
} from "../passes/index.ts";
import { costOfRank, isSpatial, type LinearLayer, linearLayers, putFactors, type Split } from "../passes/low-rank.ts";
import { defaultRuntime, type Runtime } from "../runtime/index.ts";
import { matcher } from "../train/globs.ts";
import type { MeasureData } from "./activations.ts";
import { roundToFor } from "./plan.ts";
import { prepare } from "./prepare.ts";
import { type Rankable, type RankChoice, ranksFor } from "./ranks.ts";
import { factorsOf, type Spectrum, spectraOf } from "./spectra.ts";
import type { Target } from "./types.ts";

/** One of `macs`, `ratio` and `energy` says how much is left. */
export interface LowRankOptions extends MeasureData {
  /** Multiply-adds of the whole model that may be left: ranks are shared out so that layers lose least together. */
  readonly macs?: Target;
  /** The share of its multiply-adds that each layer keeps. */
  readonly ratio?: number;
  /** The share of the squares of each layer that is kept, 0.95 by default; layers that would not become cheaper stay. */
  readonly energy?: number;
  /**
   * What becomes of kernels larger than one: fewer outputs and a matrix behind them (`outputs`, default), or one kernel down and
   * one across (`spatial`), which looks at weights alone.
   */
  readonly kernels?: Split;
  /** Ranks of convolutions are multiples of this; default what kernels of `runtime` want ({@link roundToFor}). */
  readonly roundTo?: number;
  readonly runtime?: Runtime;
  /** Layers or weights that stay, by name; `*` stands for anything. */
  readonly ignoredLayers?: readonly string[];
  /** Only these are factored. */
  readonly layers?: readonly string[];
}

/** What becomes of one layer. */
export interface FactoredLayer {
  readonly name: string;
  readonly split: Split;
  readonly full: number;
  /** `undefined` where it stays whole. */
  readonly rank: number | undefined;
  /** The share of the squares that is lost: of its outputs where there is data, of its weight where there is none. */
  readonly lost: number;
  readonly macs: { readonly before: number; readonly after: number };
}

export interface LowRankPlan {
  /** The model in the form that is factored; its outputs are those of the one given. */
  readonly model: Model;
  readonly layers: readonly FactoredLayer[];
  readonly macs: { readonly before: number; readonly after: number };
  readonly spectra: readonly Spectrum[];
}

/**
 * Decides which layers become two of lower rank: MatMul, Gemm and convolutions of one group whose weight is theirs alone. With
 * data, a layer y = W·x + b is replaced by the one of its rank that is nearest in its outputs on the data: W is projected on the
 * leading eigenvectors of their covariance (Zhang et al. 2016, arXiv 1505.06798; the whitening of SVD-LLM, arXiv 2403.07378, gives the
 * same), else by the one nearest in the weights, the truncated SVD. Throws a MinnowError `prune/nothing` where there is no such
 * layer or none becomes cheaper, `prune/unreachable` where `macs` is below what rank 1 leaves.
 *
 * @example
 * const { layers } = await planLowRank(model, { macs: "70%", data: photos });
 * for (const { name, rank, full, lost } of layers) console.log(name, rank, full, lost);
 */
export async function planLowRank(given: Model, options: LowRankOptions = {}): Promise<LowRankPlan> {
  checkOptions(options);
  const { model } = await sequence([prepare(), foldConstants(), removeDeadCode()]).run(given);
  const layers = linearLayers(model.graph).filter(chosenBy(options));
  if (layers.length === 0) throw nothing("No layer that is asked for multiplies by a matrix of its own.");
  const cost = costOf(model);
  const macs = new Map(cost.layers.map((layer) => [layer.name, layer.macs]));
  const macsOf = ({ node }: LinearLayer): number => macs.get(node.name || (node.outputs[0] ?? "")) ?? 0;
  const spectra = await spectraOf(
    model,
    layers,
    (layer) => (isSpatial(layer) ? (options.kernels ?? "outputs") : "outputs"),
    options,
  );
  const rankable = spectra.map((spectrum) => rankableOf(spectrum, macsOf(spectrum.layer), options));
  const choices = ranksFor(rankable, cost.macs, options);
  if (choices.every(({ rank }) => rank === undefined)) throw nothing("No layer becomes cheaper at that.");
  const after = choices.reduce((sum, choice, i) => sum + choice.macs - rankable[i]!.macs, cost.macs);
  return {
    model,
    layers: choices.map((choice, i) => layerOf(spectra[i]!, rankable[i]!, choice)),
    macs: { before: cost.macs, after },
    spectra,
  };
}

/**
 * Replaces layers by two of lower rank each, where that saves multiply-adds. Exact where a weight is of that rank already;
 * else the model should be tuned afterwards. Throws as {@link planLowRank} does.
 *
 * @example
 * const { model: small } = await lowRank({ macs: "70%", data: photos }).run(model);
 */
export function lowRank(options: LowRankOptions = {}): Pass {
  const { data: _d, signal: _s, onProgress: _p, ...rest } = options;
  return {
    name: "lowRank",
    options: rest as unknown as Json,
    run: async (model) => applyLowRankPlan(await planLowRank(model, options)),
  };
}

/** Factors what a plan says. The plan can be applied again. */
export async function applyLowRankPlan({ model, layers, spectra }: LowRankPlan): Promise<PassResult> {
  const e = edit(model.graph);
  const changes: Change[] = [];
  for (const [i, { rank, full, name }] of layers.entries()) {
    if (rank === undefined) continue;
    const spectrum = spectra[i] as Spectrum;
    const factors = await factorsOf(model, spectrum, rank);
    putFactors({ graph: model.graph, edit: e }, spectrum.layer, spectrum.split, factors);
    changes.push({ what: `Made two layers of one: rank ${rank} of ${full}.`, at: name });
  }
  const small = { ...model, graph: e.done() };
  verify(small);
  return { model: small, changes };
}

function checkOptions({ macs, ratio, energy, roundTo, kernels }: LowRankOptions): void {
  const bad = (at: string, what: unknown, mend: string): never => {
    throw new MinnowError(`It is ${JSON.stringify(what)}.`, { code: "prune/option", at, mend });
  };
  const given = Object.entries({ macs, ratio, energy }).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (given.length > 1)
    throw new MinnowError(`${given.join(" and ")} are given together.`, {
      code: "prune/option",
      mend: "Give one of them.",
    });
  for (const [at, value] of Object.entries({ ratio, energy }))
    if (value !== undefined && !(value > 0 && value < 1)) bad(at, value, "Give a share above 0 and below 1.");
  if (roundTo !== undefined && !(Number.isInteger(roundTo) && roundTo >= 1))
    bad("roundTo", roundTo, "Give a whole number from 1 on; 1 rounds nothing.");
  if (kernels !== undefined && kernels !== "outputs" && kernels !== "spatial")
    bad("kernels", kernels, "It can be outputs or spatial.");
}

function chosenBy({ ignoredLayers = [], layers = ["*"] }: LowRankOptions): (layer: LinearLayer) => boolean {
  const [ignored, only] = [matcher(ignoredLayers), matcher(layers)];
  const fits = (test: (name: string) => boolean, { node, weight }: LinearLayer) => test(node.name) || test(weight);
  return (layer) => fits(only, layer) && !fits(ignored, layer);
}

const nothing = (what: string): MinnowError =>
  new MinnowError(what, {
    code: "prune/nothing",
    mend: "Ask for less to be kept, look at layers and ignoredLayers, or cut channels: minnow prune --macs 50%.",
  });

function rankableOf({ layer, split, values, full }: Spectrum, macs: number, options: LowRankOptions): Rankable {
  const roundTo = layer.kernel.length === 0 ? 1 : (options.roundTo ?? roundToFor(options.runtime ?? defaultRuntime()));
  const each = (costOfRank(layer, split).macs * macs) / (layer.outputs * layer.inner);
  return { macs, each, values, full, step: Math.min(roundTo, full) };
}

function layerOf({ layer, split, full }: Spectrum, { macs }: Rankable, choice: RankChoice): FactoredLayer {
  const { rank, lost } = choice;
  return { name: layer.node.name || layer.weight, split, full, rank, lost, macs: { before: macs, after: choice.macs } };
}
