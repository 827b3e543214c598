import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { float32s, int, ints, type Model, type Node, type Tensor, type TensorData, verify } from "../ir/index.ts";
import { normal, random } from "../numeric/random.ts";
import { load, toBytes } from "../onnx/index.ts";
import { openSession, type Runtime } from "../runtime/index.ts";
import { quantizeDynamic } from "./index.ts";

const next = random(5);
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
const modelOf = (nodes: Node[], weights: Record<string, Tensor>, shape: (number | string)[]): Model => ({
  graph: {
    name: "case",
    inputs: [{ name: "x", type: { kind: "tensor", dtype: "float32", shape } }],
    outputs: [{ name: "y" }],
    weights: new Map(Object.entries(weights)),
    nodes,
    valueInfo: new Map(),
  },
  opsets: new Map([["", 17]]),
  irVersion: 8,
  functions: [],
});
/** Two layers on the same input, one of them turned and with a bias, and one that reuses a matrix. */
const net = (): Model =>
  modelOf(
    [
      node("MatMul", ["x", "w"], "a"),
      node("Gemm", ["x", "v", "b"], "c", { transB: int(1) }),
      node("Add", ["a", "c"], "d"),
      node("Relu", ["d"], "e"),
      node("MatMul", ["e", "u"], "f"),
      node("MatMul", ["f", "w"], "y"),
    ],
    { w: tensor(96, 80), v: tensor(80, 96), b: tensor(80), u: tensor(80, 96) },
    ["N", 96],
  );
const x: TensorData = { dtype: "float32", shape: [6, 96], data: noise(6 * 96, 1) };

async function outputOf(
  model: Model,
  feeds: Record<string, TensorData>,
  runtime: Runtime = "node",
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

describe("Dynamic quantization", () => {
  it("takes a quarter of the bytes and computes nearly the same, on node and wasm", async () => {
    const float = net();
    const [exact, size] = [await outputOf(float, { x }), (await toBytes(float)).byteLength];
    for (const weightType of ["int8", "uint8"] as const)
      for (const reduceRange of [false, true]) {
        const { model } = await quantizeDynamic({ weightType, reduceRange }).run(float);
        verify(model);
        expect((await toBytes(model)).byteLength).toBeLessThan(0.33 * size);
        for (const runtime of ["node", "wasm"] as const)
          expect(sqnr(exact, await outputOf(model, { x }, runtime))).toBeGreaterThan(reduceRange ? 25 : 29);
      }
  });

  it("rounds an activation once for all who read it, keeps a shared weight one, and leaves its own result alone", async () => {
    const { model, changes } = await quantizeDynamic().run(net());
    expect(model.graph.nodes.filter(({ op }) => op === "DynamicQuantizeLinear")).toHaveLength(3);
    expect(
      [...model.graph.weights.values()].filter(({ dtype, shape }) => dtype === "int8" && shape.length === 2),
    ).toHaveLength(3);
    expect(changes.at(-1)?.times).toBe(4);
    expect((await quantizeDynamic().run(model)).model).toBe(model);
  });

  it("becomes integer kernels in ONNX Runtime", async () => {
    const folder = mkdtempSync(join(tmpdir(), "minnow-"));
    try {
      const { model } = await quantizeDynamic().run(net());
      const path = join(folder, "run.onnx");
      await (await openSession(model, { optimizedModelPath: path })).close();
      const run = await load(path);
      expect(
        run.graph.nodes.filter(({ op }) => /^(DynamicQuantizeMatMul|MatMulIntegerToFloat)$/.test(op)),
      ).toHaveLength(4);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("leaves convolutions in float with the reason, and takes them where asked", async () => {
    const float = modelOf(
      [
        node("Conv", ["x", "w", "b"], "a", { strides: ints([2, 2]), pads: ints([1, 1, 1, 1]) }),
        node("Relu", ["a"], "y"),
      ],
      { w: tensor(24, 16, 3, 3), b: tensor(24) },
      ["N", 16, 12, 12],
    );
    const left = await quantizeDynamic().run(float);
    expect(left.model).toBe(float);
    expect(left.changes[0]?.what).toMatch(/slower/);
    const feeds = { x: { dtype: "float32" as const, shape: [2, 16, 12, 12], data: noise(2 * 16 * 144, 1) } };
    const exact = await outputOf(float, feeds);
    for (const weightType of ["int8", "uint8"] as const) {
      const { model } = await quantizeDynamic({ convolutions: true, weightType }).run(float);
      verify(model);
      expect(sqnr(exact, await outputOf(model, feeds))).toBeGreaterThan(30);
    }
  });

  it("refuses weights that are not finite and types it does not have", async () => {
    const values = noise(96 * 80);
    values[5] = Number.NaN;
    const broken = modelOf([node("MatMul", ["x", "w"], "y")], { w: float32s([96, 80], values) }, ["N", 96]);
    await expect(quantizeDynamic().run(broken)).rejects.toMatchObject({ code: "quantize/broken-weight" });
    expect(() => quantizeDynamic({ weightType: "int4" as "int8" })).toThrow(/int4/);
  });
});
