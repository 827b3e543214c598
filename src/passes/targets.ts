import { type Dim, isKnown, sameDim, UNKNOWN } from "../ir/dim.ts";
import type { Node } from "../ir/graph.ts";
import { int64s } from "../ir/tensor.ts";
import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

/** Gives every Reshape and Expand whose result has a known shape a constant to go by, with a symbolic batch too. */
export const fixTargets = (): Pass =>
  rewriting("fixTargets", (site) => {
    for (const node of site.edit.nodes()) {
      if (node.domain !== "" || site.constant(node.inputs[1] ?? "") !== undefined) continue;
      const shape = site.fact(node.outputs[0] ?? "")?.shape;
      const input = site.fact(node.inputs[0] ?? "")?.shape;
      const find = node.op === "Reshape" ? reshapeTarget : node.op === "Expand" ? expandTarget : undefined;
      const target = shape && find?.(shape, input);
      if (target === undefined) continue;
      setTarget(site, node, node.inputs[0] ?? "", target);
      site.note(`Replaced the computed shape of ${node.op} by a constant one.`, node);
    }
  });

/** Gives a node another input and a constant target. */
export function setTarget({ edit }: Site, node: Node, source: string, target: readonly number[]): void {
  const shape = edit.weight(`${node.outputs[0]}.shape`, int64s(target));
  edit.change(node, { inputs: [source, shape], attrs: {} });
}

/**
 * The numbers that make Reshape give `shape`: sizes as they are, one that is symbolic as −1, and of several those the
 * input has at the same place as 0; undefined where that does not determine it.
 */
export function reshapeTarget(shape: readonly Dim[], input: readonly Dim[] | undefined): number[] | undefined {
  if (shape.some((dim) => dim === 0 || dim === UNKNOWN)) return undefined;
  const symbolic = shape.filter((dim) => !isKnown(dim)).length;
  const target = shape.map((dim, i) => {
    if (isKnown(dim)) return dim;
    return symbolic > 1 && sameDim(input?.[i] ?? UNKNOWN, dim) ? 0 : -1;
  });
  return target.filter((size) => size === -1).length > 1 ? undefined : target;
}

/** The numbers that make Expand give `shape`: 1 where the input has the size already. */
function expandTarget(shape: readonly Dim[], input: readonly Dim[] | undefined): number[] | undefined {
  if (input === undefined) return undefined;
  const offset = shape.length - input.length;
  const target = shape.map((dim, i) => (sameDim(input[i - offset] ?? UNKNOWN, dim) ? 1 : dim));
  return target.every(isKnown) ? target : undefined;
}
