import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { readFloats, type TensorData } from "../ir/tensor.ts";
import { maskKey, movementKey, type WeightMasks } from "../train/masks.ts";
import { readyToTrain } from "../train/prepare.ts";
import type { Run } from "../train/schedules.ts";
import { type TrainOptions, type TrainResult, train } from "../train/train.ts";
import { derive } from "./derive.ts";
import { boundOf, maskOf, type Ranking, rowsOf, type Scope } from "./masks.ts";
import { matricesOf, type WeightMatrix } from "./matrices.ts";
import { prepared } from "./prepare.ts";
import { amountOf, noMatrix } from "./sparse.ts";
import type { Amount } from "./sparsegpt.ts";

/** What of a training of zeros is asked for, besides the training. */
export interface SparseAmount {
  /** Share of the numbers of weights that is 0 in the end; default 0.5. */
  readonly sparsity?: number;
  /** Instead: `2:4` keeps two of every four numbers that stand one after the other in a sum. Chosen once, at `begin`. */
  readonly pattern?: `${number}:${number}`;
  /** What is ranked together: all weights, each weight, or each output. Default `layer`. */
  readonly scope?: Scope;
  /** Layers or weights that stay, by name; `*` stands for anything. */
  readonly ignoredLayers?: readonly string[];
}

/** The options of a training whose result has zeros: which epoch is best cannot be told before the last zero is there. */
type Training = Omit<TrainOptions, "masks" | "patience" | "keep">;

/** When what goes, of a training of so many epochs. */
export interface PruningMasksOptions extends SparseAmount {
  readonly epochs: number;
  /**
   * How single numbers are judged: `magnitude`, or `movement`, Σ −w·∂L/∂w, what moves towards zero going first (Sanh et al.
   * 2020, arXiv 2005.07683), which is made for tuning a net that was trained on something else. Default `magnitude`.
   */
  readonly method?: "magnitude" | "movement";
  /**
   * `gradual`: more zeros with every cut, s + (s₀ − s)(1 − t)³ for t from 0 at `begin` to 1 at `end` (Zhu and Gupta 2017, arXiv
   * 1710.01878). `one-shot`: all at `begin`. Default `gradual`.
   */
  readonly pruningSchedule?: "gradual" | "one-shot";
  /** s₀; default 0. */
  readonly initialSparsity?: number;
  /** Epochs before the first cut; default 0. */
  readonly begin?: number;
  /** The epoch after which nothing more is cut; default two thirds of all. */
  readonly end?: number;
  /** Updates from one cut to the next; default 100, or a twentieth of the way where that is less. */
  readonly frequency?: number;
}

export interface SparseTrainingOptions extends Training, PruningMasksOptions {}

export interface SparseTrainingResult extends TrainResult {
  /** The share of the numbers that could go, that is 0. */
  readonly sparsity: number;
}

/**
 * Trains a model and sets single numbers of its weights to 0 meanwhile; what is 0 is held there, by masks that are part of the
 * training graph. A number that went keeps the value it had, and comes back where a later cut finds it among the largest.
 * What was stopped and resumed ends with the same bits. The result is an ordinary model: no faster, but smaller once compressed.
 * Throws a MinnowError `prune/option`, `prune/nothing`, and what {@link train} may throw.
 *
 * @example
 * const { model: sparse } = await sparseTraining(model, { data, epochs: 10, sparsity: 0.9, scope: "global" });
 */
export async function sparseTraining(model: Model, options: SparseTrainingOptions): Promise<SparseTrainingResult> {
  const { sparsity: _s, pattern: _p, scope: _o, ignoredLayers: _i, method: _m, pruningSchedule: _c, ...rest } = options;
  const { initialSparsity: _0, begin: _b, end: _e, frequency: _f, ...training } = rest;
  const { model: ready, masks } = await pruningMasks(model, options);
  const result = await train(ready, { ...training, masks });
  return { ...result, sparsity: await sparsityOf(result.model, masks) };
}

/**
 * The masks of {@link sparseTraining} alone, to be given to `train` with the model as it is here; no epoch but the last may be
 * kept of that training.
 */
export async function pruningMasks(
  model: Model,
  options: PruningMasksOptions,
): Promise<{ readonly model: Model; readonly masks: WeightMasks }> {
  const cuts = cutsOf(options);
  const { method = "magnitude", scope = "layer" } = options;
  const { ready, matrices } = await matricesToTrain(model, options);
  const next: WeightMasks["next"] = async (at) => {
    const amount = cuts(at.update, at.run);
    return amount && chosen(matrices, at.state(), method, { amount, scope });
  };
  return { model: ready, masks: { weights: weightsOf(matrices), movement: method === "movement", next } };
}

export const weightsOf = (matrices: readonly WeightMatrix[]): string[] => matrices.map(({ weight }) => weight);

/** The model in the form it is trained in, and its weights that may get zeros. */
export async function matricesToTrain(model: Model, { ignoredLayers }: Pick<SparseAmount, "ignoredLayers">) {
  const { model: ready } = await readyToTrain((await prepared(model)).model);
  const matrices = matricesOf(derive(ready), ignoredLayers);
  if (matrices.length === 0) throw noMatrix();
  return { ready, matrices };
}

/** The share of the numbers under masks that is 0 in a model. */
export async function sparsityOf({ graph }: Model, { weights }: Pick<WeightMasks, "weights">): Promise<number> {
  let [zeros, count] = [0, 0];
  for (const weight of weights) {
    const values = await readFloats(graph.weights.get(weight)!);
    zeros += values.filter((value) => value === 0).length;
    count += values.length;
  }
  return zeros / count;
}

/** The masks by which what is judged lowest goes. */
export async function chosen(
  matrices: readonly WeightMatrix[],
  state: ReadonlyMap<string, TensorData>,
  method: "magnitude" | "movement",
  { amount, scope }: Pick<Ranking, "amount" | "scope">,
): Promise<Map<string, Float32Array>> {
  const there = matrices.filter(({ weight }) => state.has(maskKey(weight)));
  const numbers = (key: string) => state.get(key)!.data as Float32Array;
  const moved = there.map(({ weight }) => (method === "movement" ? numbers(movementKey(weight)) : new Float32Array(1)));
  const least = moved.reduce((low, values) => values.reduce((a, b) => Math.min(a, b), low), 0);
  const scoresOf = (matrix: WeightMatrix) => {
    const own = method === "movement" ? numbers(movementKey(matrix.weight)) : numbers(matrix.weight);
    return rowsOf(matrix, own.map(method === "movement" ? (value) => value - least : Math.abs));
  };
  const global = scope === "global" && "sparsity" in amount;
  const bound = global ? await boundOf(there, scoresOf, amount.sparsity) : undefined;
  const masks = new Map<string, Float32Array>();
  for (const matrix of there)
    masks.set(matrix.weight, await maskOf(matrix, scoresOf(matrix), { amount, scope, bound }));
  return masks;
}

/** How much goes after an update; undefined where nothing changes. */
function cutsOf(options: PruningMasksOptions): (update: number, run: Run) => Amount | undefined {
  const { method, pruningSchedule = "gradual", initialSparsity = 0, epochs, begin = 0 } = options;
  if (!["magnitude", "movement", undefined].includes(method))
    throw wrong("method", method, "Numbers are judged by magnitude or movement while a model is trained.");
  if (!["gradual", "one-shot"].includes(pruningSchedule))
    throw wrong("pruningSchedule", pruningSchedule, "It can be gradual or one-shot.");
  const { end = (2 / 3) * epochs, frequency } = options;
  const { method: _, ...asked } = options;
  const amount = amountOf(asked);
  const once = "of" in amount || pruningSchedule === "one-shot";
  if (!(begin >= 0 && begin < epochs)) throw wrong("begin", begin, "It is a number of epochs, fewer than all.");
  if (!once && !(end > begin && end <= epochs))
    throw wrong("end", end, "It comes after begin, and before the last epoch ends.");
  if (once && begin === 0 && method === "movement")
    throw wrong("begin", begin, "Before the first update nothing has moved: cut after one epoch or more.");
  if (!(initialSparsity >= 0 && initialSparsity < 1)) throw wrong("initialSparsity", initialSparsity, "It is a share.");
  return (update, { stepsPerEpoch }) => {
    const first = Math.round(begin * stepsPerEpoch);
    if (once) return update === first ? amount : undefined;
    const last = Math.max(first + 1, Math.round(end * stepsPerEpoch));
    const every = frequency ?? Math.max(1, Math.min(100, Math.floor((last - first) / 20)));
    if (update < first || update > last || (update !== last && (update - first) % every !== 0)) return undefined;
    return {
      sparsity: amount.sparsity + (initialSparsity - amount.sparsity) * (1 - (update - first) / (last - first)) ** 3,
    };
  };
}

const wrong = (at: string, what: unknown, mend: string): MinnowError =>
  new MinnowError(`It is ${JSON.stringify(what)}.`, { code: "prune/option", at, mend });
