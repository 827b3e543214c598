import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { elements } from "../ir/tensor.ts";
import type { Emitter } from "../ops/emit.ts";
import type { Optimizer, Update } from "../train/step.ts";
import { indicesOf, keep } from "./axis.ts";
import type { Derivation } from "./derive.ts";
import { type Group, type Membership, membersByWeight } from "./groups.ts";
import { isLearned, kindsOf } from "./scores.ts";
import type { Plan } from "./types.ts";

/**
 * What makes whole indices small before they are cut, so that the cut takes away little:
 * - `group-lasso`: λ·Σ √p·‖w_i‖ over the indices i of every group, w_i its p weights in all members (Yuan and Lin 2006; over
 *   dependency groups: Fang et al. 2023, arXiv 2301.12900).
 * - `growing`: an L2 penalty on the indices that will go, which grows from 0 to λ (Wang et al. 2021, arXiv 2012.09243, GReg-1).
 * - `slimming`: λ·Σ |γ| over the scales of normalizations (Liu et al. 2017, arXiv 1708.06519); for the score `bn`.
 */
export type RegularizeMethod = "group-lasso" | "growing" | "slimming";

/** Each with the λ it has where none is given: that of its paper. */
const STRENGTHS: Readonly<Record<RegularizeMethod, number>> = { "group-lasso": 1e-4, growing: 1, slimming: 1e-4 };

export const REGULARIZERS = Object.keys(STRENGTHS) as readonly RegularizeMethod[];

export interface RegularizeOptions {
  readonly method: RegularizeMethod;
  /** λ. Default 1e-4; of `growing`, what it grows to, 1. */
  readonly strength?: number;
}

/** Under the root, so that an index that is all zeros has a slope. */
const EPSILON = 1e-8;

/**
 * An optimizer that adds the slope of a penalty to every gradient; the loss that is reported stays that of the task. `steps`
 * is how many updates there will be. The weights that are trained must be those of the plan's model.
 *
 * @example
 * const optimizer = regularized(sgd({ momentum: 0.9 }), plan, { method: "group-lasso" }, 1000);
 */
export function regularized(optimizer: Optimizer, plan: Plan, options: RegularizeOptions, steps: number): Optimizer {
  const { method, strength = STRENGTHS[options.method] } = options;
  if (!REGULARIZERS.includes(method) || !(strength > 0))
    throw new MinnowError(`It is ${JSON.stringify(options)}.`, {
      code: "prune/option",
      at: "regularize",
      mend: `The method can be ${REGULARIZERS.join(", ")}, the strength any number above 0.`,
    });
  const slope = SLOPES[method](plan, strength, steps);
  return {
    name: `${optimizer.name}, ${method} ${strength}`,
    slots: optimizer.slots,
    update(g, of) {
      const more = slope(g, of);
      return optimizer.update(g, more === undefined ? of : { ...of, gradient: g.add(of.gradient, more) });
    },
  };
}

/** The slope of a penalty by a weight, flat; undefined where it has none. */
type Slope = (g: Emitter, of: Update) => string | undefined;

const SLOPES: Readonly<Record<RegularizeMethod, (plan: Plan, strength: number, steps: number) => Slope>> = {
  "group-lasso": groupLasso,
  growing,
  slimming({ derivation: d, groups }, strength) {
    const { scales } = kindsOf(d);
    const members = membersByWeight(groups.map(({ group }) => group));
    if (![...scales].some((name) => members.has(name)))
      throw new MinnowError("No group that is cut has a normalization with a scale.", {
        code: "prune/option",
        at: "regularize",
        mend: "Take group-lasso or growing, or a model whose normalizations were not folded away.",
      });
    return (g, { name, weight }) =>
      scales.has(name) && members.has(name) ? g.mul(g.op("Sign", [weight]), strength) : undefined;
  },
};

/** ∂ λ·√p·‖w_i‖ / ∂w = λ·√p·w / ‖w_i‖, the sum over the groups that a weight lies in. */
function groupLasso({ derivation: d, groups }: Plan, strength: number): Slope {
  const kinds = kindsOf(d);
  const counts = (weight: string) => isLearned(d, kinds, weight, false);
  const chosen = groups.map(({ group }) => group);
  const byWeight = membersByWeight(chosen);
  /** λ·√p / ‖w_i‖ for each index of a group: made where it is first asked for. */
  const factors = new Map<Emitter, Map<Group, string>>();
  const factorOf = (g: Emitter, group: Group): string => {
    const known = factors.get(g) ?? new Map<Group, string>();
    factors.set(g, known);
    const made = known.get(group) ?? factor(g, d, group, counts, strength);
    known.set(group, made);
    return made;
  };
  return (g, { name, weight }) => {
    const members = counts(name) ? (byWeight.get(name) ?? []) : [];
    if (members.length === 0) return undefined;
    const shape = g.shape(name);
    const along = members.map((membership) => spreadAlong(g, d, membership, factorOf(g, membership.group), shape));
    const total = along.reduce((sum, one) => g.add(sum, one));
    return g.mul(weight, g.reshape(g.expand(total, shape), [elements(shape)]));
  };
}

function factor(g: Emitter, d: Derivation, group: Group, counts: (weight: string) => boolean, strength: number) {
  let numbers = 0;
  const squares = group.members
    .filter(({ weight }) => counts(weight))
    .map(({ weight, axis }) => {
      const shape = g.shape(weight);
      const others = [...shape.keys()].filter((i) => i !== axis);
      const sums = g.sum(g.mul(weight, weight), others, false);
      numbers += elements(shape) / group.size;
      return gathered(g, sums, indicesOf(d.axes.get(weight)?.[axis] as never, group.variable), group.size);
    });
  if (squares.length === 0) return g.constant("float32", [group.size], new Float32Array(group.size));
  const norm = g.op("Sqrt", [g.add(g.total(squares), EPSILON)]);
  return g.div(strength * Math.sqrt(numbers), norm);
}

/** What stands at the positions of an axis, added up by the index each belongs to. */
function gathered(g: Emitter, values: string, indices: Int32Array, size: number): string {
  const order = [...indices.keys()].filter((at) => (indices[at] as number) >= 0);
  if (order.length === size && order.every((at) => indices[at] === at) && indices.length === size) return values;
  order.sort((a, b) => (indices[a] as number) - (indices[b] as number) || a - b);
  const sorted = g.op("Gather", [values, g.ints(order)], { axis: int(0) });
  return g.sum(g.reshape(sorted, [size, order.length / size]), [1], false);
}

/** A number for each index of a group at the positions of a weight's axis, 0 where the group has none; in the weight's rank. */
function spreadAlong(
  g: Emitter,
  d: Derivation,
  { group, member: { weight, axis } }: Membership,
  values: string,
  shape: readonly number[],
): string {
  const indices = indicesOf(d.axes.get(weight)?.[axis] as never, group.variable);
  const isWhole = indices.length === group.size && indices.every((index, at) => index === at);
  const padded = g.concat([values, g.constant("float32", [1], [0])], 0);
  const places = g.ints([...indices].map((index) => (index < 0 ? group.size : index)));
  const along = isWhole ? values : g.op("Gather", [padded, places], { axis: int(0) });
  return g.reshape(
    along,
    shape.map((size, i) => (i === axis ? size : 1)),
  );
}

/** ∂ λ_t/2·w² / ∂w = λ_t·w where w goes, with λ_t = λ·t/T. */
function growing({ derivation: d, masks }: Plan, strength: number, steps: number): Slope {
  return (g, { name, weight, step }) => {
    const axes = d.axes.get(name);
    const kinds = kindsOf(d);
    const stays = axes?.map((axis) => keep(axis, masks));
    if (stays === undefined || stays.every((mask) => mask === undefined) || kinds.statistics.has(name))
      return undefined;
    const going = goingOf(g.shape(name), stays);
    return g.mul(g.mul(weight, g.mul(step, strength / steps)), g.constant("float32", [going.length], going));
  };
}

/** 1 at every element that goes with some axis, row-major. */
function goingOf(shape: readonly number[], stays: readonly (Uint8Array | undefined)[]): Float32Array {
  const out = new Float32Array(elements(shape));
  let inner = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] as number;
    const mask = stays[axis];
    if (mask !== undefined)
      for (let i = 0; i < out.length; i++) if (mask[Math.floor(i / inner) % size] === 0) out[i] = 1;
    inner *= size;
  }
  return out;
}
