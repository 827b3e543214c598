import { split } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import type { Change } from "../passes/index.ts";
import { type DistillationOptions, distillation } from "../train/distillation.ts";
import { sgd } from "../train/optimizers.ts";
import { readyToTrain } from "../train/prepare.ts";
import type { EpochRecord } from "../train/progress.ts";
import { cosine, type Schedule, warmUp } from "../train/schedules.ts";
import { openTeacher } from "../train/teacher.ts";
import { type TrainOptions, train } from "../train/train.ts";
import type { PrunedCost } from "./cost.ts";
import { planPruning } from "./plan.ts";
import { prepared } from "./prepare.ts";
import { beginning, read, type Standing, stateOf } from "./progress.ts";
import { type Bank, bankOf, inUse, regrown, withdrawn } from "./regrown.ts";
import { type RegularizeOptions, regularized } from "./regularize.ts";
import { type Cut, epochsOf, oneShot, type PruningSchedule } from "./schedule.ts";
import { applyPlan } from "./structured.ts";
import { type Figures, figuresOf, targetsAfter } from "./targets.ts";
import type { Plan, StructuredPruningOptions } from "./types.ts";

/** The training behind the cuts, as `train` takes it. `epochs` are those of all phases together. */
export interface Finetune
  extends Omit<TrainOptions, "checkpoint" | "resume" | "signal" | "runtime" | "threads" | "patience" | "keep"> {
  /**
   * Learns from this model's scores besides the labels ({@link distillation}, with `loss` as the hard one): the model before
   * it is cut, or a better one. Few examples go much further so.
   */
  readonly teacher?: Model;
  /** How; by default as `distillation` has it. */
  readonly distill?: Pick<DistillationOptions, "temperature" | "alpha">;
}

/** Options of {@link prune}. */
export interface PruneOptions extends StructuredPruningOptions {
  readonly finetune?: Finetune;
  /** In how many cuts; default {@link oneShot}. */
  readonly schedule?: PruningSchedule;
  /** Makes small what will be cut, before it is: over `epochs` of those of `finetune`, by default a third of them. */
  readonly regularize?: RegularizeOptions & { readonly epochs?: number };
  /** As in `train`: a path or a function; kept after every cut and every epoch, and when `signal` stops the training. */
  readonly checkpoint?: TrainOptions["checkpoint"];
  readonly resume?: TrainOptions["resume"];
  readonly onCut?: (cut: CutRecord) => void;
}

/** What one cut did. */
export interface CutRecord {
  readonly before: PrunedCost;
  readonly after: PrunedCost;
  /** Epochs of training before it. */
  readonly epoch: number;
  readonly groups: readonly { readonly name: string; readonly size: number; readonly kept: number }[];
}

export interface PruneResult {
  readonly model: Model;
  readonly cuts: readonly CutRecord[];
  /** Of all phases, counted through. */
  readonly history: readonly EpochRecord[];
  readonly changes: readonly Change[];
  /** `signal` stopped it; the model is what there was by then. */
  readonly stopped?: "interrupted";
}

/** Examples that cuts are scored and fitted on, where none are given for that. */
const CALIBRATION = 256;

/**
 * Prunes and trains in one call: training with a penalty if one is asked for, then each cut of the schedule with its share of
 * the epochs behind it. The rate of learning runs through all phases as through one training. Everything that `train` says of
 * seeds and checkpoints holds: what was stopped and resumed ends with the same bits.
 *
 * Throws what {@link planPruning} and `train` throw, and `prune/option` where there are fewer epochs than phases.
 *
 * @example
 * const { model: small } = await prune(model, {
 *   macs: "50%", score: "taylor", schedule: linear(3), finetune: { data, epochs: 12, schedule: cosine(0.02), augment: { flip: true } },
 * });
 */
export async function prune(model: Model, options: PruneOptions): Promise<PruneResult> {
  if (options.finetune === undefined) return withoutTraining(model, options);
  const { teacher, distill, ...finetune } = options.finetune;
  if (teacher === undefined) return new Pruning(model, options, finetune).run();
  const { loss: hard, augment } = finetune;
  const opened = await openTeacher(teacher, options.threads === undefined ? {} : { threads: options.threads });
  try {
    const loss = distillation({
      teacher: opened,
      soft: augment?.mixup !== undefined,
      ...distill,
      ...(hard && { hard }),
    });
    return await new Pruning(model, options, { ...finetune, loss }).run();
  } finally {
    await opened.close();
  }
}

/** The cut alone: no schedule without training between the cuts. */
async function withoutTraining(model: Model, options: PruneOptions): Promise<PruneResult> {
  const given = (["schedule", "regularize", "checkpoint", "resume"] as const).find((at) => options[at] !== undefined);
  if (given !== undefined)
    throw new MinnowError(`There is no training for "${given}".`, {
      code: "prune/option",
      at: given,
      mend: "Give finetune: the labelled data to train on, and for how many epochs.",
    });
  const plan = await planPruning(model, options);
  const { model: made, changes } = await applyPlan(plan, options);
  return { model: made, changes, cuts: [recordOf(plan, 0)], history: [] };
}

/** What happens one after the other: a cut, or training with a penalty, and the epochs of training that belong to it. */
interface Phase {
  readonly cut?: Cut;
  readonly epochs: number;
  /** Epochs before it. */
  readonly from: number;
}

class Pruning {
  readonly #given: Model;
  readonly #options: PruneOptions;
  readonly #finetune: Finetune;
  readonly #phases: readonly Phase[];
  #at: Standing;

  constructor(model: Model, options: PruneOptions, finetune: Finetune) {
    this.#given = model;
    this.#options = { data: split(finetune.data, CALIBRATION, { seed: finetune.seed ?? 0 })[0], ...options };
    this.#finetune = finetune;
    this.#phases = phasesOf(options, finetune.epochs);
    this.#at = beginning(model, setupOf(options, finetune));
  }

  async run(): Promise<PruneResult> {
    const { resume } = this.#options;
    if (resume === undefined) await this.#begin();
    else this.#at = await read(resume, this.#at.setup);
    const at = this.#at;
    const changes: Change[] = [];
    for (; at.phase < this.#phases.length; at.phase++) {
      const phase = this.#phases[at.phase] as Phase;
      if (at.training === undefined && phase.cut !== undefined && !at.isCut) {
        changes.push(...(await this.#cut(phase.cut, phase.from)));
        at.isCut = true;
        await this.#save();
      }
      const result = await this.#train(phase);
      if (result.stopped === "interrupted") return this.#result(result.model, changes, "interrupted");
      at.model = result.model;
      at.history.push(...result.history.map((own) => ({ ...own, epoch: own.epoch + phase.from })));
      at.training = undefined;
      at.isCut = false;
    }
    return this.#result(at.model, changes);
  }

  /** The model in the form that all phases share, so that weights keep their names; and what there is of it. */
  async #begin(): Promise<void> {
    const { model } = await prepared((await readyToTrain(this.#given)).model);
    this.#at.model = model;
    this.#at.whole = await figuresOf(model, this.#options);
    // What cannot be is said before hours of training; a latency would take its time to measure.
    if (this.#options.latency === undefined) await planPruning(model, { ...this.#final(), score: "l2" });
    if (this.#phases.some(({ cut }) => (cut?.regrow ?? 0) > 0)) this.#at.bank = bankOf(model);
  }

  async #cut(cut: Cut, epoch: number): Promise<readonly Change[]> {
    const at = this.#at;
    const left = at.left;
    const plan = await this.#planned(cut, left);
    if (plan === undefined) return [];
    const result = await applyPlan(plan, this.#options);
    const record = recordOf(plan, epoch);
    at.cuts.push(record);
    at.model = result.model;
    if (at.bank !== undefined) await this.#regrow(at.bank, plan, cut.regrow);
    this.#options.onCut?.(record);
    return result.changes;
  }

  /** Undefined where a cut before the last one is too small to take anything: channels go in multiples. */
  async #planned(cut: Cut, left: number): Promise<Plan | undefined> {
    const { options, share } = targetsAfter(this.#at.whole as Figures, this.#options, cut, left);
    try {
      const plan = await planPruning(this.#at.model, options);
      this.#at.left = share;
      return plan;
    } catch (error) {
      const isLast = this.#at.phase === this.#phases.length - 1;
      if (error instanceof MinnowError && error.code === "prune/nothing" && (!isLast || this.#at.cuts.length > 0))
        return undefined;
      throw error;
    }
  }

  async #regrow(bank: Bank, plan: Plan, share: number): Promise<void> {
    const at = this.#at;
    at.bank = await withdrawn(bank, plan);
    if (share === 0) return;
    at.bank = regrown(at.bank, share, (this.#finetune.seed ?? 0) + at.phase);
    at.model = await inUse(at.bank);
    at.left += (1 - at.left) * share;
  }

  async #train({ epochs, from, cut }: Phase) {
    const { threads, signal, checkpoint } = this.#options;
    const { onEpoch, onProgress, schedule, seed = 0, optimizer, ...finetune } = this.#finetune;
    const total = finetune.epochs;
    const own = optimizer ?? sgd({ momentum: 0.9, nesterov: true });
    return train(this.#at.model, {
      ...finetune,
      epochs,
      seed: seed + this.#at.phase,
      schedule: during(schedule ?? warmUp(cosine(0.05), { epochs: 1 }), from, total),
      optimizer: cut === undefined ? await this.#regularized(own, epochs) : own,
      ...(threads && { threads }),
      ...(signal && { signal }),
      ...(this.#at.training && { resume: this.#at.training }),
      ...(checkpoint && { checkpoint: (training) => this.#save(training) }),
      ...(onEpoch && { onEpoch: (record) => onEpoch({ ...record, epoch: record.epoch + from }) }),
      ...(onProgress && { onProgress: (now) => onProgress(overall(now, from, total)) }),
    });
  }

  async #regularized(optimizer: NonNullable<TrainOptions["optimizer"]>, epochs: number) {
    const { data, batch = 64, accumulate = 1 } = this.#finetune;
    const steps = Math.max(1, Math.floor(data.size / (Math.min(batch, data.size) * accumulate))) * epochs;
    const plan = await planPruning(this.#at.model, this.#final());
    return regularized(optimizer, plan, this.#options.regularize as RegularizeOptions, steps);
  }

  /** Options of one cut that does all that is asked for. */
  #final(): StructuredPruningOptions {
    const last = (this.#options.schedule ?? oneShot()).cuts.at(-1) as Cut;
    return targetsAfter(this.#at.whole as Figures, this.#options, last, 1).options;
  }

  async #save(training?: Standing["training"]): Promise<void> {
    const { checkpoint } = this.#options;
    if (checkpoint === undefined) return;
    await stateOf({ ...this.#at, training }, checkpoint);
  }

  #result(model: Model, changes: readonly Change[], stopped?: "interrupted"): PruneResult {
    const { cuts, history } = this.#at;
    return { model, cuts, history, changes, ...(stopped && { stopped }) };
  }
}

function phasesOf({ schedule = oneShot(), regularize }: PruneOptions, epochs: number): readonly Phase[] {
  const before = regularize === undefined ? 0 : (regularize.epochs ?? Math.max(1, Math.floor(epochs / 3)));
  const behind = epochsOf(epochs - before, schedule);
  let from = before;
  const cuts = schedule.cuts.map((cut, i): Phase => {
    const phase = { cut, epochs: behind[i] as number, from };
    from += phase.epochs;
    return phase;
  });
  return before === 0 ? cuts : [{ epochs: before, from: 0 }, ...cuts];
}

/** A rate that runs through all phases, in the phase that begins after `from` epochs. */
const during =
  (schedule: Schedule, from: number, epochs: number): Schedule =>
  (step, { stepsPerEpoch }) =>
    schedule(step + from * stepsPerEpoch, { steps: epochs * stepsPerEpoch, stepsPerEpoch });

type Progress = Parameters<NonNullable<TrainOptions["onProgress"]>>[0];

const overall = (now: Progress, from: number, epochs: number): Progress => {
  const perEpoch = now.steps / now.epochs;
  const rest = (epochs - from - now.epochs) * perEpoch;
  const perStep = now.secondsLeft / Math.max(1, now.steps - now.step);
  return {
    ...now,
    epoch: now.epoch + from,
    epochs,
    step: now.step + from * perEpoch,
    steps: epochs * perEpoch,
    secondsLeft: now.secondsLeft + rest * perStep,
  };
};

/** What must be the same for a pruning to be continued, as plain data. */
function setupOf(options: PruneOptions, { epochs, seed = 0 }: Finetune): string {
  const { schedule = oneShot(), regularize, macs, parameters, size, latency, pruningRatio, score, roundTo } = options;
  const named = { schedule: schedule.name, regularize, macs, parameters, size, latency, pruningRatio, score, roundTo };
  return JSON.stringify({ ...named, epochs, seed });
}

const recordOf = ({ before, after, groups }: Plan, epoch: number): CutRecord => ({
  before,
  after,
  epoch,
  groups: groups.map(({ group: { name, size }, kept }) => ({ name, size, kept })),
});
