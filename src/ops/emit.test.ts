import { expect, it } from "vitest";
import { int } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, int64s, type TensorData } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { openSession } from "../runtime/index.ts";
import { differentiate } from "../train/differentiate.ts";

/** loss = Σ over some runs of rows of x of (random numbers) · rows; with the gradient of x worked out by hand. */
function runsOf(runs: readonly (readonly [number, number])[], rows = 7, columns = 3) {
  const next = random(11);
  const e = edit({
    name: "g",
    inputs: [{ name: "x", type: { kind: "tensor", dtype: "float32", shape: [rows, columns] } }],
    outputs: [],
    weights: new Map(),
    nodes: [],
    valueInfo: new Map(),
  });
  const expected = new Float32Array(rows * columns);
  const terms = runs.map(([from, to]) => {
    const numbers = Float32Array.from({ length: (to - from) * columns }, () => Math.floor(next() * 9) - 4);
    numbers.forEach((value, i) => {
      const at = from * columns + i;
      expected[at] = (expected[at] as number) + value;
    });
    const bounds = [int64s([from]), int64s([to]), int64s([0])].map((value) => e.weight("bound", value));
    const [taken] = e.add({ op: "Slice", inputs: ["x", ...bounds] });
    const [product] = e.add({
      op: "Mul",
      inputs: [taken as string, e.weight("w", float32s([to - from, columns], numbers))],
    });
    return e.add({ op: "ReduceSum", inputs: [product as string], attrs: { keepdims: int(0) } })[0] as string;
  });
  e.add({ op: "Sum", inputs: terms, outputs: ["loss"] });
  e.setOutputs([{ name: "loss" }]);
  const model: Model = { graph: e.done(), opsets: new Map([["", 21]]), irVersion: 10, functions: [] };
  return { model, expected };
}

it.each([
  {
    what: "side by side, which cover an axis",
    runs: [
      [3, 5],
      [0, 3],
      [5, 7],
    ],
    ops: { Concat: 1, Pad: 0, Add: 0 },
  },
  {
    what: "with gaps between and around them",
    runs: [
      [1, 2],
      [4, 6],
    ],
    ops: { Concat: 1, Pad: 0, Add: 0 },
  },
  {
    what: "that overlap",
    runs: [
      [0, 4],
      [2, 7],
      [4, 6],
    ],
    ops: { Concat: 1, Pad: 1, Add: 1 },
  },
  {
    what: "of which two are the same",
    runs: [
      [2, 5],
      [2, 5],
    ],
    ops: { Concat: 0, Pad: 2, Add: 1 },
  },
] as const)(
  "gradients of runs of positions $what are joined rather than padded and summed where they can be",
  async ({ runs, ops }) => {
    const { model, expected } = runsOf(runs);
    const { model: both, gradients } = differentiate(model, { loss: "loss", wrt: ["x"] });
    const made = Object.keys(ops).map((op) => [op, both.graph.nodes.filter((node) => node.op === op).length]);
    expect(Object.fromEntries(made)).toEqual(ops);
    const session = await openSession(both);
    const found = await session.run({ x: { dtype: "float32", shape: [7, 3], data: new Float32Array(21) } });
    await session.close();
    expect((found[gradients.get("x") as string] as TensorData).data).toEqual(expected);
  },
);
