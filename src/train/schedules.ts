import { MinnowError } from "../errors.ts";

/** How long a run is, in updates of the weights. */
export interface Run {
  /** Updates in all. */
  readonly steps: number;
  readonly stepsPerEpoch: number;
}

/** The learning rate of an update, counted from 0. Pure: it depends on what it is given alone. */
export type Schedule = (step: number, run: Run) => number;

/** The same rate throughout. */
export function constant(lr: number): Schedule {
  checkRate(lr);
  return () => lr;
}

export interface StepDecayOptions {
  /** Epochs from one fall to the next; or `at` says when. */
  readonly every?: number;
  /** Epochs after which it falls. */
  readonly at?: readonly number[];
  /** γ, what is left of the rate after a fall. Default 0.1. */
  readonly gamma?: number;
}

/** η = lr · γ^k after k falls; PyTorch's StepLR (`every`) and MultiStepLR (`at`). */
export function stepDecay(lr: number, { every, at, gamma = 0.1 }: StepDecayOptions): Schedule {
  checkRate(lr);
  if ((every === undefined) === (at === undefined) || !((every ?? 1) > 0))
    throw wrong(
      "This fall of the learning rate",
      "Give either `every`, a number of epochs above 0, or the epochs `at`.",
    );
  return (step, { stepsPerEpoch }) => {
    const epoch = Math.floor(step / stepsPerEpoch);
    const falls = at === undefined ? Math.floor(epoch / (every as number)) : at.filter((end) => epoch >= end).length;
    return lr * gamma ** falls;
  };
}

/** η = min + (lr − min) · (1 + cos(π·t/T)) / 2 with T all updates (Loshchilov and Hutter 2017); PyTorch's CosineAnnealingLR by updates. */
export function cosine(lr: number, { min = 0 }: { readonly min?: number } = {}): Schedule {
  checkRate(lr);
  return (step, { steps }) => min + ((lr - min) * (1 + Math.cos((Math.PI * step) / steps))) / 2;
}

export interface OneCycleOptions {
  /** Share of the run in which the rate rises. Default 0.3. */
  readonly rise?: number;
  /** The first rate is lr / `start`. Default 25. */
  readonly start?: number;
  /** The last is the first / `end`. Default 1e4. */
  readonly end?: number;
}

/** From lr / start up to lr and down to lr / start / end, along cosines (Smith and Topin 2019); PyTorch's OneCycleLR. */
export function oneCycle(lr: number, { rise = 0.3, start = 25, end = 1e4 }: OneCycleOptions = {}): Schedule {
  checkRate(lr);
  const along = (from: number, to: number, share: number) => to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;
  return (step, { steps }) => {
    const top = rise * steps - 1;
    return step <= top
      ? along(lr / start, lr, top > 0 ? step / top : 1)
      : along(lr, lr / start / end, (step - top) / Math.max(1, steps - 1 - top));
  };
}

/**
 * Rises in a straight line over the first `steps` updates (or `epochs`) to where `then` begins; `then` runs over the rest.
 * The first update has 1 / (steps + 1) of its rate (Goyal et al. 2017).
 */
export function warmUp(
  then: Schedule,
  { steps, epochs = 1 }: { readonly steps?: number; readonly epochs?: number },
): Schedule {
  return (step, run) => {
    const rising = Math.min(run.steps - 1, Math.round(steps ?? epochs * run.stepsPerEpoch));
    const rest = { ...run, steps: run.steps - rising };
    return step < rising ? (then(0, rest) * (step + 1)) / (rising + 1) : then(step - rising, rest);
  };
}

function checkRate(lr: number): void {
  if (!(lr >= 0 && Number.isFinite(lr)))
    throw wrong(`A learning rate of ${lr}`, "Give a number from 0 on, 0.01 for example.");
}

const wrong = (what: string, mend: string): MinnowError =>
  new MinnowError(`${what} is not possible.`, { code: "train/schedule-options", mend });
