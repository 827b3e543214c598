import { int } from "../ir/attrs.ts";
import { type Dim, isKnown } from "../ir/dim.ts";
import { int64s } from "../ir/tensor.ts";
import type { Pass } from "./pass.ts";
import { rewriting } from "./rewrite.ts";

/**
 * Lets every Shape read only the axes whose sizes are not known: a constant stands for the others. What is computed from
 * the batch alone then no longer depends on how many channels there are.
 */
export const narrowShapes = (): Pass =>
  rewriting("narrowShapes", ({ graph, edit, fact, note, model }) => {
    // From opset 15 on, Shape can read some axes alone.
    if ((model.opsets.get("") ?? 0) < 15) return;
    for (const node of graph.nodes) {
      const shape = fact(node.inputs[0] ?? "")?.shape;
      const value = fact(node.outputs[0] ?? "")?.value;
      if (node.op !== "Shape" || node.domain !== "" || shape === undefined || value === undefined) continue;
      if (!value.some(isKnown) || value.every(isKnown)) continue;
      const start = node.attrs.start?.type === "int" ? Number(node.attrs.start.value) : 0;
      const first = start < 0 ? Math.max(0, start + shape.length) : start;
      const parts = value.map((dim: Dim, i) => {
        if (isKnown(dim)) return edit.weight(`${node.outputs[0]}.size`, int64s([dim]));
        const attrs = { start: int(first + i), end: int(first + i + 1) };
        return edit.add({ op: "Shape", inputs: node.inputs, attrs })[0] as string;
      });
      edit.replace(node, { op: "Concat", inputs: parts, attrs: { axis: int(0) }, outputs: node.outputs });
      note("Let a Shape read only the axes whose sizes are not known.", node);
    }
  });
