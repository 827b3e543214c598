import { expect, it } from "vitest";
import { edit, type Model } from "../ir/index.ts";
import { float32s, int64s, tensorFrom } from "../ir/tensor.ts";
import { openSession } from "../runtime/index.ts";
import { foldShapes } from "./fold-shapes.ts";

it("a slice to the end stays one: the largest int64 is not folded through a double", async () => {
  const input = { name: "x", type: { kind: "tensor", dtype: "float32", shape: [6] } } as const;
  const e = edit({ name: "", inputs: [input], outputs: [], weights: new Map(), nodes: [], valueInfo: new Map() });
  const [zero, two] = [e.weight("zero", int64s([0])), e.weight("two", int64s([2]))];
  const last = e.weight("last", tensorFrom("int64", [], [2n ** 63n - 1n]));
  const [end = ""] = e.add({ op: "Unsqueeze", inputs: [last, zero] });
  const [y = ""] = e.add({ op: "Slice", inputs: ["x", zero, end, zero, two] });
  e.setOutputs([{ name: y }]);
  const model: Model = { graph: e.done(), opsets: new Map([["", 18]]), irVersion: 8, functions: [] };
  const session = await openSession((await foldShapes().run(model)).model);
  const x = { dtype: "float32", shape: [6], data: Float32Array.of(0, 1, 2, 3, 4, 5) } as const;
  const found = await session.run({ x });
  await session.close();
  expect(found[y]?.data).toEqual(Float32Array.of(0, 2, 4));
});

it("what a weight that is kept moves is no constant, however small", async () => {
  const input = { name: "x", type: { kind: "tensor", dtype: "float32", shape: [2] } } as const;
  const e = edit({ name: "", inputs: [input], outputs: [], weights: new Map(), nodes: [], valueInfo: new Map() });
  const [scale = ""] = e.add({ op: "Abs", inputs: [e.weight("scale", float32s([2], [-1, 2]))] });
  const [y = ""] = e.add({ op: "Mul", inputs: ["x", scale] });
  e.setOutputs([{ name: y }]);
  const model: Model = { graph: e.done(), opsets: new Map([["", 18]]), irVersion: 8, functions: [] };
  expect((await foldShapes({ keepWeights: true }).run(model)).model).toBe(model);
  expect((await foldShapes().run(model)).model.graph.nodes.length).toBe(1);
});
