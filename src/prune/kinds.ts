import { fixedValues, residualBlocks } from "../passes/residual.ts";
import { type Axis, leaves, type Var } from "./axis.ts";
import type { Derivation } from "./derive.ts";
import type { Group } from "./groups.ts";

/**
 * What a group is, as the model's own products and sums show it:
 * - `heads`: whole heads of attention: both operands of a product of two computed values have the axis, and so has the result.
 * - `head-size`: what a head is wide: such a product sums over it, or only one operand and the result have it.
 * - `width`: the values that residual branches start from and are added to.
 * - `ffn`: inside a residual branch: the feed-forward width of a transformer, the inner channels of a block of convolutions.
 * - `channels`: all others.
 */
export type GroupKind = "heads" | "head-size" | "width" | "ffn" | "channels";

export const KINDS: readonly GroupKind[] = ["heads", "head-size", "width", "ffn", "channels"];

/** The kind of each group. */
export function kindsOf(d: Derivation, groups: readonly Group[]): ReadonlyMap<Group, GroupKind> {
  const { heads, sizes } = attention(d);
  const { width, inside } = residual(d);
  const kindOf = (v: Var): GroupKind => {
    if (heads.has(v)) return "heads";
    if (sizes.has(v)) return "head-size";
    if (width.has(v)) return "width";
    return inside.has(v) ? "ffn" : "channels";
  };
  return new Map(groups.map((group) => [group, kindOf(group.variable)]));
}

const leavesOf = (axes: readonly Axis[] | undefined): Set<Var> =>
  new Set((axes ?? []).flatMap((axis) => [...leaves(axis)]));

/** The axes of products of two computed values. */
function attention(d: Derivation): { heads: ReadonlySet<Var>; sizes: ReadonlySet<Var> } {
  const fixed = fixedValues(d.model);
  const [heads, sizes] = [new Set<Var>(), new Set<Var>()];
  for (const { node, contractions } of d.flows) {
    const summed = new Set(contractions.filter(({ kind }) => kind === "+").map(({ input }) => input));
    const operands = node.inputs.filter((name, i) => name !== "" && summed.has(i) && !fixed.has(name));
    const [a, b] = operands.map((name) => leavesOf(d.axes.get(name)));
    if (a === undefined || b === undefined || operands.length !== 2) continue;
    const out = leavesOf(d.axes.get(node.outputs[0] ?? ""));
    for (const v of new Set([...a, ...b])) (a.has(v) && b.has(v) && out.has(v) ? heads : sizes).add(v);
  }
  return { heads, sizes };
}

/** The axes of what residual branches start from, and of what is computed inside them. */
function residual(d: Derivation): { width: ReadonlySet<Var>; inside: ReadonlySet<Var> } {
  const [width, inside] = [new Set<Var>(), new Set<Var>()];
  for (const { branches } of residualBlocks(d.model))
    for (const { from, nodes } of branches) {
      for (const v of leavesOf(d.axes.get(from))) width.add(v);
      for (const name of nodes.flatMap(({ outputs }) => outputs))
        for (const v of leavesOf(d.axes.get(name))) inside.add(v);
    }
  return { width, inside };
}
