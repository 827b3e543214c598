import { type Dim, isKnown, sameDim, UNKNOWN } from "../ir/dim.ts";
import type { Node } from "../ir/graph.ts";
import { int64s } from "../ir/tensor.ts";
import { sameShape } from "./identities.ts";
import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

const RESHAPING: ReadonlySet<string> = new Set(["Reshape", "Flatten", "Squeeze", "Unsqueeze"]);

const reshapes = (node: Node | undefined): node is Node => node?.domain === "" && RESHAPING.has(node.op);

/** Makes one Reshape of several nodes in a row that only regroup axes, and none where they end as they began. */
export const mergeReshapes = (): Pass =>
  rewriting("mergeReshapes", (site) => {
    const { edit, note } = site;
    for (const node of edit.nodes()) {
      const before = edit.writerOf(node.inputs[0] ?? "");
      if (!reshapes(node) || !reshapes(before)) continue;
      const source = before.inputs[0] ?? "";
      const shape = site.fact(node.outputs[0] ?? "")?.shape;
      if (sameShape(site.fact(source)?.shape, shape)) {
        if (edit.bypass(node, source)) note("Took out nodes that regroup axes and back again.", node);
        continue;
      }
      const target = shape && targetOf(shape, site.fact(source)?.shape);
      if (target === undefined) continue;
      setTarget(site, node, source, target);
      note("Merged two nodes in a row that regroup axes.", node);
    }
  });

/** Gives every Reshape whose result has a known shape that shape as a constant, with −1 or 0 for what is symbolic in it. */
export const fixReshapeTargets = (): Pass =>
  rewriting("fixReshapeTargets", (site) => {
    for (const node of site.edit.nodes()) {
      if (node.op !== "Reshape" || node.domain !== "" || site.constant(node.inputs[1] ?? "") !== undefined) continue;
      const shape = site.fact(node.outputs[0] ?? "")?.shape;
      const target = shape && targetOf(shape, site.fact(node.inputs[0] ?? "")?.shape);
      if (target === undefined) continue;
      setTarget(site, node, node.inputs[0] ?? "", target);
      site.note("Replaced a computed shape by a constant one.", node);
    }
  });

function setTarget({ edit }: Site, node: Node, source: string, target: readonly number[]): void {
  const shape = edit.weight(`${node.outputs[0]}.shape`, int64s(target));
  edit.change(node, { op: "Reshape", inputs: [source, shape], attrs: {} });
}

/**
 * The numbers that make Reshape give `shape`: sizes as they are, one that is symbolic as −1, and as 0 those the input
 * has at the same place; undefined where that does not determine it.
 */
export function targetOf(shape: readonly Dim[], input: readonly Dim[] | undefined): number[] | undefined {
  if (shape.some((dim) => dim === 0 || dim === UNKNOWN)) return undefined;
  const symbolic = shape.filter((dim) => !isKnown(dim)).length;
  const target = shape.map((dim, i) => {
    if (isKnown(dim)) return dim;
    return symbolic > 1 && sameDim(input?.[i] ?? UNKNOWN, dim) ? 0 : -1;
  });
  return target.filter((size) => size === -1).length > 1 ? undefined : target;
}
