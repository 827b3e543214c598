import { heldBy } from "../ops/shape.ts";
import type { Pass } from "./pass.ts";
import { rewriting } from "./rewrite.ts";

/** Makes weights of Constant nodes, under the same names. */
export const constantsToWeights = (): Pass =>
  rewriting("constantsToWeights", ({ graph, edit, note }) => {
    for (const node of graph.nodes) {
      if (node.op !== "Constant" || node.domain !== "" || edit.isOutput(node.outputs[0] ?? "")) continue;
      const value = heldBy(node);
      if (value === undefined) continue;
      edit.harden(node, [value]);
      note("Made a weight of a Constant node.", node);
    }
  });
