import { MinnowError } from "../errors.ts";
import { benchmark, randomFeeds, sizeOf } from "../measure/index.ts";
import { cut } from "./apply.ts";
import type { Masks } from "./axis.ts";
import type { CostAfter, PrunedCost } from "./cost.ts";
import type { Derivation } from "./derive.ts";
import { restored, type Worth } from "./restore.ts";
import type { Selection } from "./select.ts";
import type { StructuredPruningOptions, Target } from "./types.ts";

/** What may be left at most. */
export const TARGETS = ["macs", "parameters", "size", "latency"] as const;

/** What may be left at most, of what there is. */
export function limitOf(target: Target, whole: number, at: string): number {
  const share = typeof target === "number" ? undefined : Number(target.slice(0, -1)) / 100;
  if (share === undefined ? !((target as number) > 0) : !(share > 0 && share < 1 && String(target).endsWith("%")))
    throw new MinnowError(`It is ${JSON.stringify(target)}.`, {
      code: "prune/option",
      at,
      mend: 'Give a number above 0, or a share of what there is between "0%" and "100%".',
    });
  return share === undefined ? (target as number) : share * whole;
}

/** What a search works with. */
interface Search {
  readonly derivation: Derivation;
  readonly select: Selection;
  readonly cost: CostAfter;
  readonly options: StructuredPruningOptions;
  readonly roundTo: number;
  readonly worth: Worth;
}

/** Steps of a bisection. */
const STEPS = 20;

/** The smallest cut that meets every target. */
export async function search({ derivation, select, cost, options, roundTo, worth }: Search): Promise<Masks> {
  const { pruningRatio, latency } = options;
  const targets = TARGETS.filter((name) => options[name] !== undefined);
  if (targets.length === 0) return select(pruningRatio ?? 0.5);
  const before = cost(new Map());
  const overhead = options.size === undefined ? 0 : (await sizeOf(derivation.model)).bytes - before.weightBytes;
  const figures = ({ macs, parameters, weightBytes }: PrunedCost) => ({
    macs,
    parameters,
    size: weightBytes + overhead,
  });
  const whole = figures(before);
  const counted = (["macs", "parameters", "size"] as const).flatMap((name) => {
    const target = options[name];
    return target === undefined ? [] : [{ name, limit: limitOf(target, whole[name], name) }];
  });
  const left = (masks: Masks): number => {
    const after = figures(cost(masks));
    return Math.max(0, ...counted.map(({ name, limit }) => after[name] / limit));
  };
  const meets = (masks: Masks): boolean => left(masks) <= 1;
  if (!meets(select(1))) throw unreachable(figures(cost(select(1))), counted, roundTo);
  const share = await least(0, STEPS, async (at) => meets(select(at)));
  if (latency !== undefined) return select(await byLatency(derivation, select, share, options, roundTo));
  return restored(select(share), select(Math.max(0, share - 2 ** -STEPS)), { worth, cost: left, meets });
}

/** The least share in [from, 1] that is enough, to within (1 − from) / 2^steps; 1 is. */
async function least(from: number, steps: number, enough: (share: number) => Promise<boolean>): Promise<number> {
  if (await enough(from)) return from;
  let [low, high] = [from, 1];
  for (let i = 0; i < steps; i++) {
    const middle = (low + high) / 2;
    if (await enough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** How often the time is measured in a search for it. */
const MEASUREMENTS = 7;

/** Bisects by measured latency, the whole model in turn with what is tried. */
async function byLatency(
  d: Derivation,
  select: Selection,
  from: number,
  options: StructuredPruningOptions,
  roundTo: number,
): Promise<number> {
  const feeds = randomFeeds(d.model, { seed: options.seed ?? 0 });
  const settings = {
    ...(options.runtime && { runtime: options.runtime }),
    ...(options.threads && { threads: options.threads }),
    ...(options.signal && { signal: options.signal }),
  };
  const timeOf = async (share: number) => {
    const [whole, small] = await benchmark([d.model, await cut(d, select(share))], feeds, settings);
    return {
      limit: limitOf(options.latency as Target, whole?.medianMs ?? Number.NaN, "latency"),
      ms: small?.medianMs ?? 0,
    };
  };
  const fastest = await timeOf(1);
  if (fastest.ms > fastest.limit) throw tooSlow(fastest, roundTo);
  return least(from, MEASUREMENTS, async (share) => {
    const { ms, limit } = await timeOf(share);
    return ms <= limit;
  });
}

function unreachable(
  reached: Readonly<Record<"macs" | "parameters" | "size", number>>,
  limits: readonly { name: "macs" | "parameters" | "size"; limit: number }[],
  roundTo: number,
): MinnowError {
  const units = { macs: "MACs", parameters: "parameters", size: "bytes" };
  const missed = limits.filter(({ name, limit }) => reached[name] > limit);
  const said = missed.map(
    ({ name, limit }) => `${Math.round(reached[name])} ${units[name]}, and at most ${Math.round(limit)} are asked for`,
  );
  return new MinnowError(`With all cut that may be, there are ${said.join("; there are ")}.`, {
    code: "prune/unreachable",
    mend: `Ask for less${roundTo > 1 ? `, give roundTo 1 (now ${roundTo})` : ""}, a larger maxPruningRatio or fewer ignoredLayers, or quantize as well.`,
  });
}

const tooSlow = ({ ms, limit }: { ms: number; limit: number }, roundTo: number): MinnowError =>
  new MinnowError(
    `With all cut that may be, a run takes ${ms.toFixed(2)} ms, and at most ${limit.toFixed(2)} ms are asked for.`,
    {
      code: "prune/unreachable",
      mend: `Ask for less${roundTo > 1 ? `, give roundTo 1 (now ${roundTo})` : ""}, or quantize as well.`,
    },
  );
