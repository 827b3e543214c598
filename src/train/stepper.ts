import { MinnowError } from "../errors.ts";
import { elements, readData, type TensorData } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { blockChannels } from "../passes/block-channels.ts";
import { blockSize, defaultRuntime, openSession, type SessionOptions } from "../runtime/index.ts";
import type { TrainStep } from "./step.ts";
import { type Carried, LEARNING_RATE, UPDATES } from "./update.ts";

/** What a step gives. */
export interface StepResult {
  readonly loss: number;
  readonly gradientNorm?: number;
  /** The model's outputs that were asked for. */
  readonly outputs: Readonly<Record<string, TensorData>>;
}

/** Where a step stands. */
export interface StepAt {
  /** Learning rate. */
  readonly lr: number;
  /** How many updates there will have been after this one: 1 for the first. */
  readonly update: number;
  /** Which batch of the update it is, where several make one: from 0. */
  readonly part?: number;
}

/** A training step that is loaded, with the weights and the state it carries from one run to the next. */
export interface Stepper {
  /** Runs one step on a batch; `outputs` names model outputs to give back. */
  run(feeds: Readonly<Record<string, TensorData>>, at: StepAt, outputs?: readonly string[]): Promise<StepResult>;
  /** All that is carried, by key: copies, as of now. */
  state(): Map<string, TensorData>;
  /** Puts back what `state` gave; keys that are not carried are left aside, keys that are missing keep what they are. */
  restore(state: ReadonlyMap<string, TensorData>): void;
  close(): Promise<void>;
}

export interface StepperOptions extends SessionOptions {
  /** Seed of the masks; with the update's number it fixes them. Default 0. */
  readonly seed?: number;
}

/**
 * Loads a training step into ONNX Runtime. In Node weights go back and forth between two sets of buffers that outputs are
 * written into; elsewhere what comes back is fed to the next step.
 *
 * @example
 * const stepper = await openStepper(step, { threads: 2 });
 * const { loss } = await stepper.run({ input, labels }, { lr: 0.1, update: 1 });
 */
export async function openStepper(step: TrainStep, { seed = 0, ...options }: StepperOptions = {}): Promise<Stepper> {
  const block = await blockSize(options.runtime ?? defaultRuntime());
  const session = await openSession(block > 0 ? blockChannels(step.model, block) : step.model, options);
  const now = new Map<string, TensorData>();
  const spare = new Map<string, TensorData>();
  for (const carried of step.carried) {
    now.set(carried.key, await first(carried));
    if (carried.output !== undefined) spare.set(carried.key, zeros(carried.shape));
  }
  return {
    async run(feeds, { lr, update, part = 0 }, outputs = []) {
      const given: Record<string, TensorData> = { ...feeds };
      given[LEARNING_RATE] = scalar(lr);
      given[UPDATES] = scalar(update);
      step.masks.forEach((mask, i) => {
        given[mask.input] = maskOf(mask.shape, mask.ratio, random(seed + 7919 * update + 104_729 * part + i));
      });
      const fetches: Record<string, TensorData | undefined> = { [step.loss]: undefined };
      if (step.gradientNorm) fetches[step.gradientNorm] = undefined;
      for (const name of outputs) fetches[step.outputs[name] ?? name] = undefined;
      for (const { key, input, output } of step.carried) {
        given[input] = now.get(key) as TensorData;
        if (output !== undefined) fetches[output] = spare.get(key);
      }
      const results = await session.run(given, fetches);
      for (const { key, output } of step.carried) {
        if (output === undefined) continue;
        spare.set(key, now.get(key) as TensorData);
        now.set(key, results[output] as TensorData);
      }
      return {
        loss: numberOf(results, step.loss),
        ...(step.gradientNorm && { gradientNorm: numberOf(results, step.gradientNorm) }),
        outputs: Object.fromEntries(outputs.map((name) => [name, results[step.outputs[name] ?? name] as TensorData])),
      };
    },
    state: () => new Map(step.carried.map(({ key, shape }) => [key, { ...copied(now.get(key) as TensorData), shape }])),
    restore(state) {
      for (const { key, shape } of step.carried) {
        const value = state.get(key);
        if (value === undefined) continue;
        if (elements(value.shape) !== elements(shape))
          throw new MinnowError(`"${key}" has the shape [${value.shape}]; the model's is [${shape}].`, {
            code: "train/state-shape",
            mend: "Continue with the model the checkpoint was made from.",
          });
        now.set(key, flat(copied(value)));
      }
    },
    close: () => session.close(),
  };
}

const scalar = (value: number): TensorData => ({ dtype: "float32", shape: [], data: Float32Array.of(value) });

const zeros = (shape: readonly number[]): TensorData => ({
  dtype: "float32",
  shape: [elements(shape)],
  data: new Float32Array(elements(shape)),
});

const first = async ({ initial, shape }: Carried): Promise<TensorData> =>
  initial === undefined ? zeros(shape) : flat(copied(await readData(initial)));

const flat = (value: TensorData): TensorData => ({ ...value, shape: [elements(value.shape)] });

const copied = (value: TensorData): TensorData => ({ ...value, data: (value.data as Float32Array).slice() });

const numberOf = (results: Readonly<Record<string, TensorData>>, name: string): number =>
  Number((results[name] as TensorData).data[0]);

function maskOf(shape: readonly number[], ratio: number, next: () => number): TensorData {
  const data = new Float32Array(elements(shape));
  const kept = 1 / (1 - ratio);
  for (let i = 0; i < data.length; i++) data[i] = next() < ratio ? 0 : kept;
  return { dtype: "float32", shape, data };
}
