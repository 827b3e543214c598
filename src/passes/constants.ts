import type { Node } from "../ir/graph.ts";
import { float32s, int64s, type Tensor, tensorFrom } from "../ir/tensor.ts";
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

/** What a Constant node holds, whichever attribute it stands in; undefined for sparse ones and a function's own. */
function heldBy({ attrs }: Node): Tensor | undefined {
  for (const [name, attr] of Object.entries(attrs)) {
    if (name === "value" && attr.type === "tensor") return attr.value;
    if (name === "value_int" && attr.type === "int") return tensorFrom("int64", [], [attr.value]);
    if (name === "value_ints" && attr.type === "ints") return int64s(attr.value);
    if (name === "value_float" && attr.type === "float") return float32s([], [attr.value]);
    if (name === "value_floats" && attr.type === "floats") return float32s([attr.value.length], attr.value);
    if (name === "value_string" && attr.type === "string") return strings([], [attr.value]);
    if (name === "value_strings" && attr.type === "strings") return strings([attr.value.length], attr.value);
  }
  return undefined;
}

const strings = (shape: readonly number[], values: readonly Uint8Array[]): Tensor => ({
  dtype: "string",
  shape,
  strings: values,
  read: async () => new Uint8Array(0),
});
