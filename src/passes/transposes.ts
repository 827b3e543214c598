import { ints, intsAttr } from "../ir/attrs.ts";
import type { Dim } from "../ir/dim.ts";
import type { Pass } from "./pass.ts";
import { rewriting } from "./rewrite.ts";
import { reshapeTarget, setTarget } from "./targets.ts";

/**
 * Makes one Transpose of two in a row, none where they undo each other, and a Reshape of one that only moves axes of
 * size 1: that moves no element.
 */
export const mergeTransposes = (): Pass =>
  rewriting("mergeTransposes", (site) => {
    const { edit, note } = site;
    for (const node of edit.nodes()) {
      const [x = ""] = node.inputs;
      const perm = intsAttr(node, "perm");
      if (node.op !== "Transpose" || node.domain !== "" || perm === undefined) continue;
      const before = edit.writerOf(x);
      const first = before?.op === "Transpose" && before.domain === "" ? intsAttr(before, "perm") : undefined;
      const shape = site.fact(x)?.shape;
      if (first !== undefined) {
        const both = perm.map((axis) => first[axis] as number);
        const source = before?.inputs[0] ?? "";
        if (!isOrdered(both)) edit.change(node, { inputs: [source], attrs: { perm: ints(both) } });
        else if (!edit.bypass(node, source)) continue;
        note("Merged two Transposes in a row.", node);
      } else if (shape !== undefined && !isOrdered(perm) && isOrdered(perm.filter((axis) => shape[axis] !== 1))) {
        const target = reshapeTarget(
          perm.map((axis) => shape[axis] as Dim),
          shape,
        );
        if (target === undefined) continue;
        setTarget(site, edit.change(node, { op: "Reshape" }), x, target);
        note("Made a Reshape of a Transpose that only moves axes of size 1.", node);
      }
    }
  });

const isOrdered = (axes: readonly number[]): boolean =>
  axes.every((axis, i) => i === 0 || axis > (axes[i - 1] as number));
