import { MinnowError } from "../errors.ts";

/** One cut of a schedule. */
export interface Cut {
  /** The share of the whole model that this cut leaves, where the last one leaves `share`. */
  left(share: number): number;
  /** The share of what is gone that comes back for the training behind this cut. */
  readonly regrow: number;
}

/** In how many cuts what is asked for is reached, with training behind each. */
export interface PruningSchedule {
  readonly name: string;
  readonly cuts: readonly Cut[];
}

/** All at once. */
export const oneShot = (): PruningSchedule => ({ name: "one-shot", cuts: [{ left: (share) => share, regrow: 0 }] });

/** The same amount with every cut: 1 − (1 − s)·i/n is left after i of n. */
export const linear = (cuts: number): PruningSchedule => ({
  name: `linear:${checked(cuts)}`,
  cuts: each(cuts, (i) => ({ left: (share) => 1 - ((1 - share) * i) / cuts, regrow: 0 })),
});

/** The same share of what is left with every cut, so that the first take most: s^(i/n) is left after i of n. */
export const exponential = (cuts: number): PruningSchedule => ({
  name: `exponential:${checked(cuts)}`,
  cuts: each(cuts, (i) => ({ left: (share) => share ** (i / cuts), regrow: 0 })),
});

/**
 * Prune and regrow: every cut goes all the way, and then a share of all that is gone comes back, drawn at random, with the
 * weights it had last; after some training it is judged again beside the rest. The share falls to 0 along a cosine, so that
 * the last cut is the one asked for. After Hou et al., "CHEX: CHannel EXploration for CNN Model Compression", arXiv 2203.15794.
 */
export function regrow(cuts: number, { share = 0.3 }: { readonly share?: number } = {}): PruningSchedule {
  if (!(share > 0 && share < 1))
    throw wrong(`${share} of what is gone comes back`, "Give a share above 0 and below 1.");
  const name = share === 0.3 ? `regrow:${checked(cuts)}` : `regrow:${checked(cuts)}:${share}`;
  const falling = (i: number) => (cuts === 1 ? 0 : (share * (1 + Math.cos((Math.PI * (i - 1)) / (cuts - 1)))) / 2);
  return { name, cuts: each(cuts, (i) => ({ left: (to) => to, regrow: i === cuts ? 0 : falling(i) })) };
}

/** A schedule by its name: `one-shot`, `linear:4`, `exponential:4`, `regrow:4`. */
export function scheduleNamed(name: string): PruningSchedule {
  const [kind = "", cuts = "4", share] = name.split(":");
  if (kind === "one-shot") return oneShot();
  if (kind === "linear") return linear(Number(cuts));
  if (kind === "exponential") return exponential(Number(cuts));
  if (kind === "regrow") return regrow(Number(cuts), share === undefined ? {} : { share: Number(share) });
  throw wrong(`It is "${name}"`, "It can be one-shot, linear:4, exponential:4 or regrow:4, with the number of cuts.");
}

/** Epochs behind each cut: half of them in equal parts behind all but the last, one at least. */
export function epochsOf(epochs: number, { name, cuts }: PruningSchedule): readonly number[] {
  const n = cuts.length;
  if (epochs < n)
    throw wrong(
      `${name} trains after ${n} cuts, and ${epochs} epochs are left for that`,
      "Give more epochs, or fewer cuts.",
    );
  const between = n === 1 ? 0 : Math.max(n - 1, Math.floor(epochs / 2));
  const part = (i: number) => Math.floor(between / (n - 1)) + (i < between % (n - 1) ? 1 : 0);
  return cuts.map((_, i) => (i === n - 1 ? epochs - between : part(i)));
}

const each = (cuts: number, cut: (i: number) => Cut): readonly Cut[] =>
  Array.from({ length: cuts }, (_, i) => cut(i + 1));

function checked(cuts: number): number {
  if (Number.isInteger(cuts) && cuts >= 1) return cuts;
  throw wrong(`There are ${cuts} cuts`, "Give a whole number from 1 on.");
}

const wrong = (what: string, mend: string): MinnowError =>
  new MinnowError(`${what}.`, { code: "prune/option", at: "schedule", mend });
