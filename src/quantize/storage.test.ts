import { describe, expect, it } from "vitest";
import { arrays } from "../data/index.ts";
import {
  float32s,
  type Graph,
  int,
  lazyTensor,
  type Model,
  type Node,
  subgraph,
  type Tensor,
  tensorFrom,
  verify,
} from "../ir/index.ts";
import { compare } from "../measure/index.ts";
import { normal, random } from "../numeric/random.ts";
import { toBytes } from "../onnx/index.ts";
import { optimize } from "../passes/index.ts";
import { openSession } from "../runtime/index.ts";
import { sensitivity, storeWeights } from "./index.ts";

const next = random(5);
const noise = (count: number): Float32Array => Float32Array.from({ length: count }, () => normal(next));
const tensor = (...shape: number[]): Tensor => float32s(shape, noise(shape.reduce((a, b) => a * b, 1)));
const data = arrays({ x: { dtype: "float32", shape: [8, 96], data: noise(8 * 96) } });

const node = (op: string, inputs: string[], output: string, attrs: Node["attrs"] = {}): Node => ({
  name: `n_${output}`,
  op,
  domain: "",
  inputs,
  outputs: [output],
  attrs,
});

const graphOf = (
  nodes: Node[],
  weights: Record<string, Tensor>,
  x = [{ name: "x", type: { kind: "tensor" as const, dtype: "float32" as const, shape: ["N", 96] } }],
  y = "y",
): Graph => ({
  name: "case",
  inputs: x,
  outputs: [{ name: y }],
  weights: new Map(Object.entries(weights)),
  nodes,
  valueInfo: new Map(),
});

const modelOf = (nodes: Node[], weights: Record<string, Tensor>): Model => ({
  graph: graphOf(nodes, weights),
  opsets: new Map([["", 18]]),
  irVersion: 8,
  functions: [],
});

const twice = (): Model =>
  modelOf(
    [
      node("MatMul", ["x", "w"], "a"),
      node("Add", ["a", "b"], "s"),
      node("Tanh", ["s"], "t"),
      node("MatMul", ["t", "w"], "y"),
    ],
    {
      w: tensor(96, 96),
      b: tensor(96),
    },
  );

const sqnrOf = async (a: Model, b: Model): Promise<number> => (await compare(a, b, data)).outputs[0]!.sqnr;

describe("Stored weights", () => {
  it("take a quarter of the bytes as int8 and half as fp16, and compute nearly the same", async () => {
    const float = twice();
    const size = (await toBytes(float)).byteLength;
    for (const [to, part, sqnr] of [
      ["int8", 0.31, 25],
      ["fp8", 0.31, 20],
      ["fp8e5m2", 0.31, 14],
      ["fp16", 0.52, 50],
      ["bf16", 0.52, 30],
      ["int4", 0.21, 11],
      ["int3", 0.21, 5],
      ["int2", 0.15, -3],
      ["codebook", 0.21, 12],
    ] as const) {
      const { model, changes } = await storeWeights({ to }).run(float);
      verify(model);
      expect((await toBytes(model)).byteLength).toBeLessThan(part * size);
      expect(await sqnrOf(float, model)).toBeGreaterThan(sqnr);
      expect(changes.at(-1)?.at).toBe('weight "w"');
    }
  });

  it("of 2 and 4 bits and codebooks load on WASM as in Node, whichever way a matrix lies", async () => {
    const float = modelOf(
      [
        node("MatMul", ["x", "w"], "a"),
        node("Gemm", ["a", "v"], "b", { transB: int(1) }),
        node("Reshape", ["b", "to"], "c"),
        node("Conv", ["c", "k"], "d"),
        node("Reshape", ["d", "back"], "y"),
      ],
      {
        w: tensor(96, 86),
        v: tensor(128, 86),
        k: tensor(32, 8, 3, 3),
        to: tensorFrom("int64", [4], [-1, 8, 4, 4]),
        back: tensorFrom("int64", [2], [-1, 128]),
      },
    );
    const x = { dtype: "float32" as const, shape: [3, 96], data: noise(288) };
    for (const to of ["int8", "fp8", "fp8e5m2", "int4", "int2", "codebook"] as const)
      for (const perChannel of [true, false]) {
        const { model } = await storeWeights({ to, perChannel }).run(float);
        verify(model);
        const results: Float32Array[] = [];
        for (const runtime of ["node", "wasm"] as const) {
          const session = await openSession(model, { runtime });
          results.push((await session.run({ x }))["y"]!.data as Float32Array);
          await session.close();
        }
        const size = Math.max(...results[0]!.map(Math.abs));
        for (const [i, value] of results[0]!.entries())
          expect(Math.abs(results[1]![i]! - value)).toBeLessThan(1e-4 * size);
        if (to !== "int2") expect(await sqnrOf(float, model)).toBeGreaterThan(perChannel ? 8 : 3);
      }
  });

  it("of few different numbers are stored exactly in a codebook", async () => {
    const few = noise(200);
    const values = Float32Array.from({ length: 96 * 96 }, (_, i) => few[(i * i) % 200]!);
    const float = modelOf([node("MatMul", ["x", "w"], "y")], { w: float32s([96, 96], values) });
    const { model } = await storeWeights({ to: "codebook" }).run(float);
    expect((await toBytes(model)).byteLength).toBeLessThan(0.3 * (await toBytes(float)).byteLength);
    expect((await compare(float, model, data)).outputs[0]!.maxAbs).toBe(0);
  });

  it("stay one where several nodes read them, keep their names, and survive optimize", async () => {
    const { model } = await storeWeights({ to: "int8" }).run(twice());
    expect([...model.graph.weights.values()].filter(({ dtype }) => dtype === "int8").length).toBe(1);
    expect(model.graph.nodes.filter(({ outputs }) => outputs[0] === "w").length).toBe(1);
    expect((await optimize().run(model)).model.graph.weights.size).toBe(model.graph.weights.size);
    expect((await storeWeights({ to: "int8" }).run(model)).model).toBe(model);
  });

  it("are turned back inside the graphs of an If too", async () => {
    const branch = (w: string): Graph =>
      graphOf([node("MatMul", ["x", w], `${w}_y`)], { [w]: tensor(96, 96) }, [], `${w}_y`);
    const float = modelOf(
      [node("If", ["on"], "y", { then_branch: subgraph(branch("p")), else_branch: subgraph(branch("q")) })],
      { on: tensorFrom("bool", [], [1]) },
    );
    const { model } = await storeWeights({ to: "int8" }).run(float);
    expect((await toBytes(model)).byteLength).toBeLessThan(0.35 * (await toBytes(float)).byteLength);
    expect(await sqnrOf(float, model)).toBeGreaterThan(25);
  });

  it("of channels with few numbers are kept as fp16", async () => {
    const { model } = await storeWeights({ to: "int8" }).run(
      modelOf([node("MatMul", ["x", "w"], "a"), node("MatMul", ["a", "v"], "y")], {
        w: tensor(96, 9),
        v: tensor(9, 200),
      }),
    );
    expect([...model.graph.weights.values()].map(({ dtype }) => dtype).sort()).toEqual(["float16", "float32", "int8"]);
  });

  it("that are large are computed when they are asked for", async () => {
    const size = 96 * 800_000;
    const zeros = lazyTensor("float32", [96, 800_000], async () => new Uint8Array(4 * size));
    const weight: Tensor = { ...zeros, read: async (range) => new Uint8Array(range?.length ?? 4 * size) };
    const { model } = await storeWeights({ to: "int8" }).run(modelOf([node("MatMul", ["x", "w"], "y")], { w: weight }));
    const stored = [...model.graph.weights.values()].find(({ dtype }) => dtype === "int8")!;
    expect(stored.bytes).toBeUndefined();
    expect((await stored.read()).byteLength).toBe(size);
  });

  it("load and run on WASM as in Node", async () => {
    const { model } = await storeWeights({ to: "int8" }).run(twice());
    const x = { dtype: "float32" as const, shape: [1, 96], data: noise(96) };
    const results: Float32Array[] = [];
    for (const runtime of ["node", "wasm"] as const) {
      const session = await openSession(model, { runtime });
      results.push((await session.run({ x }))["y"]!.data as Float32Array);
      await session.close();
    }
    for (const [i, value] of results[0]!.entries()) expect(results[1]![i]).toBeCloseTo(value, 3);
  });

  it("are refused by name over 1 GiB, and where they hold NaN", async () => {
    const huge = lazyTensor("float32", [96, 3_000_000], () => Promise.reject(new Error("read")));
    const broken = tensor(96, 96);
    new Float32Array(broken.bytes!.buffer)[7] = Number.NaN;
    const of = (w: Tensor) => storeWeights({ to: "int8" }).run(modelOf([node("MatMul", ["x", "w"], "y")], { w }));
    await expect(of(huge)).rejects.toMatchObject({ code: "quantize/too-large", at: 'weight "w"' });
    await expect(of(broken)).rejects.toMatchObject({ code: "quantize/broken-weight", at: 'weight "w"' });
  });

  it("are left as they are where float16 does not reach them", async () => {
    const { model } = await storeWeights({ to: "fp16" }).run(
      modelOf([node("MatMul", ["x", "w"], "y")], {
        w: float32s(
          [96, 96],
          noise(96 * 96).map((v) => v * 1e6),
        ),
      }),
    );
    expect(model.graph.weights.get("w")?.dtype).toBe("float32");
  });

  it("lose less where biases are corrected on examples", async () => {
    const moved = noise(96 * 96).map((value, i) => (i % 2 === 0 ? value : value * 0.001));
    const weights = { w: float32s([96, 96], moved), c: tensor(96), v: tensor(96, 96) };
    const float = modelOf(
      [node("Gemm", ["x", "w", "c"], "a"), node("Relu", ["a"], "r"), node("Gemm", ["r", "v"], "y")],
      weights,
    );
    const meanError = async (biasCorrection: boolean) => {
      const { model } = await storeWeights({ to: "int8", perChannel: false, biasCorrection, data }).run(float);
      return Math.abs((await compare(float, model, data)).outputs[0]!.meanError);
    };
    expect(await meanError(true)).toBeLessThan(0.1 * (await meanError(false)));
    expect(() => storeWeights({ to: "int8", biasCorrection: true })).toThrow(/data/);
  });

  it("take no other format", () => {
    expect(() => storeWeights({ to: "int5" as "int8" })).toThrow(/int5/);
  });
});

describe("Sensitivity", () => {
  it("puts the layer first whose numbers are hardest to round", async () => {
    const small = (count: number) => noise(count).map((value) => value * 0.1);
    const hard = small(96 * 96).map((value, i) => (i === 0 ? 100 : value));
    const weights = { w: float32s([96, 96], small(96 * 96)), v: float32s([96, 96], hard) };
    const nodes = [node("MatMul", ["x", "w"], "a"), node("MatMul", ["a", "v"], "b"), node("MatMul", ["b", "w"], "y")];
    const order = await sensitivity(modelOf(nodes, weights), data, { perChannel: false });
    expect(order.map((layer) => layer.node)).toHaveLength(3);
    expect(order[0]?.node).toBe("n_b");
    expect(order[0]!.sqnr).toBeLessThan(order[1]!.sqnr - 5);
  });
});
