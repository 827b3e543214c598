import type { TensorData } from "../ir/tensor.ts";
import type { Run } from "./schedules.ts";

/**
 * Masks that hold while a model is trained: the loss sees weight · mask, and where the mask is 0 neither the weight nor the
 * optimizer's state of it moves, whatever momentum or weight decay would do. What is given back has zeros there.
 */
export interface WeightMasks {
  /** The names of the weights that have one, as `readyToTrain` leaves them. */
  readonly weights: readonly string[];
  /** Keeps the movement of each weight too, Σ −w·∂L/∂(w·mask), masked or not (Sanh et al. 2020, arXiv 2005.07683). */
  readonly movement?: boolean;
  /**
   * Which masks change after an update, by weight: 1 or 0 for every element; undefined where all stay. `update` 0 is before
   * the first, when all are 1. It depends on nothing else, so that a training that was stopped goes on as it would have.
   */
  next(at: MasksAt): Promise<ReadonlyMap<string, Float32Array> | undefined>;
}

export interface MasksAt {
  /** Updates done, of `run.steps`. */
  readonly update: number;
  readonly run: Run;
  /** What is carried, by key: weights by their names, {@link maskKey} and {@link movementKey} of them; copies. */
  state(): ReadonlyMap<string, TensorData>;
}

/** Where the mask of a weight stands among what is carried, in checkpoints too. */
export const maskKey = (weight: string): string => `${weight}:mask`;

/** Where the movement of a weight stands. */
export const movementKey = (weight: string): string => `${weight}:movement`;

/** A weight with zeros where its mask is 0. */
export function maskedBy(weight: TensorData, mask: TensorData | undefined): TensorData {
  if (mask === undefined) return weight;
  const kept = mask.data as Float32Array;
  return { ...weight, data: (weight.data as Float32Array).map((value, i) => (kept[i] === 0 ? 0 : value)) };
}
