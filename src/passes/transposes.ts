import { ints, intsAttr } from "../ir/attrs.ts";
import type { Pass } from "./pass.ts";
import { rewriting } from "./rewrite.ts";

/** Makes one Transpose of two in a row, and none where they undo each other. */
export const mergeTransposes = (): Pass =>
  rewriting("mergeTransposes", ({ edit, note }) => {
    for (const node of edit.nodes()) {
      const before = edit.writerOf(node.inputs[0] ?? "");
      if (node.op !== "Transpose" || before?.op !== "Transpose" || node.domain !== "" || before.domain !== "") continue;
      const first = intsAttr(before, "perm");
      const second = intsAttr(node, "perm");
      const source = before.inputs[0] ?? "";
      if (first === undefined || second === undefined) continue;
      const perm = second.map((axis) => first[axis] as number);
      if (perm.every((axis, i) => axis === i)) {
        if (!edit.bypass(node, source)) continue;
      } else edit.change(node, { inputs: [source], attrs: { perm: ints(perm) } });
      note("Merged two Transposes in a row.", node);
    }
  });
