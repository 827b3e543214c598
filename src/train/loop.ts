import { MinnowError } from "../errors.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { type TensorData, tensorOf } from "../ir/tensor.ts";
import { type Checkpoint, readCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { feedsOf } from "./feeding.ts";
import { maskedBy, maskKey } from "./masks.ts";
import { type LearningBatch, learningBatches } from "./order.ts";
import { beginning, type EpochRecord, type Progress, progressOf } from "./progress.ts";
import { cosine, type Schedule, warmUp } from "./schedules.ts";
import type { StepResult } from "./stepper.ts";
import type { Training, TrainOptions, TrainResult } from "./train.ts";
import { validate } from "./validate.ts";

/** Marks the tensors of the best epoch in a checkpoint. */
const BEST = "best/";

/** A loss so many times the first one is taken for a run that got away. */
const BEYOND_REASON = 1e4;

/** A training that runs: goes through the epochs, judges, keeps the best, saves. */
export class Loop {
  readonly #training: Training;
  readonly #options: TrainOptions;
  readonly #schedule: Schedule;
  #progress: Progress;
  /** When the last update ended. */
  #since = 0;
  /** The weights of the best epoch, where they are wanted. */
  #best: Map<string, TensorData> | undefined;

  constructor(training: Training, options: TrainOptions) {
    this.#training = training;
    this.#options = options;
    this.#schedule = options.schedule ?? warmUp(cosine(0.05), { epochs: 1 });
    const { batch, parts, loss, optimizer } = training;
    const setup = { seed: options.seed ?? 0, batch, parts, examples: options.data.size };
    this.#progress = beginning({ ...setup, loss: loss.name, optimizer: optimizer.name });
  }

  async run(): Promise<TrainResult> {
    const { epochs, patience = Number.POSITIVE_INFINITY } = this.#options;
    await this.#resume();
    const at = this.#progress;
    if (at.update === 0) await this.#mask();
    let stopped: TrainResult["stopped"];
    while (at.epoch < epochs && stopped === undefined) {
      if (!(await this.#epoch())) stopped = "interrupted";
      else if (at.epoch < epochs && at.epoch - (at.best?.epoch ?? at.epoch) >= patience) stopped = "early";
      await this.#save();
    }
    const { ready, changes, untouched } = this.#training;
    return {
      model: withWeights(ready, this.#best ?? this.#weights()),
      history: at.history,
      untouched,
      changes,
      ...(at.best && { best: at.best.epoch }),
      ...(stopped && { stopped }),
    };
  }

  /** The rest of the epoch that is running; false if it was interrupted. */
  async #epoch(): Promise<boolean> {
    const { data, batch, parts, run } = this.#training;
    const { seed = 0, signal } = this.#options;
    const at = this.#progress;
    let gathered: LearningBatch[] = [];
    this.#since = performance.now();
    if (at.done < run.stepsPerEpoch)
      for await (const next of learningBatches(data, { batch, seed, epoch: at.epoch, from: at.cursor })) {
        if (signal?.aborted) return false;
        gathered.push(next);
        if (gathered.length < parts) continue;
        await this.#update(gathered);
        await turn();
        gathered = [];
        if (at.done === run.stepsPerEpoch) break;
      }
    await this.#finishEpoch();
    return true;
  }

  async #update(batches: readonly LearningBatch[]): Promise<void> {
    const { learner, loss, change, run, judged, batch } = this.#training;
    const at = this.#progress;
    const { feeds } = learner.step;
    const given: Record<string, TensorData>[] = [];
    for (const b of batches) given.push(await feedsOf(feeds, b, { loss, change, epoch: at.epoch }));
    const lr = this.#schedule(at.update, run);
    const results = await learner.update(given, { lr, update: at.update + 1 }, judged ? [judged] : []);
    for (const [i, result] of results.entries()) {
      this.#check(result);
      at.loss += result.loss;
      if (judged) at.right += rightIn(result.outputs[judged], batches[i]?.labels);
    }
    at.update++;
    at.done++;
    at.cursor = (batches.at(-1) as LearningBatch).next;
    await this.#mask();
    const now = performance.now();
    at.seconds += (now - this.#since) / 1000;
    this.#since = now;
    const perUpdate = at.seconds / at.done;
    this.#options.onProgress?.({
      epoch: at.epoch + 1,
      epochs: this.#options.epochs,
      step: at.update,
      steps: run.steps,
      loss: at.loss / (at.done * batches.length),
      ...(judged && { accuracy: at.right / (at.done * batches.length * batch) }),
      samplesPerSecond: (batches.length * batch) / perUpdate,
      secondsLeft: perUpdate * (run.steps - at.update),
    });
  }

  /** Takes over the masks that change here. */
  async #mask(): Promise<void> {
    const { learner, run } = this.#training;
    const masks = await this.#options.masks?.next({
      update: this.#progress.update,
      run,
      state: () => learner.state(),
    });
    if (masks === undefined) return;
    const data = (mask: Float32Array): TensorData => ({ dtype: "float32", shape: [mask.length], data: mask });
    learner.restore(new Map([...masks].map(([weight, mask]) => [maskKey(weight), data(mask)])));
  }

  /** A MinnowError where a loss is no number or beyond reason. */
  #check({ loss, gradientNorm = 0 }: StepResult): void {
    const at = this.#progress;
    at.first ??= loss;
    if (Number.isFinite(loss + gradientNorm) && Math.abs(loss) <= BEYOND_REASON * (1 + Math.abs(at.first))) return;
    const { checkpoint } = this.#options;
    const kept =
      typeof checkpoint === "string" && at.epoch > 0 ? ` The state after epoch ${at.epoch} is in ${checkpoint}.` : "";
    throw new MinnowError(
      `The training diverged: at update ${at.update + 1} of epoch ${at.epoch + 1} the loss is ${loss}, and it was ${at.first} at first.${kept}`,
      { code: "train/diverged", mend: "Lower the learning rate, warm it up, or clip the gradients (clipNorm: 1)." },
    );
  }

  async #finishEpoch(): Promise<void> {
    const { run, parts, batch, judged } = this.#training;
    const at = this.#progress;
    const count = run.stepsPerEpoch * parts;
    const metrics = await this.#judge();
    const record: EpochRecord = {
      epoch: at.epoch + 1,
      loss: at.loss / count,
      ...(judged && { trainAccuracy: at.right / (count * batch) }),
      metrics,
      lr: this.#schedule(at.update - 1, run),
      samplesPerSecond: (count * batch) / at.seconds,
    };
    at.history.push(record);
    const [[name, value] = ["", Number.NaN]] = Object.entries(metrics);
    const better = name === "loss" ? value < (at.best?.value ?? Infinity) : value > (at.best?.value ?? -Infinity);
    if (better) {
      at.best = { epoch: at.epoch + 1, value };
      if (this.#keepsBest()) this.#best = this.#weights();
    }
    Object.assign(at, { epoch: at.epoch + 1, done: 0, cursor: 0, loss: 0, right: 0, seconds: 0 });
    this.#options.onEpoch?.(record);
  }

  async #judge(): Promise<Readonly<Record<string, number>>> {
    const { validation, metrics, runtime, threads, sizes } = this.#options;
    if (validation === undefined) return {};
    const { ready, loss, batch } = this.#training;
    return validate(withWeights(ready, this.#weights()), validation, { loss, batch, metrics, runtime, threads, sizes });
  }

  /** The weights as they would be given back now: averages where there are such, running statistics too. */
  #weights(): Map<string, TensorData> {
    const state = this.#training.learner.state();
    const out = new Map<string, TensorData>();
    for (const { kind, of, key } of this.#training.learner.step.carried) {
      const value = state.get(key) as TensorData;
      if (kind === "average" || ((kind === "weight" || kind === "statistic") && !out.has(of))) out.set(of, value);
    }
    for (const [of, value] of out) out.set(of, maskedBy(value, state.get(maskKey(of))));
    return out;
  }

  #keepsBest(): boolean {
    const { keep, patience } = this.#options;
    return keep === undefined ? patience !== undefined : keep === "best";
  }

  async #save(): Promise<void> {
    const { checkpoint } = this.#options;
    if (checkpoint === undefined) return;
    const best = [...(this.#best ?? [])].map(([name, value]) => [BEST + name, value] as const);
    const tensors = new Map([...this.#training.learner.state(), ...best]);
    const state: Checkpoint = { tensors, progress: { ...structuredClone(this.#progress) } };
    await (typeof checkpoint === "string" ? saveCheckpoint(checkpoint, state) : checkpoint(state));
  }

  async #resume(): Promise<void> {
    const { resume } = this.#options;
    if (resume === undefined) return;
    const { tensors, progress } = typeof resume === "string" ? await readCheckpoint(resume) : resume;
    this.#progress = progressOf(progress, this.#progress.setup);
    const best = [...tensors].filter(([name]) => name.startsWith(BEST));
    const state = new Map([...tensors].filter(([name]) => !name.startsWith(BEST)));
    const missing = this.#training.learner.step.carried.find(({ key }) => !state.has(key));
    if (missing !== undefined)
      throw new MinnowError(`The checkpoint has no "${missing.key}".`, {
        code: "train/other-training",
        mend: "Continue with the model and the options that the checkpoint was made with.",
      });
    this.#training.learner.restore(state);
    if (best.length > 0) this.#best = new Map(best.map(([name, value]) => [name.slice(BEST.length), value]));
  }
}

/** A turn of the event loop, in which a message may abort the signal: in WebAssembly, runs give way to none. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });

/** The model with other numbers in some of its weights. */
function withWeights(model: Model, weights: ReadonlyMap<string, TensorData>): Model {
  const e = edit(model.graph);
  for (const [name, { dtype, shape, data }] of weights) {
    const { buffer, byteOffset, byteLength } = data as Float32Array;
    e.setWeight(name, tensorOf(dtype, shape, new Uint8Array(buffer, byteOffset, byteLength)));
  }
  return { ...model, graph: e.done() };
}

/** How many rows of scores are highest at their label. */
function rightIn(scores: TensorData | undefined, labels: Int32Array | undefined): number {
  if (scores === undefined || labels === undefined) return 0;
  const values = scores.data as Float32Array;
  const classes = values.length / labels.length;
  let right = 0;
  for (const [i, label] of labels.entries()) {
    const own = values[i * classes + label] as number;
    let best = true;
    for (let c = 0; c < classes && best; c++) best = c === label || !((values[i * classes + c] as number) >= own);
    if (best) right++;
  }
  return right;
}
