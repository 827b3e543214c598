import { feedInputs } from "../data/bind.ts";
import { cached } from "../data/cached.ts";
import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import type { MetricName } from "../measure/metrics.ts";
import { inferModel } from "../ops/infer.ts";
import type { Change as ModelChange } from "../passes/index.ts";
import type { Runtime } from "../runtime/index.ts";
import { type AugmentOptions, augmentation, type Pixels } from "./augment.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { bindTraining, type Change, checkLabels } from "./feeding.ts";
import { type Learner, openLearner } from "./learner.ts";
import { Loop } from "./loop.ts";
import { crossEntropy, LABELS, TARGETS } from "./losses.ts";
import type { WeightMasks } from "./masks.ts";
import { sgd } from "./optimizers.ts";
import { bindSizes, readyToTrain } from "./prepare.ts";
import type { EpochRecord } from "./progress.ts";
import type { Run, Schedule } from "./schedules.ts";
import type { Loss, Optimizer, TrainStep } from "./step.ts";
import { type Group, grouping, type TrainableOptions, trainableWeights, type Untouched } from "./trainable.ts";

export interface TrainOptions extends TrainableOptions {
  /** What is learned from. */
  readonly data: Dataset;
  /** What each epoch is judged on. */
  readonly validation?: Dataset;
  /** Default: cross-entropy of the first output with the labels. */
  readonly loss?: Loss;
  /** Default: SGD with Nesterov's momentum of 0.9. */
  readonly optimizer?: Optimizer;
  /** Default: a cosine from 0.05 after an epoch of warm-up. */
  readonly schedule?: Schedule;
  readonly epochs: number;
  /** Examples of one run through the model. Default 64. */
  readonly batch?: number;
  /** Batches whose gradients make one update. Default 1. */
  readonly accumulate?: number;
  /** Of the order of the examples, augmentation and dropout. Default 0. */
  readonly seed?: number;
  /** Applied to weights of two axes and more. Default 0. */
  readonly weightDecay?: number;
  readonly groups?: readonly Group[];
  /** The most the norm of all gradients together may be; longer ones are shortened to it. */
  readonly clipNorm?: number;
  /** Decay of a moving average of the weights, which is then what is judged and given back: 0.999. */
  readonly ema?: number;
  /** Masks that hold over weights meanwhile: pruning while it is trained. */
  readonly masks?: WeightMasks;
  /** Computes what the backward pass needs again instead of keeping it: less memory, about a third more time. */
  readonly recompute?: boolean;
  /** Random changes of pictures. */
  readonly augment?: AugmentOptions;
  /** What black and white are, where the data does not know it: arrays that are pictures already. */
  readonly pixels?: Pixels;
  /** Sizes of the inputs' symbolic axes, by name; the first axis is the batch. */
  readonly sizes?: ReadonlyMap<string, number>;
  /** What is judged; the first decides which epoch is best. Default accuracy, or the loss where there are no labels. */
  readonly metrics?: readonly MetricName[];
  /** Stops after so many epochs without a better one, and gives back the best. */
  readonly patience?: number;
  /** Which epoch's weights are given back. Default "best" with `patience`, else "last". */
  readonly keep?: "last" | "best";
  readonly runtime?: Runtime;
  readonly threads?: number;
  /**
   * Where the state is kept after every epoch and when `signal` stops the training: a path, or in a page a function that
   * keeps it; IndexedDB and messages take it as it is.
   */
  readonly checkpoint?: string | ((state: Checkpoint) => void | Promise<void>) | undefined;
  /** A checkpoint to go on from; the result is, bit for bit, that of a training that never stopped. */
  readonly resume?: string | Checkpoint | undefined;
  readonly signal?: AbortSignal;
  readonly onProgress?: (at: TrainProgress) => void;
  readonly onEpoch?: (epoch: EpochRecord) => void;
}

/** Where a training stands, after every update. */
export interface TrainProgress {
  /** Counted from 1. */
  readonly epoch: number;
  readonly epochs: number;
  /** Updates done, and in all. */
  readonly step: number;
  readonly steps: number;
  /** Mean loss of this epoch so far, and the share of right answers where it compares with labels. */
  readonly loss: number;
  readonly accuracy?: number;
  readonly samplesPerSecond: number;
  readonly secondsLeft: number;
}

export interface TrainResult {
  /** In inference form, with the inputs, outputs and weight names of the model given. */
  readonly model: Model;
  readonly history: readonly EpochRecord[];
  /** The epoch that was best, counted from 1, where there is data to judge on. */
  readonly best?: number;
  readonly untouched: readonly Untouched[];
  /** Why it ended before the last epoch. */
  readonly stopped?: "early" | "interrupted";
  readonly changes: readonly ModelChange[];
}

/**
 * Trains an ONNX model: its backward pass and the optimizer become part of the graph, and ONNX Runtime runs it. Normalizations
 * and dropout are in training mode meanwhile. The same seed gives the same weights on the same machine, threads and version
 * of ONNX Runtime. The last examples of an epoch that do not fill a batch are left to the next epochs, whose order is another.
 *
 * Throws `train/diverged` where the loss is no number any more or grows beyond reason: the last checkpoint is kept then;
 * `train/nothing-to-learn`, `train/labels`, `train/no-gradient` and what reading the data may throw.
 *
 * @example
 * const { model: better, history } = await train(model, {
 *   data, validation, epochs: 10, batch: 64, schedule: warmUp(cosine(0.05), { epochs: 1 }), augment: { flip: true, crop: 4 },
 * });
 */
export async function train(model: Model, options: TrainOptions): Promise<TrainResult> {
  const training = await prepared(model, options);
  try {
    return await new Loop(training, options).run();
  } finally {
    await training.learner.close();
  }
}

/** What is made of a model and options before the first update. */
export interface Training {
  readonly ready: Model;
  readonly changes: readonly ModelChange[];
  readonly untouched: readonly Untouched[];
  readonly learner: Learner;
  readonly data: Dataset;
  readonly loss: Loss;
  readonly optimizer: Optimizer;
  readonly batch: number;
  readonly parts: number;
  readonly run: Run;
  readonly change: Change | undefined;
  /** The output with a score for each class, where the loss compares it with labels. */
  readonly judged: string | undefined;
}

async function prepared(model: Model, options: TrainOptions): Promise<Training> {
  checkCounts(options);
  const { data, seed = 0, epochs, runtime, threads } = options;
  const batch = batchOf(model, options);
  const parts = Math.min(options.accumulate ?? 1, Math.floor(data.size / batch));
  const loss = options.loss ?? crossEntropy(options.augment?.mixup === undefined ? {} : { soft: true });
  const optimizer = options.optimizer ?? sgd({ momentum: 0.9, nesterov: true });
  const { model: ready, changes } = await readyToTrain(model);
  const { names, untouched } = await trainableWeights(ready, options);
  const fixed = await bindSizes(ready, batch, options.sizes);
  const stepOptions = {
    loss,
    optimizer,
    batch,
    trainable: (name: string) => names.has(name),
    group: grouping(ready, options.groups ?? [], options.weightDecay ?? 0),
    ...(options.clipNorm !== undefined && { clipNorm: options.clipNorm }),
    ...(options.ema !== undefined && { ema: options.ema }),
    ...(options.masks && { masks: options.masks }),
    ...(options.recompute && { recompute: true }),
    ...(runtime === "webgpu" && { portable: true }),
  };
  const running = { parts, seed, ...(runtime && { runtime }), ...(threads && { threads }) };
  const learner = await openLearner(fixed, stepOptions, running);
  try {
    const { step } = learner;
    const trained = new Set(step.carried.filter(({ kind }) => kind === "weight").map(({ of }) => of));
    const unreached = [...names].filter((name) => !trained.has(name));
    const stepsPerEpoch = Math.floor(data.size / (batch * parts));
    checkLabels(data, classesOf(fixed, step));
    return {
      ready,
      changes,
      untouched: [...untouched, ...unreached.map((name) => ({ name, why: "the loss does not depend on it" }))],
      learner,
      data: cached(await bindTraining(data, fixed.graph, step.feeds)),
      loss,
      optimizer,
      batch,
      parts,
      run: { steps: epochs * stepsPerEpoch, stepsPerEpoch },
      change: changeOf(fixed, step, loss, options),
      judged: answersOf(fixed, step),
    };
  } catch (error) {
    await learner.close();
    throw error;
  }
}

/** Examples of one run: what the model fixes, else what is asked for, no more than there are. */
function batchOf({ graph }: Model, { batch, data }: TrainOptions): number {
  const fixed = feedInputs(graph)[0]?.type?.shape?.[0];
  if (typeof fixed !== "number" || fixed < 1) return Math.min(batch ?? 64, data.size);
  if (fixed === (batch ?? fixed) && fixed <= data.size) return fixed;
  throw new MinnowError(`The model takes batches of ${fixed}; ${batch ?? data.size} were asked for.`, {
    code: "train/fixed-batch",
    mend: `Export it with a batch of any size, or take batches of ${fixed} and accumulate several to an update.`,
  });
}

/** The first output, if it holds a score for each class of each example, and the loss compares it with labels. */
function answersOf(model: Model, { feeds }: TrainStep): string | undefined {
  const output = model.graph.outputs[0]?.name ?? "";
  const shape = inferModel(model).get(output)?.shape;
  const labels = feeds.find(({ name }) => name === LABELS);
  return labels?.shape.length === 1 && shape?.length === 2 ? output : undefined;
}

/** How many classes labels are compared with; undefined where they count as numbers or not at all. */
function classesOf(model: Model, step: TrainStep): number | undefined {
  const output = answersOf(model, step);
  const shape =
    output === undefined
      ? step.feeds.find(({ name }) => name === TARGETS)?.shape
      : inferModel(model).get(output)?.shape;
  const classes = shape?.length === 2 ? shape[1] : undefined;
  return typeof classes === "number" && classes > 1 ? classes : undefined;
}

/** How batches of pictures are to be augmented. */
function changeOf(model: Model, { feeds }: TrainStep, loss: Loss, options: TrainOptions) {
  const { data, augment: wanted, pixels, seed = 0 } = options;
  if (wanted === undefined) return undefined;
  const { mixup } = wanted;
  const asks = (what: string) => feeds.some(({ name }) => name === what);
  // A teacher looks at the mixed pictures itself.
  const canMix = !asks(LABELS) && (asks(TARGETS) || loss.supply !== undefined);
  if (mixup !== undefined && !canMix)
    throw new MinnowError("Mixup needs a loss that compares with shares of classes.", {
      code: "train/augment",
      mend: "Use crossEntropy({ soft: true }), for a distillation soft: true.",
    });
  return { ...augmentation(model.graph, data, wanted, { pixels, seed }), seed, ...(mixup !== undefined && { mixup }) };
}

function checkCounts({ data, epochs, batch = 1, accumulate = 1, ema = 0, clipNorm = 1 }: TrainOptions): void {
  const counts = Object.entries({ epochs, batch, accumulate, examples: data.size });
  const wrong =
    counts.find(([, value]) => !Number.isInteger(value) || value < 1) ??
    (ema >= 0 && ema < 1 ? undefined : ["ema", ema]) ??
    (clipNorm > 0 ? undefined : ["clipNorm", clipNorm]);
  if (wrong !== undefined)
    throw new MinnowError(`A training with ${wrong[0]} ${wrong[1]} is not possible.`, {
      code: "train/options",
      mend: "epochs, batch and accumulate are whole numbers from 1 on, ema is below 1, clipNorm above 0.",
    });
}
