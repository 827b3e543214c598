import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { readData, type TensorData } from "../ir/tensor.ts";
import type { Checkpoint } from "../train/checkpoint.ts";
import { maskKey, type WeightMasks } from "../train/masks.ts";
import { type TrainOptions, type TrainResult, train } from "../train/train.ts";
import type { WeightMatrix } from "./matrices.ts";
import { amountOf } from "./sparse.ts";
import {
  chosen,
  matricesToTrain,
  type SparseAmount,
  type SparseTrainingResult,
  sparsityOf,
  weightsOf,
} from "./sparse-training.ts";

export interface LotteryTicketOptions
  extends Omit<TrainOptions, "masks" | "patience" | "keep" | "checkpoint" | "resume">,
    Omit<SparseAmount, "pattern"> {
  /** How often it is trained anew with fewer numbers; each time the same share of those that are left goes. Default 3. */
  readonly rounds?: number;
  /** The epoch whose end weights, momentum and the learning rate go back to: 0 for where it began. Default 1. */
  readonly rewind?: number;
  readonly onRound?: (round: { readonly round: number; readonly sparsity: number }) => void;
}

/**
 * Trains a model, drops the smallest numbers, puts those that stay back to what they were early on, and trains again: lottery
 * tickets (Frankle and Carbin 2019, arXiv 1803.03635), with rewinding to an early epoch (Frankle et al. 2020, arXiv 1912.05671).
 * It takes `epochs` for the first training and `epochs − rewind` for every round. Throws as `sparseTraining` does.
 *
 * @example
 * const { model: ticket } = await lotteryTicket(create("resnet20"), { data, epochs: 20, rewind: 2, sparsity: 0.9, rounds: 5 });
 */
export async function lotteryTicket(model: Model, options: LotteryTicketOptions): Promise<SparseTrainingResult> {
  const { sparsity = 0.5, scope = "layer", ignoredLayers: _i, rounds = 3, rewind = 1, onRound, ...training } = options;
  amountOf(options);
  check(rounds, rewind, options.epochs);
  const { ready, matrices } = await matricesToTrain(model, options);
  const weights = weightsOf(matrices);
  let early: Checkpoint | undefined;
  const keep = (state: Checkpoint) => {
    if (state.progress["epoch"] === rewind) early ??= state;
  };
  const held = (masks: ReadonlyMap<string, Float32Array> | undefined): WeightMasks => ({
    weights,
    next: async ({ update }) => (update === 0 ? masks : undefined),
  });
  let result = await train(ready, { ...training, checkpoint: keep, masks: held(undefined) });
  for (let round = 1; round <= rounds && result.stopped === undefined; round++) {
    const amount = { sparsity: 1 - (1 - sparsity) ** (round / rounds) };
    onRound?.({ round, sparsity: amount.sparsity });
    const masks = await chosen(matrices, await stateOf(result, matrices), "magnitude", { amount, scope });
    const resume = early && { ...early, tensors: new Map([...early.tensors, ...asTensors(masks)]) };
    result = await train(ready, { ...training, masks: held(masks), ...(resume && { resume }) });
  }
  return { ...result, sparsity: await sparsityOf(result.model, { weights }) };
}

function check(rounds: number, rewind: number, epochs: number): void {
  const [at, what, mend] =
    !Number.isInteger(rounds) || rounds < 1
      ? ["rounds", rounds, "It is a whole number from 1 on."]
      : ["rewind", rewind, "It is a whole number of epochs, 0 for the beginning, fewer than all."];
  if (at === "rounds" || !Number.isInteger(rewind) || rewind < 0 || rewind >= epochs)
    throw new MinnowError(`It is ${what}.`, { code: "prune/option", at, mend });
}

/** The weights a training ended with, as if they were carried; those that have gone are 0, and so go again. */
async function stateOf({ model: { graph } }: TrainResult, matrices: readonly WeightMatrix[]) {
  const state = new Map<string, TensorData>();
  for (const { weight } of matrices) {
    const data = await readData(graph.weights.get(weight)!);
    state.set(weight, data).set(maskKey(weight), data);
  }
  return state;
}

const asTensors = (masks: ReadonlyMap<string, Float32Array>) =>
  [...masks].map(([weight, data]): [string, TensorData] => [
    maskKey(weight),
    { dtype: "float32", shape: [data.length], data },
  ]);
