import { describe, expect, it } from "vitest";
import { arrays } from "../data/index.ts";
import { codeOf } from "../ir/dtype.ts";
import {
  float32s,
  type Graph,
  int,
  type Model,
  type Node,
  subgraph,
  type Tensor,
  type TensorData,
  tensorFrom,
  verify,
} from "../ir/index.ts";
import { normal, random } from "../numeric/random.ts";
import { toBytes } from "../onnx/index.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { convertFloat16, quantizeDynamic, quantizeWeights } from "./index.ts";

const next = random(8);
const noise = (count: number, size = 0.12): Float32Array =>
  Float32Array.from({ length: count }, () => size * normal(next));
const tensor = (...shape: number[]): Tensor => float32s(shape, noise(shape.reduce((a, b) => a * b, 1)));
const node = (op: string, inputs: string[], output: string, attrs: Node["attrs"] = {}): Node => ({
  name: `n_${output}`,
  op,
  domain: "",
  inputs,
  outputs: [output],
  attrs,
});
const graphOf = (nodes: Node[], weights: Record<string, Tensor>, inputs: Graph["inputs"], y = "y"): Graph => ({
  name: "case",
  inputs,
  outputs: [{ name: y, type: { kind: "tensor", dtype: "float32" } }],
  weights: new Map(Object.entries(weights)),
  nodes,
  valueInfo: new Map(),
});
const modelOf = (nodes: Node[], weights: Record<string, Tensor>, shape: (string | number)[] = ["N", 96]): Model => ({
  graph: graphOf(nodes, weights, [{ name: "x", type: { kind: "tensor", dtype: "float32", shape } }]),
  opsets: new Map([["", 18]]),
  irVersion: 8,
  functions: [],
});
const net = (scale = 1): Model =>
  modelOf(
    [
      node("MatMul", ["x", "w"], "a"),
      node("Cast", ["a"], "same", { to: int(codeOf("float32")) }),
      node("LayerNormalization", ["same", "g", "b"], "n"),
      node("Softmax", ["n"], "s"),
      node("Mul", ["s", "k"], "m"),
      node("MatMul", ["m", "v"], "y"),
    ],
    { w: tensor(96, 80), g: tensor(80), b: tensor(80), v: tensor(80, 64), k: float32s([], [scale]) },
  );
const x: TensorData = { dtype: "float32", shape: [5, 96], data: noise(5 * 96, 1) };

async function outputOf(
  model: Model,
  feeds: Record<string, TensorData>,
  runtime: "node" | "wasm" = "node",
): Promise<Float32Array> {
  const session = await openSession(model, { runtime });
  const { y } = await session.run(feeds);
  await session.close();
  return y!.data as Float32Array;
}

function sqnr(exact: Float32Array, other: Float32Array): number {
  let [signal, noise] = [0, 0];
  exact.forEach((value, i) => {
    signal += value * value;
    noise += (value - other[i]!) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}

const wide = (model: Model): string[] =>
  [...inferModel(model)].filter(([, { dtype }]) => dtype === "float32").map(([name]) => name);

describe("Conversion to float16", () => {
  it("halves the file, computes nearly the same on node and wasm, and keeps inputs and outputs", async () => {
    const float = net();
    const exact = await outputOf(float, { x });
    const { model } = await convertFloat16().run(float);
    verify(model);
    expect((await toBytes(model)).byteLength).toBeLessThan(0.53 * (await toBytes(float)).byteLength);
    expect(wide(model).sort()).toEqual(["x", "y"]);
    for (const runtime of ["node", "wasm"] as const)
      expect(sqnr(exact, await outputOf(model, { x }, runtime))).toBeGreaterThan(50);
    const { model: whole } = await convertFloat16({ keepIoTypes: false }).run(float);
    expect(wide(whole)).toEqual([]);
    expect(whole.graph.inputs[0]?.type).toMatchObject({ dtype: "float16" });
    await (await openSession(whole)).close();
    expect((await convertFloat16({ keepIoTypes: false }).run(whole)).model).toBe(whole);
  });

  it("leaves what is blocked in float32, by operator or by name, with no Cast between two of them", async () => {
    const float = net();
    const { model, changes } = await convertFloat16({ opBlockList: ["Softmax"], nodeBlockList: ["n_m"] }).run(float);
    verify(model);
    expect(changes.map(({ what }) => what).join()).toMatch(/operator is blocked.*it is blocked/);
    const { nodes } = model.graph;
    const between = nodes.find(({ op }) => op === "Mul")!.inputs[0];
    expect(nodes.find(({ outputs }) => outputs[0] === between)?.op).toBe("Softmax");
    expect(sqnr(await outputOf(float, { x }), await outputOf(model, { x }))).toBeGreaterThan(50);
    await (await openSession(model)).close();
  });

  it("keeps weights and, with examples, activations that 16 bits do not reach in float32", async () => {
    const large = net(1e6);
    const exact = await outputOf(large, { x });
    const { model, changes } = await convertFloat16().run(large);
    expect(changes.some(({ what, at }) => what.includes("do not reach") && at === 'Mul "n_m"')).toBe(true);
    const data = arrays({ x: { dtype: "float32", shape: [5, 96], data: x.data as Float32Array } });
    const { model: guarded } = await convertFloat16({ data }).run(
      modelOf([node("Exp", ["x"], "e"), node("Exp", ["e"], "f"), node("Log", ["f"], "y")], {}),
    );
    const casts = guarded.graph.nodes.filter(({ op }) => op === "Cast").map(({ outputs }) => outputs[0]);
    expect(casts.length).toBeGreaterThan(0);
    expect((await outputOf(model, { x })).every(Number.isFinite)).toBe(exact.every(Number.isFinite));
    const small = x.data.slice(0, 96) as Float32Array;
    const feeds = { x: { ...x, shape: [1, 96], data: small } };
    const sums = await outputOf(guarded, feeds);
    expect(sums.every((value, i) => Math.abs(value - Math.exp(small[i]!)) < 0.01 * Math.exp(small[i]!))).toBe(true);
  });

  it("goes into the graphs of an If, and leaves inputs that ONNX defines for float32 alone", async () => {
    const branch = (op: string, y: string): Graph => graphOf([node(op, ["x", "k"], y)], {}, [], y);
    const float = modelOf(
      [
        node("If", ["on"], "r", {
          then_branch: subgraph(branch("Mul", "p")),
          else_branch: subgraph(branch("Add", "q")),
        }),
        node("Resize", ["r", "", "scales"], "y", {
          mode: { type: "string", value: new TextEncoder().encode("nearest") },
        }),
      ],
      { on: tensorFrom("bool", [], [1]), k: float32s([], [3]), scales: float32s([4], [1, 1, 2, 2]) },
      ["N", 3, 8, 8],
    );
    const feeds = { x: { dtype: "float32" as const, shape: [1, 3, 8, 8], data: noise(192, 1) } };
    const { model } = await convertFloat16().run(float);
    verify(model);
    expect(sqnr(await outputOf(float, feeds), await outputOf(model, feeds))).toBeGreaterThan(50);
  });

  it("takes what other formats made: q4f16 is float16 of 4-bit weights, and dynamic integers stay integers", async () => {
    const float = net();
    const exact = await outputOf(float, { x });
    for (const pass of [
      quantizeWeights({ bits: 8, accuracyLevel: 0 }),
      quantizeWeights({ bits: 8, quantFormat: "QDQ" }),
      quantizeDynamic(),
    ]) {
      const { model: few } = await pass.run(float);
      const { model } = await convertFloat16().run(few);
      verify(model);
      expect(sqnr(exact, await outputOf(model, { x })), pass.name).toBeGreaterThan(25);
      expect((await toBytes(model)).byteLength).toBeLessThan((await toBytes(few)).byteLength + 600);
    }
  });

  it("to bfloat16 gives a valid model, which ONNX Runtime has no CPU kernels for", async () => {
    const { model } = await convertFloat16({ to: "bfloat16" }).run(net(1e6));
    verify(model);
    expect(wide(model).sort()).toEqual(["x", "y"]);
    await expect(openSession(model)).rejects.toMatchObject({ code: "runtime/load" });
  });

  it("leaves a model without floats as it is", async () => {
    const { graph, ...rest } = net();
    const ids: Graph = {
      ...graph,
      inputs: [{ name: "x", type: { kind: "tensor", dtype: "int64", shape: ["N"] } }],
      nodes: [node("Reshape", ["x", "to"], "y")],
      weights: new Map([["to", tensorFrom("int64", [1], [-1])]]),
      outputs: [{ name: "y" }],
    };
    const model = { ...rest, graph: ids };
    expect((await convertFloat16().run(model)).model).toBe(model);
    expect(() => convertFloat16({ to: "float8" as "float16" })).toThrow(/float8/);
  });
});
