import { MinnowError } from "../errors.ts";
import { elements } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { ruleOf } from "../ops/index.ts";
import { activationScores } from "./activations.ts";
import type { Derivation } from "./derive.ts";
import { distanceScores } from "./distances.ts";
import type { GradientData } from "./gradients.ts";
import { gradientsOf } from "./gradients.ts";
import { folded, type Group, membersByWeight } from "./groups.ts";
import { floatsOf } from "./weights.ts";

/**
 * What an index is worth:
 * - `l1`, `l2`: sums of |w| or w² over all its weights (Li et al. 2017, arXiv 1608.08710), over the whole group (Fang et al. 2023, arXiv 2301.12900).
 * - `bn`: the scale of its normalization (network slimming, Liu et al. 2017, arXiv 1708.06519).
 * - `taylor`: |w·g|, what the loss changes by to first order without it (Molchanov et al. 2019, arXiv 1906.10771). Needs data.
 * - `hessian`: w²·g², to second order with the diagonal of the Fisher information (LeCun et al. 1989; Theis et al. 2018). Needs data.
 * - `fpgm`: the distance to all other indices: what lies near their geometric median can be made of them (He et al. 2019, arXiv 1811.00250).
 * - `activation`: the mean |x| of what its readers sum over. Needs data.
 * - `random`: seeded.
 */
export type Score = "l1" | "l2" | "bn" | "taylor" | "hessian" | "fpgm" | "activation" | "random";

export const SCORES: readonly Score[] = ["l1", "l2", "bn", "taylor", "hessian", "fpgm", "activation", "random"];

/** How the scores of an index in the weights of its group become one; Torch-Pruning's names. */
export type GroupReduction = "mean" | "sum" | "max" | "prod" | "first" | "gate";

export const GROUP_REDUCTIONS: readonly GroupReduction[] = ["mean", "sum", "max", "prod", "first", "gate"];

/** How the scores of a group are made comparable with another's; Torch-Pruning's names, "standarization" with its spelling. */
export type Normalizer =
  | "none"
  | "sum"
  | "mean"
  | "max"
  | "standarization"
  | "gaussian"
  | "lamp"
  | `sentinel_${number}`;

export interface ScoreOptions extends GradientData {
  /** Default `l2`. */
  readonly score?: Score;
  /** Default `mean`. */
  readonly groupReduction?: GroupReduction;
  /** Default `mean`. */
  readonly normalizer?: Normalizer;
  /** Counts biases as well; default false. */
  readonly bias?: boolean;
  /** Of `random`; default 0. */
  readonly seed?: number;
}

/** One score for every index of every group: what is small goes first. */
export type Scores = ReadonlyMap<Group, Float64Array>;

/** Scores all groups. A group none of whose weights counts for a score is judged by `l2` over what it has. */
export async function scoresOf(d: Derivation, groups: readonly Group[], options: ScoreOptions = {}): Promise<Scores> {
  const { score = "l2", groupReduction = "mean", normalizer = "mean" } = options;
  const each = await memberScores(d, groups, score, options);
  const out = new Map<Group, Float64Array>();
  for (const group of groups) {
    const own = each.get(group) ?? [];
    const reduced = own.length > 0 ? reduce(own, groupReduction) : new Float64Array(group.size).fill(1);
    out.set(group, normalize(reduced, normalizer));
  }
  return out;
}

/** For each group a vector of scores for every one of its weights that counts. */
type MemberScores = ReadonlyMap<Group, Float64Array[]>;

async function memberScores(
  d: Derivation,
  groups: readonly Group[],
  score: Score,
  options: ScoreOptions,
): Promise<MemberScores> {
  if (score === "random") {
    const next = random(options.seed ?? 0);
    return new Map(groups.map((group) => [group, [Float64Array.from({ length: group.size }, next)]]));
  }
  if (score === "activation") return withRest(d, groups, await activationScores(d, groups, options), options);
  if (score === "fpgm") return withRest(d, groups, await distanceScores(d, groups), options);
  const slopes = score === "taylor" || score === "hessian" ? await gradientsOf(d.model, score, options) : undefined;
  const value = VALUES[score];
  const counts = kindsOf(d);
  const isCounted = (weight: string): boolean =>
    score === "bn" ? counts.scales.has(weight) : isLearned(d, counts, weight, options.bias ?? false);
  const found = await sums(d, groups, isCounted, (weight) => {
    const slope = slopes?.get(weight);
    return slopes !== undefined && slope === undefined ? undefined : (w, i) => value(w, slope?.[i] ?? 0);
  });
  return withRest(d, groups, found, options);
}

const VALUES: Readonly<Record<"l1" | "l2" | "bn" | "taylor" | "hessian", (w: number, g: number) => number>> = {
  l1: Math.abs,
  l2: (w) => w * w,
  bn: Math.abs,
  taylor: (w, g) => Math.abs(w * g),
  hessian: (w, g) => w * w * g,
};

/** Groups without a score of this kind get that of their magnitude: a residual stream may have no normalization. */
async function withRest(
  d: Derivation,
  groups: readonly Group[],
  found: MemberScores,
  { bias = false }: ScoreOptions,
): Promise<MemberScores> {
  const rest = groups.filter((group) => (found.get(group)?.length ?? 0) === 0);
  if (rest.length === 0) return found;
  const counts = kindsOf(d);
  const more = await sums(
    d,
    rest,
    (weight) => isLearned(d, counts, weight, bias),
    () => VALUES.l2,
  );
  return new Map([...found, ...more]);
}

export interface Kinds {
  readonly scales: ReadonlySet<string>;
  readonly statistics: ReadonlySet<string>;
}

/** Which weights scale channels, and which are running statistics. */
export function kindsOf({ model }: Derivation): Kinds {
  const [scales, statistics] = [new Set<string>(), new Set<string>()];
  for (const node of model.graph.nodes) {
    const rule = ruleOf(node);
    if (rule?.scale !== undefined) scales.add(node.inputs[rule.scale] ?? "");
    for (const index of rule?.statistics ?? []) statistics.add(node.inputs[index] ?? "");
  }
  return { scales, statistics };
}

/** Matrices and kernels count, and scales of channels; vectors that are added only where `bias` says so. */
export const isLearned = (d: Derivation, { scales, statistics }: Kinds, weight: string, bias: boolean): boolean =>
  !statistics.has(weight) && (bias || scales.has(weight) || vectorAxes(d, weight) > 1);

const vectorAxes = ({ model }: Derivation, weight: string): number =>
  (model.graph.weights.get(weight)?.shape ?? []).filter((size) => size > 1).length;

/** Sums of what every element counts, for each index of each group, weight by weight. */
async function sums(
  d: Derivation,
  groups: readonly Group[],
  isCounted: (weight: string) => boolean,
  countOf: (weight: string) => ((w: number, i: number) => number) | undefined,
): Promise<MemberScores> {
  const out = new Map<Group, Float64Array[]>();
  for (const [weight, members] of membersByWeight(groups)) {
    const tensor = d.model.graph.weights.get(weight);
    const value = isCounted(weight) ? countOf(weight) : undefined;
    if (tensor === undefined || value === undefined) continue;
    const values = await floatsOf(tensor);
    const along = new Map<number, Float64Array>();
    for (const { group, member, place } of members) {
      const sum = along.get(member.axis) ?? alongAxis(values, tensor.shape, member.axis, value);
      along.set(member.axis, sum);
      const own = out.get(group) ?? [];
      own[place] = folded(d, group, member, sum);
      out.set(group, own);
    }
  }
  // Weights that do not count leave holes.
  return new Map([...out].map(([group, own]) => [group, own.filter((scores) => scores !== undefined)]));
}

function alongAxis(
  values: Float32Array,
  shape: readonly number[],
  axis: number,
  value: (w: number, i: number) => number,
): Float64Array {
  const size = shape[axis] as number;
  const inner = elements(shape.slice(axis + 1));
  const out = new Float64Array(size);
  for (let i = 0; i < values.length; ) {
    const at = Math.floor(i / inner) % size;
    let sum = 0;
    for (const end = i + inner; i < end; i++) sum += value(values[i] as number, i);
    out[at] = (out[at] as number) + sum;
  }
  return out;
}

function reduce(members: readonly Float64Array[], reduction: GroupReduction): Float64Array {
  const [first = new Float64Array(), ...rest] = members;
  if (reduction === "first") return first;
  if (reduction === "gate") return members.at(-1) ?? first;
  const join = { max: Math.max, prod: (a: number, b: number) => a * b, sum: (a: number, b: number) => a + b };
  const by = reduction === "mean" ? join.sum : join[reduction];
  const out = rest.reduce((all, one) => all.map((v, i) => by(v, one[i] as number)), first);
  return reduction === "mean" ? out.map((v) => v / members.length) : out;
}

/** Makes the scores of one group comparable with another's. */
export function normalize(scores: Float64Array, normalizer: Normalizer): Float64Array {
  const n = scores.length;
  const sum = scores.reduce((a, b) => a + b, 0);
  const [least, most] = [Math.min(...scores), Math.max(...scores)];
  const over = (by: number) => (by === 0 ? scores.slice() : scores.map((v) => v / by));
  switch (normalizer) {
    case "none":
      return scores.slice();
    case "sum":
      return over(sum);
    case "mean":
      return over(sum / n);
    case "max":
      return over(most);
    case "standarization":
      return scores.map((v) => (v - least) / (most - least + 1e-8));
    case "gaussian": {
      const variance = scores.reduce((a, v) => a + (v - sum / n) ** 2, 0) / Math.max(1, n - 1);
      return scores.map((v) => (v - sum / n) / (Math.sqrt(variance) + 1e-8));
    }
    case "lamp":
      return lamp(scores);
    default:
      return over(sentinel(scores, normalizer));
  }
}

/** Each score over the sum of all that are not smaller (Lee et al. 2021, arXiv 2010.07611). */
function lamp(scores: Float64Array): Float64Array {
  const order = [...scores.keys()].sort((a, b) => (scores[b] as number) - (scores[a] as number));
  const out = new Float64Array(scores.length);
  let above = 0;
  for (const i of order) {
    above += scores[i] as number;
    out[i] = above === 0 ? 0 : (scores[i] as number) / above;
  }
  return out;
}

/** The score at a share of the sorted ones: `sentinel_0.5` is the median. */
function sentinel(scores: Float64Array, normalizer: string): number {
  const share = Number(/^sentinel_([\d.]+)$/.exec(normalizer)?.[1]);
  if (!(share >= 0 && share <= 1))
    throw new MinnowError(`The normalizer is "${normalizer}".`, {
      code: "prune/option",
      at: "normalizer",
      mend: "It can be none, sum, mean, max, standarization, gaussian, lamp or sentinel_0.5.",
    });
  return scores.toSorted()[Math.min(scores.length - 1, Math.floor(share * scores.length))] as number;
}
