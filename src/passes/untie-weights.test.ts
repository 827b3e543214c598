import { expect, it } from "vitest";
import { edit, float32s, type Model } from "../ir/index.ts";
import { untieWeights } from "./untie-weights.ts";

const ones = [1, 1, 1];

function shared(values: readonly number[]): Model {
  const input = { name: "x", type: { kind: "tensor", dtype: "float32", shape: [2, 3] } } as const;
  const weights = new Map([["a", float32s([3], values)]]);
  const e = edit({ name: "", inputs: [input], outputs: [], weights, nodes: [], valueInfo: new Map() });
  e.add({ op: "Identity", inputs: ["a"], outputs: ["b"] });
  const [x1 = ""] = e.add({ op: "Mul", inputs: ["x", "a"] });
  const [x2 = ""] = e.add({ op: "Mul", inputs: [x1, "b"] });
  e.setOutputs(e.add({ op: "Add", inputs: [x2, "a"] }).map((name) => ({ name })));
  return { graph: e.done(), opsets: new Map([["", 18]]), irVersion: 8, functions: [] };
}

it("every node reads ones of its own, under the name the exporter left", async () => {
  const { graph } = (await untieWeights().run(shared(ones))).model;
  expect(graph.nodes.map(({ op, inputs }) => [op, inputs[1]])).toEqual([
    ["Mul", "a"],
    ["Mul", "b"],
    ["Add", "a_1"],
  ]);
  for (const name of ["a", "b", "a_1"]) expect(graph.weights.get(name)?.shape, name).toEqual([3]);
});

it("numbers that differ were trained so, and stay shared", async () => {
  const model = shared([1, 1, 2]);
  expect((await untieWeights().run(model)).model).toBe(model);
});
