import { MinnowError } from "../errors.ts";
import { limitOf } from "./search.ts";
import type { Target } from "./types.ts";

/** What a rank costs and loses in one layer. */
export interface Rankable {
  /** Multiply-adds as it is. */
  readonly macs: number;
  /** Multiply-adds for each rank. */
  readonly each: number;
  /** Squares along each direction, the largest first. */
  readonly values: Float64Array;
  readonly full: number;
  readonly step: number;
}

export interface RankChoice {
  /** `undefined`: it stays whole. */
  readonly rank: number | undefined;
  readonly lost: number;
  readonly macs: number;
}

/** Which rank each layer gets; a layer that would not become cheaper stays whole. */
export function ranksFor(
  layers: readonly Rankable[],
  total: number,
  { macs, ratio, energy = 0.95 }: { readonly macs?: Target; readonly ratio?: number; readonly energy?: number },
): RankChoice[] {
  const choices = layers.map(choicesOf);
  if (macs !== undefined) return withinBudget(choices, layers, total, limitOf(macs, total, "macs"));
  return choices.map(([whole, ...lower], i): RankChoice => {
    const fits = ({ lost, macs: left }: RankChoice) =>
      ratio === undefined ? 1 - lost >= energy : left <= ratio * layers[i]!.macs;
    // The largest rank within the share of MACs, or the smallest that holds the energy; ranks rise.
    return (ratio === undefined ? lower.find(fits) : lower.findLast(fits)) ?? whole!;
  });
}

/** The whole layer, then the ranks that are cheaper, the smallest first. */
function choicesOf({ macs, each, values, full, step }: Rankable): RankChoice[] {
  const all = values.reduce((sum, value) => sum + Math.max(0, value), 0);
  const out: RankChoice[] = [{ rank: undefined, lost: 0, macs }];
  let kept = 0;
  for (let rank = 1; rank <= full && rank * each < macs; rank++) {
    kept += Math.max(0, values[rank - 1] ?? 0);
    if (rank % step === 0) out.push({ rank, lost: all === 0 ? 0 : Math.max(0, 1 - kept / all), macs: rank * each });
  }
  return out;
}

/** The choices of least loss together, by one price of a multiply-add for all layers. */
function withinBudget(
  choices: readonly RankChoice[][],
  layers: readonly Rankable[],
  total: number,
  limit: number,
): RankChoice[] {
  const rest = total - layers.reduce((sum, layer) => sum + layer.macs, 0);
  const at = (price: number): RankChoice[] =>
    choices.map((own) =>
      own.reduce((best, next) => (next.lost + price * next.macs < best.lost + price * best.macs ? next : best)),
    );
  const macsOf = (chosen: readonly RankChoice[]) => chosen.reduce((sum, { macs }) => sum + macs, rest);
  const least = macsOf(choices.map((own) => own.reduce((best, next) => (next.macs < best.macs ? next : best))));
  if (least > limit)
    throw new MinnowError(
      `With all layers of the lowest rank there are ${Math.round(least)} MACs, and at most ${Math.round(limit)} are asked for.`,
      {
        code: "prune/unreachable",
        mend: "Ask for less, give a smaller roundTo, or cut channels as well: minnow prune --macs.",
      },
    );
  if (total <= limit)
    throw new MinnowError("The model is within what is asked for as it is; nothing is factored.", {
      code: "prune/nothing",
      mend: "Ask for less.",
    });
  let [low, high] = [Math.log(1e-9 / total), Math.log(1e9 / total)];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (macsOf(at(Math.exp(middle))) <= limit) high = middle;
    else low = middle;
  }
  return at(Math.exp(high));
}
