import { MinnowError } from "../errors.ts";

/** What an epoch came to. */
export interface EpochRecord {
  /** Counted from 1. */
  readonly epoch: number;
  /** Mean over the epoch's examples, in training mode. */
  readonly loss: number;
  /** Share of the examples learned from that were right when their turn came; where the loss compares with labels. */
  readonly trainAccuracy?: number;
  /** On the validation data: metrics as fractions, or the loss. */
  readonly metrics: Readonly<Record<string, number>>;
  /** The learning rate of its last update. */
  readonly lr: number;
  /** Of training alone, judging left out. */
  readonly samplesPerSecond: number;
}

/** What must be the same for a training to be continued. */
export interface Setup {
  readonly seed: number;
  readonly batch: number;
  readonly parts: number;
  readonly examples: number;
  readonly loss: string;
  readonly optimizer: string;
}

/** Where a training stands, apart from its tensors; plain data. */
export interface Progress {
  readonly setup: Setup;
  /** The epoch that is running, counted from 0. */
  epoch: number;
  /** Updates done, all epochs together, and in this one. */
  update: number;
  done: number;
  /** Where the next batch begins in the epoch's order. */
  cursor: number;
  /** Sums over this epoch: losses of batches, right answers, seconds. */
  loss: number;
  right: number;
  seconds: number;
  /** The loss of the first batch of all. */
  first: number | null;
  history: EpochRecord[];
  /** The best epoch so far, counted from 1, and what it was judged. */
  best: { epoch: number; value: number } | null;
}

export const beginning = (setup: Setup): Progress => ({
  setup,
  epoch: 0,
  update: 0,
  done: 0,
  cursor: 0,
  loss: 0,
  right: 0,
  seconds: 0,
  first: null,
  history: [],
  best: null,
});

/** The progress a checkpoint holds; a MinnowError where the training that goes on is another. */
export function progressOf(found: Readonly<Record<string, unknown>>, setup: Setup): Progress {
  const held = found as unknown as Progress;
  const differs = (Object.keys(setup) as (keyof Setup)[]).find((key) => held.setup?.[key] !== setup[key]);
  if (differs !== undefined)
    throw new MinnowError(
      `The checkpoint's training has ${WORDS[differs]} ${held.setup?.[differs]}, and this one ${setup[differs]}.`,
      { code: "train/other-training", mend: "Continue with the same options and data, or begin anew." },
    );
  return structuredClone(held);
}

const WORDS: Readonly<Record<keyof Setup, string>> = {
  seed: "the seed",
  batch: "a batch of",
  parts: "batches an update:",
  examples: "a number of examples of",
  loss: "the loss",
  optimizer: "the optimizer",
};
