import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { load, toBytes } from "../onnx/index.ts";
import { type Checkpoint, readCheckpoint, saveCheckpoint } from "../train/checkpoint.ts";
import type { EpochRecord } from "../train/progress.ts";
import type { TrainOptions } from "../train/train.ts";
import type { CutRecord } from "./prune.ts";
import type { Bank } from "./regrown.ts";
import type { Figures } from "./targets.ts";

/** Where a pruning with training stands. */
export interface Standing {
  readonly setup: string;
  phase: number;
  /** Whether the cut of this phase is done. */
  isCut: boolean;
  /** What is cut next, or trained. */
  model: Model;
  whole: Figures | undefined;
  /** Nominal share of the channels that is left. */
  left: number;
  bank: Bank | undefined;
  cuts: CutRecord[];
  /** Of the phases that are over. */
  history: EpochRecord[];
  /** The state of the training that runs. */
  training: Checkpoint | undefined;
}

export const beginning = (model: Model, setup: string): Standing => ({
  setup,
  phase: 0,
  isCut: false,
  model,
  whole: undefined,
  left: 1,
  bank: undefined,
  cuts: [],
  history: [],
  training: undefined,
});

/** Names of what is added to the checkpoint of a training. */
const [MODEL, WHOLE, ACTIVE] = ["pruning/model", "pruning/whole", "pruning/active/"];

/** Keeps where it stands: the checkpoint of the training, with the models and the rest beside it. */
export async function stateOf(at: Standing, keep: NonNullable<TrainOptions["checkpoint"]>): Promise<void> {
  const { setup, phase, isCut, whole, left, cuts, history, bank, training } = at;
  const tensors = new Map<string, TensorData>(training?.tensors);
  tensors.set(MODEL, asTensor(await toBytes(at.model)));
  if (bank !== undefined) {
    tensors.set(WHOLE, asTensor(await toBytes(bank.whole)));
    for (const [i, mask] of bank.active.entries()) tensors.set(`${ACTIVE}${i}`, asTensor(mask));
  }
  const pruning = structuredClone({ setup, phase, isCut, whole, left, cuts, history });
  const progress = { ...training?.progress, pruning };
  const state: Checkpoint = { tensors, progress };
  await (typeof keep === "string" ? saveCheckpoint(keep, state) : keep(state));
}

/** Where a checkpoint stands. Throws `prune/other-pruning` where it is of another. */
export async function read(from: string | Checkpoint, setup: string): Promise<Standing> {
  const { tensors, progress } = typeof from === "string" ? await readCheckpoint(from) : from;
  const { pruning, ...rest } = progress;
  const held = pruning as Standing | undefined;
  const model = tensors.get(MODEL);
  if (held === undefined || model === undefined || held.setup !== setup)
    throw new MinnowError(
      held === undefined
        ? "The checkpoint is of a training, and of no pruning."
        : `The checkpoint is of a pruning with ${held.setup}, and this one is with ${setup}.`,
      { code: "prune/other-pruning", mend: "Continue with the same options, or begin anew." },
    );
  const whole = tensors.get(WHOLE);
  const active: Uint8Array[] = [];
  for (let i = 0; tensors.has(`${ACTIVE}${i}`); i++) active.push(bytesOf(tensors.get(`${ACTIVE}${i}`)));
  const training = new Map([...tensors].filter(([name]) => !name.startsWith("pruning/")));
  return {
    ...structuredClone(held),
    model: await load(bytesOf(model)),
    bank: whole === undefined ? undefined : { whole: await load(bytesOf(whole)), active },
    training: training.size === 0 ? undefined : { tensors: training, progress: rest },
  };
}

const asTensor = (data: Uint8Array): TensorData => ({ dtype: "uint8", shape: [data.length], data });

const bytesOf = (tensor: TensorData | undefined): Uint8Array => tensor?.data as Uint8Array;
