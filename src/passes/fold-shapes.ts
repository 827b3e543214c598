import { isKnown } from "../ir/dim.ts";
import { type DType, isFloat } from "../ir/dtype.ts";
import { type Tensor, tensorFrom } from "../ir/tensor.ts";
import type { Fact } from "../ops/define.ts";
import type { Pass } from "./pass.ts";
import { type ConstantOptions, rewriting } from "./rewrite.ts";

/** Makes weights of small values that follow from the model alone: shapes, axes, bounds and what is computed of them. */
export const foldShapes = (options: ConstantOptions = {}): Pass =>
  rewriting(
    "foldShapes",
    ({ graph, edit, fact, constant, note }) => {
      /** Floats that change with a weight that is kept. */
      const moving = new Set<string>();
      for (const name of graph.weights.keys()) if (edit.constant(name) && !constant(name)) moving.add(name);
      for (const node of graph.nodes) {
        const moves = node.inputs.some((name) => moving.has(name));
        for (const name of node.outputs) if (moves && isFloat(fact(name)?.dtype ?? "float32")) moving.add(name);
        if (node.outputs.some((name) => name === "" || edit.isOutput(name) || moving.has(name))) continue;
        const values = node.outputs.map((name) => constantOf(fact(name)));
        if (values.length === 0 || !values.every((value) => value !== undefined)) continue;
        edit.harden(node, values);
        note(`Made a constant of what ${node.op} computes from shapes.`, node);
      }
    },
    options,
  );

const COMPUTED: ReadonlySet<DType> = new Set(["int64", "int32", "bool", "float32", "float64", "uint8", "int8"]);

function constantOf(fact: Fact | undefined): Tensor | undefined {
  const { dtype, shape, value } = fact ?? {};
  if (dtype === undefined || !COMPUTED.has(dtype) || !shape?.every(isKnown) || !value?.every(isKnown)) return undefined;
  // Numbers are doubles: the bound "to the end", 2⁶³ − 1, is not itself any more, and 2⁶³ would be −2⁶³ as an int64.
  if (dtype === "int64" && !value.every(Number.isSafeInteger)) return undefined;
  return tensorFrom(dtype, shape as readonly number[], value as readonly number[]);
}
