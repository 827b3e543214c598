import { expect, it } from "vitest";
import { int } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, int64s, type TensorData } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { openSession } from "../runtime/index.ts";
import { differentiate } from "../train/differentiate.ts";

/** loss = Σ over some runs of rows of x of (random numbers) · rows; with the gradient of x worked out by hand. */
function runsOf(runs: readonly (readonly [number, number])[], step = 1, rows = 7, columns = 3) {
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
    const count = Math.ceil((to - from) / step);
    const numbers = Float32Array.from({ length: count * columns }, () => Math.floor(next() * 9) - 4);
    numbers.forEach((value, i) => {
      const at = (from + Math.floor(i / columns) * step) * columns + (i % columns);
      expected[at] = (expected[at] as number) + value;
    });
    const bounds = [int64s([from]), int64s([to]), int64s([0]), int64s([step])].map((value) => e.weight("bound", value));
    const [taken] = e.add({ op: "Slice", inputs: ["x", ...bounds] });
    const [product] = e.add({
      op: "Mul",
      inputs: [taken as string, e.weight("w", float32s([count, columns], numbers))],
    });
    return e.add({ op: "ReduceSum", inputs: [product as string], attrs: { keepdims: int(0) } })[0] as string;
  });
  e.add({ op: "Sum", inputs: terms, outputs: ["loss"] });
  e.setOutputs([{ name: "loss" }]);
  const model: Model = { graph: e.done(), opsets: new Map([["", 21]]), irVersion: 10, functions: [] };
  return { model, expected };
}

async function gradientIn(model: Model, gradient: string, rows: number): Promise<TensorData["data"]> {
  const session = await openSession(model);
  const found = await session.run({ x: { dtype: "float32", shape: [rows, 3], data: new Float32Array(rows * 3) } });
  await session.close();
  return (found[gradient] as TensorData).data;
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

it("gradients of every second position and of the others between them are interleaved by one Concat", async () => {
  const { model, expected } = runsOf(
    [
      [1, 8],
      [0, 8],
    ],
    2,
    8,
  );
  const { model: both, gradients } = differentiate(model, { loss: "loss", wrt: ["x"] });
  const ops = both.graph.nodes.map((node) => node.op);
  expect(ops.filter((op) => op === "Concat").length).toBe(1);
  expect(ops.filter((op) => op === "Pad" || op === "Add").length).toBe(0);
  expect(await gradientIn(both, gradients.get("x") as string, 8)).toEqual(expected);
});
