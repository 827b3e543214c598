import { readFloats, type Tensor } from "../ir/tensor.ts";
import type { Pass } from "./pass.ts";
import { rewriting } from "./rewrite.ts";

/**
 * Gives each node that reads a vector of equal numbers one of its own. Exporters merge weights that are equal, and the scales,
 * shifts and statistics of normalizations nobody has trained yet all are: ones and zeros, which must not learn as one weight.
 * Where an exporter left the name, as the output of an Identity, the copy has it. Vectors of numbers that differ stay shared:
 * they were trained so.
 */
export const untieWeights = (): Pass =>
  rewriting("untieWeights", async ({ graph, edit, constant, note }) => {
    const vectors = [...graph.weights].filter(([name, { dtype, shape }]) => {
      const many = dtype === "float32" && shape.length === 1 && (shape[0] as number) > 1;
      return many && constant(name) !== undefined && edit.readersOf(name).length > 1;
    });
    const said = (at: Parameters<typeof note>[1]) =>
      note("Gave equal weights that were merged back to their nodes.", at);
    for (const [name, tensor] of vectors) {
      if (!(await isEven(tensor))) continue;
      for (const node of edit.readersOf(name)) {
        if (node.op !== "Identity" || node.domain !== "" || edit.isOutput(node.outputs[0] ?? "")) continue;
        edit.harden(node, [tensor]);
        said(node);
      }
      for (const node of edit.readersOf(name).slice(1)) {
        if (!node.inputs.includes(name)) continue;
        const own = edit.weight(name, tensor);
        edit.change(node, { inputs: node.inputs.map((input) => (input === name ? own : input)) });
        said(node);
      }
    }
  });

async function isEven(tensor: Tensor): Promise<boolean> {
  const values = await readFloats(tensor);
  return values.every((value) => value === values[0]);
}
