import { isFloat } from "../ir/dtype.ts";
import { elements } from "../ir/tensor.ts";
import { type Axis, frozenReason, indicesOf, leaves, sizeOf, terms, type Var } from "./axis.ts";
import type { Derivation } from "./derive.ts";

/** An axis of a float weight that a group runs along. */
export interface Member {
  readonly weight: string;
  readonly axis: number;
  /** How many positions of the axis one index of the group covers. */
  readonly multiplicity: number;
}

/** Indices that are cut together: index i goes from every member at once. */
export interface Group {
  /** Of the first layer it belongs to and the axis there: `layer1.0.conv1 [0]`. */
  readonly name: string;
  readonly variable: Var;
  readonly size: number;
  readonly members: readonly Member[];
  /** What depends on how many indices there are: where this is empty, a cut takes away nothing but its own terms. */
  readonly counted: readonly string[];
}

/** An axis of a float weight, or part of one, that stays as it is. */
export interface FrozenAxis {
  readonly weight: string;
  /** The first node that reads it. */
  readonly reader: string;
  readonly axis: number;
  readonly reason: string;
}

/** All that can be cut of a model, and why the rest cannot. */
export interface Groups {
  readonly groups: readonly Group[];
  readonly frozen: readonly FrozenAxis[];
  /** Share of all float constants that lie in at least one group, and in groups along two axes. */
  readonly coverage: { readonly one: number; readonly two: number };
}

/** The groups of a model whose axes were followed, in the order of its layers. */
export function groupsOf(derivation: Derivation): Groups {
  const found = new Map<Var, { name: string; members: Member[] }>();
  const frozen: FrozenAxis[] = [];
  const shares: { size: number; free: readonly number[] }[] = [];
  for (const { weight, reader } of floatWeights(derivation)) {
    const axes = derivation.axes.get(weight) ?? [];
    shares.push({ size: elements(axes.map(sizeOf)), free: axes.map(freeShare) });
    for (const [axis, own] of axes.entries()) {
      const reason = frozenPart(own);
      if (reason !== undefined) frozen.push({ weight, reader, axis, reason });
      for (const [variable, positions] of positionsByVariable(own)) {
        const group = found.get(variable) ?? { name: `${reader} [${axis}]`, members: [] };
        found.set(variable, group);
        group.members.push({ weight, axis, multiplicity: positions / variable.size });
      }
    }
  }
  const groups = [...found].map(
    ([variable, { name, members }]): Group => ({
      name,
      variable,
      size: variable.size,
      members,
      counted: [...(variable.counted ?? [])],
    }),
  );
  return { groups, frozen, coverage: covered(shares) };
}

/** Float weights of more than one number, each with the first node that reads it, in the order of the nodes. */
export function* floatWeights({ model, axes }: Derivation): Generator<{ weight: string; reader: string }> {
  const seen = new Set<string>();
  for (const node of model.graph.nodes)
    for (const name of node.inputs) {
      const tensor = model.graph.weights.get(name);
      if (tensor === undefined || seen.has(name) || !isFloat(tensor.dtype) || !axes.has(name)) continue;
      seen.add(name);
      if (elements(tensor.shape) > 1) yield { weight: name, reader: node.name || (node.outputs[0] ?? node.op) };
    }
}

/** How many positions of an axis belong to each variable that can be cut. */
function positionsByVariable(axis: Axis): Map<Var, number> {
  const out = new Map<Var, number>();
  for (const term of terms(axis)) {
    const size = sizeOf({ prod: term });
    for (const leaf of new Set(leaves({ prod: term })))
      if (leaf.frozen === undefined) out.set(leaf, (out.get(leaf) ?? 0) + size);
  }
  return out;
}

/** The reason of the part of an axis that cannot be cut, where there is one. */
function frozenPart(axis: Axis): string | undefined {
  for (const term of terms(axis)) {
    const reason = frozenReason({ prod: term });
    if (reason !== undefined && term.length > 0) return reason;
  }
  return undefined;
}

function freeShare(axis: Axis): number {
  let free = 0;
  for (const term of terms(axis)) if (frozenReason({ prod: term }) === undefined) free += sizeOf({ prod: term });
  return free / Math.max(1, sizeOf(axis));
}

function covered(weights: readonly { size: number; free: readonly number[] }[]): Groups["coverage"] {
  let [all, one, two] = [0, 0, 0];
  for (const { size, free } of weights) {
    const none = free.reduce((product, share) => product * (1 - share), 1);
    const just = free.reduce(
      (sum, share, i) => sum + share * free.reduce((p, other, j) => (i === j ? p : p * (1 - other)), 1),
      0,
    );
    all += size;
    one += size * (1 - none);
    two += size * (1 - none - just);
  }
  return { one: one / Math.max(1, all), two: two / Math.max(1, all) };
}

/** A member with the group it belongs to and its place in it. */
export interface Membership {
  readonly group: Group;
  readonly member: Member;
  readonly place: number;
}

/** The members of all groups by the weight they are of. */
export function membersByWeight(groups: readonly Group[]): Map<string, Membership[]> {
  const out = new Map<string, Membership[]>();
  for (const group of groups)
    for (const [place, member] of group.members.entries()) {
      const list = out.get(member.weight) ?? [];
      list.push({ group, member, place });
      out.set(member.weight, list);
    }
  return out;
}

/** What stands at the positions of a member's axis, added up by the index of the group that they belong to. */
export function folded(d: Derivation, { variable, size }: Group, { weight, axis }: Member, along: Float64Array) {
  const out = new Float64Array(size);
  const own = d.axes.get(weight)?.[axis];
  if (own === undefined) return out;
  indicesOf(own, variable).forEach((index, position) => {
    if (index >= 0) out[index] = (out[index] as number) + (along[position] as number);
  });
  return out;
}
