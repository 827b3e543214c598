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
  type TensorData,
  tensorFrom,
  tensorOf,
  verify,
} from "../ir/index.ts";
import { normal, random } from "../numeric/random.ts";
import { toBytes } from "../onnx/index.ts";
import { openSession, type Runtime } from "../runtime/index.ts";
import { type QuantizeWeightsOptions, quantizeWeights } from "./index.ts";

const next = random(11);
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
  outputs: [{ name: y }],
  weights: new Map(Object.entries(weights)),
  nodes,
  valueInfo: new Map(),
});
const floats = (columns: number): Graph["inputs"] => [
  { name: "x", type: { kind: "tensor", dtype: "float32", shape: ["N", columns] } },
];
const modelOf = (nodes: Node[], weights: Record<string, Tensor>, inputs = floats(96)): Model => ({
  graph: graphOf(nodes, weights, inputs),
  opsets: new Map([["", 17]]),
  irVersion: 8,
  functions: [],
});

/** A table of tokens, a Gemm that is turned and has a bias, rows that are no whole number of blocks, a matrix used twice. */
const net = (): Model =>
  modelOf(
    [
      node("Gather", ["table", "ids"], "e"),
      node("MatMul", ["e", "w"], "a"),
      node("Gemm", ["a", "v", "b"], "c", { transB: int(1) }),
      node("Tanh", ["c"], "d"),
      node("MatMul", ["d", "u"], "f"),
      node("MatMul", ["f", "w"], "y"),
    ],
    { table: tensor(60, 96), w: tensor(96, 88), v: tensor(64, 88), b: tensor(64), u: tensor(64, 96) },
    [{ name: "ids", type: { kind: "tensor", dtype: "int64", shape: ["N"] } }],
  );
const ids: TensorData = {
  dtype: "int64",
  shape: [9],
  data: BigInt64Array.from([0n, 59n, 3n, 7n, 9n, 2n, 1n, 30n, 44n]),
};
const x: TensorData = { dtype: "float32", shape: [5, 96], data: noise(5 * 96, 1) };

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

/** Signal to noise of the net in dB that each number of bits has to reach, and the most bytes of the float file. */
const LEAST: Readonly<Record<number, readonly [sqnr: number, share: number]>> = {
  8: [30, 0.34],
  4: [12, 0.21],
  3: [7, 0.21],
  2: [0, 0.33],
};

describe("Weights in blocks", () => {
  it("give nearly the same on node and wasm in every format, and the file is as small as their bits", async () => {
    const float = net();
    const [exact, size] = [await outputOf(float, { ids }), (await toBytes(float)).byteLength];
    for (const quantFormat of ["QOperator", "QDQ"] as const)
      for (const bits of [8, 4, 3, 2] as const)
        for (const symmetric of [true, false]) {
          const embeddings = quantFormat === "QDQ" || bits !== 2;
          const options = { quantFormat, bits, symmetric, embeddings };
          const { model } = await quantizeWeights(options).run(float);
          verify(model);
          const [least, share] = LEAST[bits]!;
          const bytes = (await toBytes(model)).byteLength / size;
          expect(bytes, JSON.stringify(options)).toBeLessThan(embeddings ? share : share + 0.14);
          for (const runtime of ["node", "wasm"] as const)
            expect(sqnr(exact, await outputOf(model, { ids }, runtime)), JSON.stringify(options)).toBeGreaterThan(
              least,
            );
        }
  });

  it("are picked from the 16 numbers of NF4 and FP4 where asked, on node and wasm", async () => {
    const float = modelOf(
      [node("MatMul", ["x", "w"], "a"), node("Gemm", ["a", "v", "b"], "y", { transB: int(1) })],
      { w: tensor(128, 192), v: tensor(96, 192), b: tensor(96) },
      floats(128),
    );
    const feeds = { x: { dtype: "float32" as const, shape: [4, 128], data: noise(512, 1) } };
    const exact = await outputOf(float, feeds);
    for (const levels of ["nf4", "fp4"] as const) {
      const { model } = await quantizeWeights({ levels }).run(float);
      expect((await toBytes(model)).byteLength).toBeLessThan(0.16 * (await toBytes(float)).byteLength);
      for (const runtime of ["node", "wasm"] as const)
        expect(sqnr(exact, await outputOf(model, feeds, runtime)), levels).toBeGreaterThan(levels === "nf4" ? 16 : 13);
    }
    const uneven = modelOf([node("MatMul", ["x", "w"], "y")], { w: tensor(96, 64) });
    expect((await quantizeWeights({ levels: "nf4" }).run(uneven)).model).toBe(uneven);
  });

  it("are nearer with more bits, with smaller blocks and with a searched scale", async () => {
    const float = modelOf([node("MatMul", ["x", "w"], "y")], { w: tensor(96, 200) });
    const exact = await outputOf(float, { x });
    const of = async (options: QuantizeWeightsOptions) =>
      sqnr(exact, await outputOf((await quantizeWeights({ accuracyLevel: 0, ...options }).run(float)).model, { x }));
    const rtn = await of({});
    expect(await of({ bits: 8 })).toBeGreaterThan(rtn + 20);
    expect(await of({ bits: 3 })).toBeLessThan(rtn - 4);
    expect(await of({ blockSize: 16 })).toBeGreaterThan(rtn + 0.5);
    expect(await of({ method: "mse" })).toBeGreaterThan(rtn);
    expect(await of({ method: "kQuant" })).toBeGreaterThan(rtn);
    const asymmetric = await of({ symmetric: false });
    expect(await of({ symmetric: false, method: "mse" })).toBeGreaterThan(asymmetric);
    expect(await of({ symmetric: false, method: "hqq" })).toBeGreaterThan(asymmetric - 0.5);
  });

  it("are rounded so that errors cancel on examples, with GPTQ, and say what it needs", async () => {
    const examples = 256;
    const seeds = noise(examples * 12, 1);
    const mix = noise(12 * 96, 1);
    const values = Float32Array.from({ length: examples * 96 }, (_, i) => {
      const row = Math.floor(i / 96);
      return mix.subarray((i % 96) * 12, (i % 96) * 12 + 12).reduce((sum, m, k) => sum + m * seeds[row * 12 + k]!, 0);
    });
    const data = arrays({ x: { x: { dtype: "float32", shape: [examples, 96], data: values } } });
    const float = modelOf(
      [
        node("MatMul", ["x", "w"], "a"),
        node("Tanh", ["a"], "t"),
        node("Gemm", ["t", "v", "b"], "y", { transB: int(1) }),
      ],
      { w: tensor(96, 64), v: tensor(48, 64), b: tensor(48) },
    );
    const feeds = { x: { dtype: "float32" as const, shape: [examples, 96], data: values } };
    const exact = await outputOf(float, feeds);
    const of = async (options: QuantizeWeightsOptions) =>
      sqnr(
        exact,
        await outputOf((await quantizeWeights({ accuracyLevel: 0, bits: 3, ...options }).run(float)).model, feeds),
      );
    for (const quantFormat of ["QOperator", "QDQ"] as const) {
      const nearest = await of({ quantFormat, method: "mse" });
      expect(await of({ quantFormat, gptq: true, data })).toBeGreaterThan(nearest + 4);
      expect(await of({ quantFormat, gptq: true, actOrder: false, symmetric: false, data })).toBeGreaterThan(
        nearest + 4,
      );
    }
    expect(() => quantizeWeights({ gptq: true })).toThrow(expect.objectContaining({ code: "quantize/no-data" }));
  });

  it("stay one where several nodes read them, a table and the matrix it is tied to among them", async () => {
    const tied = modelOf(
      [
        node("Gather", ["w", "ids"], "e"),
        node("Gemm", ["e", "w"], "f", { transB: int(1) }),
        node("Gemm", ["e", "w", "b"], "g", { transB: int(1) }),
        node("Add", ["f", "g"], "y"),
      ],
      { w: tensor(60, 96), b: tensor(60) },
      net().graph.inputs,
    );
    const exact = await outputOf(tied, { ids });
    for (const quantFormat of ["QOperator", "QDQ"] as const) {
      const { model } = await quantizeWeights({ embeddings: true, quantFormat }).run(tied);
      const large = [...model.graph.weights.values()].filter(({ shape }) => shape.reduce((a, b) => a * b, 1) > 1000);
      expect(large).toHaveLength(1);
      expect(sqnr(exact, await outputOf(model, { ids }))).toBeGreaterThan(12);
    }
    const { model } = await quantizeWeights({ embeddings: true }).run(net());
    expect([...model.graph.weights.keys()].filter((name) => name.startsWith("w_q"))).toHaveLength(1);
  });

  it("are replaced inside the graphs of an If, and stay with the graph that has them", async () => {
    const branch = (from: string, y: string) =>
      graphOf([node("MatMul", ["x", from], y)], { own: tensor(96, 64) }, [], y);
    const float = modelOf(
      [
        node("If", ["on"], "y", {
          then_branch: subgraph(branch("w", "p")),
          else_branch: subgraph(branch("own", "q")),
        }),
        node("MatMul", ["x", "w"], "z"),
      ],
      { on: tensorFrom("bool", [], [1]), w: tensor(96, 64) },
    );
    const exact = await outputOf(float, { x });
    for (const quantFormat of ["QOperator", "QDQ"] as const) {
      const { model } = await quantizeWeights({ quantFormat, bits: 8 }).run(float);
      verify(model);
      expect([...model.graph.weights.keys()].filter((name) => name.startsWith("w_q"))).toHaveLength(1);
      expect(model.graph.weights.has("w")).toBe(false);
      expect(sqnr(exact, await outputOf(model, { x }))).toBeGreaterThan(30);
    }
  });

  it("that are quantized, float16, small, overridable or excluded stay as they are, with the reason where it matters", async () => {
    const { model } = await quantizeWeights({ embeddings: true }).run(net());
    expect((await quantizeWeights({ embeddings: true }).run(model)).model).toBe(model);
    const half = modelOf([node("MatMul", ["x", "w"], "y")], {
      w: tensorOf("float16", [96, 64], new Uint8Array(96 * 128)),
    });
    const left = await quantizeWeights().run(half);
    expect(left.model).toBe(half);
    expect(left.changes[0]?.what).toMatch(/float16/);
    const small = modelOf([node("MatMul", ["x", "w"], "y")], { w: tensor(96, 2) });
    expect((await quantizeWeights().run(small)).model).toBe(small);
    const given = modelOf([node("MatMul", ["x", "w"], "y")], { w: tensor(96, 64) }, [
      ...floats(96),
      { name: "w", type: { kind: "tensor", dtype: "float32", shape: [96, 64] } },
    ]);
    expect((await quantizeWeights().run(given)).model).toBe(given);
    const { changes } = await quantizeWeights({ nodesToExclude: ["n_a", "n_f", "n_y"] }).run(net());
    expect(changes.find(({ what }) => what.includes("excluded"))?.times).toBe(3);
    await expect(quantizeWeights({ nodesToExclude: ["nobody"] }).run(net())).rejects.toMatchObject({
      code: "quantize/no-node",
    });
  });

  it("of zeros stay zeros, of none stay none, and of NaN are refused by name", async () => {
    const of = (w: Tensor) => modelOf([node("MatMul", ["x", "w"], "y")], { w });
    for (const symmetric of [true, false]) {
      const { model } = await quantizeWeights({ symmetric }).run(of(float32s([96, 64], new Float32Array(96 * 64))));
      expect(new Set(await outputOf(model, { x }))).toEqual(new Set([0]));
    }
    const none = of(float32s([96, 0], []));
    expect((await quantizeWeights().run(none)).model).toBe(none);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const values = noise(96 * 64);
      values[77] = bad;
      await expect(quantizeWeights().run(of(float32s([96, 64], values)))).rejects.toMatchObject({
        code: "quantize/broken-weight",
        at: 'weight "w"',
      });
    }
  });

  it("of large models are read in pieces, when the result is written", async () => {
    const [rows, columns] = [1024, 40_000];
    let [reads, most] = [0, 0];
    const weight: Tensor = {
      ...lazyTensor("float32", [rows, columns], async () => new Uint8Array(0)),
      read: async (range) => {
        reads++;
        most = Math.max(most, range!.length);
        return new Uint8Array(new Float32Array(range!.length / 4).fill(1).buffer);
      },
    };
    const { model } = await quantizeWeights().run(
      modelOf([node("MatMul", ["x", "w"], "y")], { w: weight }, floats(1024)),
    );
    expect(reads).toBe(0);
    const levels = model.graph.weights.get("w_q4")!;
    expect((await levels.read()).byteLength).toBe((rows * columns) / 2);
    expect((await model.graph.weights.get("w_s")!.read()).byteLength).toBe((rows * columns) / 8);
    expect(most).toBeLessThanOrEqual(32 * columns * 4);
    expect(reads).toBe(rows / 32);
  });

  it("refuse options that mean nothing at once", () => {
    for (const options of [
      { bits: 5 as 4 },
      { blockSize: 24 },
      { blockSize: 8 },
      { method: "best" as "rtn" },
      { method: "hqq" as const },
      { bits: 2 as const, embeddings: true },
      { accuracyLevel: 7 as 4 },
      { levels: "nf4" as const, bits: 8 as const },
      { levels: "nf3" as "nf4" },
    ])
      expect(() => quantizeWeights(options), JSON.stringify(options)).toThrow(
        expect.objectContaining({ code: "quantize/option" }),
      );
  });
});
