import { MinnowError } from "../errors.ts";
import { costOf } from "../measure/cost.ts";
import type { ArchitectureOptions } from "./architecture.ts";
import { architectureOf, create } from "./create.ts";

/** Most multiply-adds of one example, most parameters; one of them at least. */
export interface FitBudget {
  readonly macs?: number;
  readonly parameters?: number;
}

/** The multipliers that were picked, and what the net costs with them. */
export interface Fit {
  /** What {@link create} takes: the options given, and those picked. */
  readonly options: Partial<ArchitectureOptions>;
  readonly macs: number;
  readonly parameters: number;
}

/** What may be picked: from where to where, and in which steps. */
const RANGES = {
  width: { from: 0.01, to: 8, step: 0.01 },
  depth: { from: 0.05, to: 4, step: 0.05 },
  resolution: { from: 8, to: 1024, step: 8 },
} as const;

type Axis = keyof typeof RANGES;
type Point = Readonly<Partial<Record<Axis, number>>>;
type Cost = Pick<Fit, "macs" | "parameters">;

/** Nearer to the budget than this share of it, no other depth or resolution is tried. */
const NEAR = 0.01;
/** The depths and resolutions that are tried, in multiples of the first, nearest first. */
const TIMES = [0.9, 1.1, 0.8, 1.2, 0.7, 1.3, 0.6, 1.4, 0.5, 1.5];

/**
 * Picks width, depth and resolution, as far as they are not given and the net has them, so that it comes close to the budget
 * from below: the largest width that fits, and where that leaves more than 1 %, another depth or resolution with the largest
 * width that fits then. A free resolution goes half of the way to the budget, so that the width has to go the other half only
 * (as Tan and Le 2019, arXiv:1905.11946, scale them together). A MinnowError (`architectures/budget`) for a budget below the
 * smallest net says what the smallest takes.
 *
 * @example
 * const { options, macs } = fitBudget("mobilenet_v2", { macs: 50e6 }, { resolution: 96 });
 * const model = create("mobilenet_v2", options);
 */
export function fitBudget(name: string, budget: FitBudget, given: Partial<ArchitectureOptions> = {}): Fit {
  const { defaults } = architectureOf(name);
  // Parameters do not depend on the resolution.
  const axes: readonly Axis[] = budget.macs === undefined ? ["width", "depth"] : ["width", "depth", "resolution"];
  const free = axes.filter((axis) => axis in defaults && given[axis] === undefined);
  const [first, ...others] = free;
  const limits = Object.entries(budget).filter(([, most]) => most !== undefined) as [keyof Cost, number][];
  if (first === undefined || limits.length === 0)
    throw new MinnowError(
      limits.length === 0
        ? "There is no budget to fit."
        : `Nothing of "${name}" is left to pick: it has no width, depth or resolution that is not given.`,
      { code: "architectures/fit", mend: "Give a budget of multiply-adds or parameters, and leave the width open." },
    );
  const costAt = costs(name, given);
  const left = (point: Point): number => leftOf(limits, costAt(point));
  const own: Point = Object.fromEntries(free.map((axis) => [axis, defaults[axis]]));
  const smallest = smallestOf(own, free, costAt);
  if (left(smallest) < 0) throw tooSmall(name, limits, smallest, costAt(smallest));
  const start = { ...own, ...middle(own.resolution, limits, costAt(own)) };
  let best: Point = smallest;
  for (const point of [start, ...smaller(start), smallest]) {
    best = largest(first, point, left, RANGES[first].to);
    if (left(best) >= 0) break;
  }
  const base = best;
  for (const axis of others)
    for (const times of TIMES) {
      if (left(best) <= NEAR) break;
      const value = onGrid(axis, times * (base[axis] as number));
      const tried = largest(first, { ...base, [axis]: value }, left, RANGES[first].to);
      if (left(tried) >= 0 && left(tried) < left(best)) best = tried;
    }
  return { options: { ...given, ...best }, ...(costAt(best) as Cost) };
}

/** What the net costs at a point, each built once; undefined where it cannot be built. */
function costs(name: string, given: Partial<ArchitectureOptions>): (point: Point) => Cost | undefined {
  const known = new Map<string, Cost | undefined>();
  const build = (point: Point): Cost | undefined => {
    try {
      const { macs, parameters } = costOf(create(name, { ...given, ...point }));
      return { macs, parameters };
    } catch (error) {
      const code = error instanceof MinnowError ? error.code : "";
      if (code === "architectures/resolution" || code === "architectures/no-channels") return undefined;
      throw error;
    }
  };
  return (point) => {
    const key = JSON.stringify([point.width, point.depth, point.resolution]);
    if (!known.has(key)) known.set(key, build(point));
    return known.get(key);
  };
}

type Limits = readonly (readonly [keyof Cost, number])[];

/** The share of the tightest budget that is left, below 0 where it is exceeded; what cannot be built is beyond any. */
const leftOf = (limits: Limits, cost: Cost | undefined): number =>
  cost === undefined ? Number.NEGATIVE_INFINITY : Math.min(...limits.map(([kind, most]) => 1 - cost[kind] / most));

/** The point with smaller resolutions, where that is free. */
const smaller = (point: Point): Point[] =>
  Array.from({ length: Math.ceil((point.resolution ?? 32) / 32) - 1 }, (_, i) => ({
    ...point,
    resolution: (point.resolution as number) - 32 * (i + 1),
  }));

const onGrid = (axis: Axis, value: number): number => {
  const { step } = RANGES[axis];
  return Number((Math.round(value / step) * step).toFixed(2));
};

/** A free resolution, half of the way to the budget: work grows with its square, as with the width's. */
function middle(resolution: number | undefined, limits: Limits, cost: Cost | undefined): Point {
  if (resolution === undefined || cost === undefined) return {};
  const scale = Math.min(...limits.map(([kind, most]) => most / cost[kind])) ** (1 / 4);
  return { resolution: 32 * Math.max(1, Math.round((resolution * scale) / 32)) };
}

/** The point with the largest value of an axis at which the budget holds, or the smallest that can be built. */
function largest(axis: Axis, point: Point, left: (point: Point) => number, most: number): Point {
  const { from, to, step } = RANGES[axis];
  const at = (i: number): Point => ({ ...point, [axis]: onGrid(axis, from + i * step) });
  let [below, above] = [-1, Math.floor((Math.min(to, most) - from) / step + 1e-6) + 1];
  while (above - below > 1) {
    const half = Math.floor((below + above) / 2);
    const share = left(at(half));
    // Too small to be built is not too large.
    if (share >= 0 || share === Number.NEGATIVE_INFINITY) below = half;
    else above = half;
  }
  return below < 0 ? point : at(below);
}

/** The smallest values with which the net can be built, one axis after the other. */
function smallestOf(own: Point, free: readonly Axis[], costAt: (point: Point) => Cost | undefined): Point {
  let point = own;
  for (const axis of free) {
    const { from, step } = RANGES[axis];
    let [below, enough] = [-1, Math.round(((own[axis] as number) - from) / step)];
    const at = (i: number): Point => ({ ...point, [axis]: onGrid(axis, from + i * step) });
    while (enough - below > 1) {
      const half = Math.floor((below + enough) / 2);
      if (costAt(at(half)) === undefined) below = half;
      else enough = half;
    }
    point = at(enough);
  }
  return point;
}

const WORDS = { macs: "multiply-adds", parameters: "parameters" } as const;

function tooSmall(name: string, limits: Limits, smallest: Point, cost: Cost | undefined): MinnowError {
  const has = limits.map(([kind, most]) => `${cost?.[kind]} ${WORDS[kind]}, and ${most} were asked for`);
  const made = Object.entries(smallest).map(([axis, value]) => `${axis} ${value}`);
  return new MinnowError(`The smallest "${name}" there is has ${has.join("; ")}.`, {
    code: "architectures/budget",
    mend: `That one has ${made.join(", ")}. Give a greater budget or take another net.`,
  });
}
