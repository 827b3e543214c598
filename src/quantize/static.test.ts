import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { arrays, type Dataset } from "../data/index.ts";
import {
  type Attrs,
  float32s,
  type Graph,
  ints,
  type Model,
  type Node,
  string,
  subgraph,
  type Tensor,
  tensorFrom,
  tensorOf,
  type ValueInfo,
  verify,
} from "../ir/index.ts";
import { compare } from "../measure/index.ts";
import { toHalf } from "../numeric/half.ts";
import { normal, random } from "../numeric/random.ts";
import { load } from "../onnx/index.ts";
import { openSession } from "../runtime/index.ts";
import { calibrate, type QuantizeStaticOptions, quantizeStatic } from "./index.ts";

const next = random(11);
const noise = (count: number, scale = 1): Float32Array =>
  Float32Array.from({ length: count }, () => normal(next) * scale);
const tensor = (shape: number[], scale = 0.3): Tensor =>
  float32s(
    shape,
    noise(
      shape.reduce((a, b) => a * b, 1),
      scale,
    ),
  );

const data = arrays({ x: { dtype: "float32", shape: [24, 4, 6, 6], data: noise(24 * 144) } });

const info = (name: string, shape?: (number | string)[]): ValueInfo =>
  shape === undefined ? { name } : { name, type: { kind: "tensor", dtype: "float32", shape } };

/** `op inputs… > outputs…` with attributes, named after what it writes. */
function node(line: string, attrs: Attrs = {}): Node {
  const [left = "", right = ""] = line.split(" > ");
  const [op = "", ...inputs] = left.split(" ");
  return {
    name: `n_${right}`,
    op,
    domain: "",
    inputs: inputs.map((i) => (i === "-" ? "" : i)),
    outputs: right.split(" "),
    attrs,
  };
}

const graphOf = (
  nodes: Node[],
  weights: Record<string, Tensor>,
  outputs = ["y"],
  inputs = [info("x", ["N", 4, 6, 6])],
): Graph => ({
  name: "case",
  inputs,
  outputs: outputs.map((name) => info(name)),
  weights: new Map(Object.entries(weights)),
  nodes,
  valueInfo: new Map(),
});

const modelOf = (nodes: Node[], weights: Record<string, Tensor>, outputs?: string[]): Model => ({
  graph: graphOf(nodes, weights, outputs),
  opsets: new Map([["", 18]]),
  irVersion: 8,
  functions: [],
});

const pads = { pads: ints([1, 1, 1, 1]) };

/** Two convolutions around a rectifier, and a classifier. */
const plain = (): Model =>
  modelOf(
    [
      node("Conv x w0 b0 > a", pads),
      node("Relu a > r"),
      node("Conv r w1 > c", pads),
      node("GlobalAveragePool c > p"),
      node("Flatten p > f"),
      node("Gemm f w2 b2 > y"),
    ],
    { w0: tensor([8, 4, 3, 3]), b0: tensor([8]), w1: tensor([8, 8, 3, 3]), w2: tensor([8, 5]), b2: tensor([5]) },
  );

const quantize = async (model: Model, options: Partial<QuantizeStaticOptions> = {}) => {
  const result = await quantizeStatic({ data, ...options }).run(model);
  verify(result.model);
  return result;
};

const sqnrOf = async (a: Model, b: Model, on: Dataset = data): Promise<number> =>
  Math.min(...(await compare(a, b, on)).outputs.map((output) => output.sqnr));

/** How often each operator stands in the graph that ONNX Runtime runs. */
async function opsThatRun(model: Model): Promise<Record<string, number>> {
  const folder = await mkdtemp(join(tmpdir(), "minnow-"));
  try {
    const path = join(folder, "optimized.onnx");
    await (await openSession(model, { optimizedModelPath: path, optimization: "extended" })).close();
    const counts: Record<string, number> = {};
    for (const { op } of (await load(await readFile(path))).graph.nodes) counts[op] = (counts[op] ?? 0) + 1;
    return counts;
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("Every form of static quantization", () => {
  it("rounds activations to 16 bits where asked, on node and wasm", async () => {
    const levels = Float32Array.from({ length: 8 * 4 * 9 }, (_, i) => 0.01 * (i % 36 === 0 ? 127 : (i * 7) % 127));
    const float = modelOf([node("Conv x w b > c", { pads: ints([1, 1, 1, 1]) }), node("Relu c > y")], {
      w: float32s([8, 4, 3, 3], levels),
      b: tensor([8]),
    });
    const sqnr = async (activationType: "uint8" | "uint16" | "int16", runtime: "node" | "wasm") => {
      const { model } = await quantizeStatic({ data, activationType }).run(float);
      verify(model);
      return (await compare(float, model, data, { runtime })).outputs[0]!.sqnr;
    };
    for (const runtime of ["node", "wasm"] as const) {
      expect(await sqnr("uint8", runtime)).toBeLessThan(60);
      for (const type of ["uint16", "int16"] as const) expect(await sqnr(type, runtime)).toBeGreaterThan(70);
    }
  });

  const forms: Partial<QuantizeStaticOptions>[] = [
    {},
    { perChannel: false },
    { activationType: "int8" },
    { weightType: "uint8" },
    { weightSymmetric: false },
    { activationSymmetric: true, activationType: "int8" },
    { reduceRange: true },
    { biasCorrection: true },
    { method: "entropy" },
    { method: "mse" },
    { method: "percentile", percentile: 99.9 },
    { method: "movingAverage" },
  ];
  it.for(forms)("stays close to float: %o", async (form) => {
    const float = plain();
    const { model } = await quantize(float, form);
    expect(await sqnrOf(float, model)).toBeGreaterThan(form.method === "movingAverage" ? 15 : 20);
    expect(model.graph.inputs).toEqual(float.graph.inputs);
  });
});

describe("What stays in float", () => {
  it("is every excluded layer, although ONNX Runtime would quantize its weight between its quantized neighbours", async () => {
    const float = modelOf(
      [
        node("Conv x w0 > a", pads),
        node("Relu a > r"),
        node("Conv r w1 > c", pads),
        node("Relu c > s"),
        node("Conv s w0 > y", pads),
      ],
      { w0: tensor([4, 4, 3, 3]), w1: tensor([4, 4, 3, 3]) },
    );
    const { model, changes } = await quantize(float, { nodesToExclude: ["n_c"] });
    const ops = await opsThatRun(model);
    expect(ops.QLinearConv).toBe(2);
    expect((ops.Conv ?? 0) + (ops.FusedConv ?? 0)).toBe(1);
    expect(changes.some(({ what, at }) => /excluded/.test(what) && at === 'Conv "n_c"')).toBe(true);
  });

  it("may be named by a pattern; a name that fits nothing is an error that tells names", async () => {
    const { model } = await quantize(plain(), { nodesToExclude: ["n_[ac]", "n_*"] }).catch(() =>
      quantize(plain(), { nodesToExclude: ["n_*"] }),
    );
    expect(model.graph.nodes.some(({ op }) => op === "QuantizeLinear")).toBe(false);
    await expect(quantize(plain(), { nodesToExclude: ["conv9"] })).rejects.toMatchObject({ code: "quantize/no-node" });
  });

  it("is an operator nobody knows, whatever it reads and writes", async () => {
    const base = plain();
    const odd: Node = { ...node("Gelu c > g"), domain: "com.microsoft" };
    const nodes = base.graph.nodes.flatMap((n) => (n.outputs[0] === "p" ? [odd, { ...n, inputs: ["g"] }] : [n]));
    const float = {
      ...base,
      graph: { ...base.graph, nodes },
      opsets: new Map([
        ["", 18],
        ["com.microsoft", 1],
      ]),
    };
    const { model } = await quantize(float);
    expect(await sqnrOf(float, model)).toBeGreaterThan(20);
  });

  it("is a model in float16, which comes back as it was, with the reason", async () => {
    const half = tensorOf("float16", [4, 4, 1, 1], new Uint8Array(Uint16Array.from(noise(16), toHalf).buffer));
    const float: Model = modelOf(
      [
        node("Cast x > h", { to: { type: "int", value: 10 } }),
        node("Conv h w > c"),
        node("Cast c > y", { to: { type: "int", value: 1 } }),
      ],
      { w: half },
    );
    const { model, changes } = await quantize(float);
    expect(model).toBe(float);
    expect(changes[0]?.what).toContain("float16");
  });

  it("is a weight without elements, and one that callers may override", async () => {
    const base = plain();
    const open = { ...base, graph: { ...base.graph, inputs: [...base.graph.inputs, info("w1", [8, 8, 3, 3])] } };
    const { model } = await quantize(open);
    expect(await sqnrOf(base, model)).toBeGreaterThan(20);
    const none = modelOf([node("MatMul x w > y")], { w: float32s([6, 0], []) });
    expect((await quantize(none)).model).toBe(none);
  });
});

describe("A value", () => {
  it("that is an output of the model and is read inside keeps its name and stays float", async () => {
    const base = plain();
    const float = { ...base, graph: { ...base.graph, outputs: [info("y"), info("c"), info("r")] } };
    const { model } = await quantize(float);
    expect(model.graph.outputs.map(({ name }) => name)).toEqual(["y", "c", "r"]);
    expect(await sqnrOf(float, model)).toBeGreaterThan(20);
  });

  it("that a graph inside an If reads is still there", async () => {
    const inner = (op: string): Graph => graphOf([{ ...node(`${op} r > ${op}_out`), name: op }], {}, [`${op}_out`], []);
    const base = plain();
    const branch = node("If on > z", { then_branch: subgraph(inner("Neg")), else_branch: subgraph(inner("Abs")) });
    const graph = { ...base.graph, nodes: [...base.graph.nodes, branch], outputs: [info("y"), info("z")] };
    const float = {
      ...base,
      graph: { ...graph, weights: new Map([...graph.weights, ["on", tensorFrom("bool", [], [1])]]) },
    };
    const { model } = await quantize(float);
    expect(await sqnrOf(float, model)).toBeGreaterThan(20);
  });

  it("that is moved, split, joined or pooled keeps to integers", async () => {
    const float = modelOf(
      [
        node("Conv x w0 > a", pads),
        node("Clip a low high > r"),
        node("MaxPool r > m", { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }),
        node("Split m > s t", { axis: { type: "int", value: 1 }, num_outputs: { type: "int", value: 2 } }),
        node("Concat t s > k", { axis: { type: "int", value: 1 } }),
        node("Mul k half > h"),
        node("Add h m > q"),
        node("Conv q w1 > y", pads),
      ],
      {
        w0: tensor([8, 4, 3, 3]),
        w1: tensor([4, 8, 3, 3]),
        low: float32s([], [0]),
        high: float32s([], [0.8]),
        half: float32s([], [0.5]),
      },
    );
    const { model } = await quantize(float);
    expect(await opsThatRun(model)).toMatchObject({
      QLinearConv: 2,
      QLinearConcat: 1,
      QLinearMul: 1,
      QLinearAdd: 1,
      QuantizeLinear: 1,
      DequantizeLinear: 1,
    });
    expect(await sqnrOf(float, model)).toBeGreaterThan(20);
  });

  it("that is resized keeps to integers where elements are picked, and not where they are interpolated", async () => {
    const resized = (mode: string) =>
      modelOf(
        [
          node("Conv x w0 > a", pads),
          node("Resize a - scales > r", { mode: string(mode) }),
          node("Conv r w1 > y", pads),
        ],
        { w0: tensor([8, 4, 3, 3]), w1: tensor([4, 8, 3, 3]), scales: float32s([4], [1, 1, 0.5, 0.5]) },
      );
    const nearest = resized("nearest");
    const { model } = await quantize(nearest);
    expect(await opsThatRun(model)).toEqual({ QuantizeLinear: 1, QLinearConv: 2, Resize: 1, DequantizeLinear: 1 });
    expect(await sqnrOf(nearest, model)).toBeGreaterThan(20);
    const linear = await quantize(resized("linear"));
    expect(await opsThatRun(linear.model)).toMatchObject({ QuantizeLinear: 2, DequantizeLinear: 2 });
  });

  it("that is NaN now and then is calibrated on the rest, and that is told", async () => {
    const values = noise(24 * 144).map((v, i) => (i % 1000 === 7 ? Number.NaN : v));
    const broken = arrays({ x: { dtype: "float32", shape: [24, 4, 6, 6], data: values } });
    const { model, changes } = await quantize(plain(), { data: broken });
    expect(changes.some(({ what }) => /NaN/.test(what))).toBe(true);
    expect(await sqnrOf(plain(), model)).toBeLessThan(1000);
  });

  it("that is always zero, or always the same, does no harm", async () => {
    const base = plain();
    for (const bias of [-100, 100]) {
      const weights = new Map(base.graph.weights)
        .set("w0", float32s([8, 4, 3, 3], new Float32Array(288)))
        .set("b0", float32s([8], new Float32Array(8).fill(bias)));
      const float = { ...base, graph: { ...base.graph, weights } };
      expect(await sqnrOf(float, (await quantize(float)).model)).toBeGreaterThan(20);
    }
  });
});

describe("Weights", () => {
  it("that several layers share stay shared", async () => {
    const float = modelOf([node("Conv x w > a", pads), node("Relu a > r"), node("Conv r w > y", pads)], {
      w: tensor([4, 4, 3, 3]),
    });
    const { model } = await quantize(float);
    expect([...model.graph.weights.values()].filter(({ shape }) => shape.length === 4).length).toBe(1);
    expect(await sqnrOf(float, model)).toBeGreaterThan(20);
  });

  it("of several shapes keep one zero point and one scale where those are equal", async () => {
    const { model } = await quantize(plain());
    const names = [...model.graph.weights].filter(([, { dtype, shape }]) => dtype === "uint8" && shape.length === 0);
    expect(new Set(names.map(([, { bytes }]) => bytes?.[0])).size).toBe(names.length);
  });
});

describe("Bias correction", () => {
  it("leaves hardly any mean error in the channels of the output", async () => {
    const float = plain();
    const meanError = async (biasCorrection: boolean) => {
      const { model } = await quantize(float, { biasCorrection, perChannel: false, reduceRange: true, data });
      return Math.max(...(await compare(float, model, data)).outputs.map(({ meanError: e }) => Math.abs(e)));
    };
    expect(await meanError(true)).toBeLessThan(0.5 * (await meanError(false)) + 1e-5);
  });

  it("needs examples, and says so at once", () => {
    const statistics = { values: new Map(), samples: 0, skipped: 0 };
    expect(() => quantizeStatic({ statistics, biasCorrection: true })).toThrow(/data/);
  });
});

describe("Statistics", () => {
  it("of one calibration serve every method, and of another model are refused", async () => {
    const float = plain();
    const statistics = await calibrate(float, data);
    const { model } = await quantizeStatic({ statistics, method: "percentile" }).run(float);
    expect(await sqnrOf(float, model)).toBeGreaterThan(20);
    const other = modelOf([node("Conv x w > y", pads)], { w: tensor([4, 4, 3, 3]) });
    await expect(quantizeStatic({ statistics }).run(other)).rejects.toMatchObject({ code: "quantize/statistics" });
  });

  it("cannot be gathered from no examples", async () => {
    await expect(calibrate(plain(), data.take(0))).rejects.toMatchObject({ code: "quantize/no-data" });
  });
});

describe("A quantized model", () => {
  it("quantized again comes back as it was", async () => {
    const { model } = await quantize(plain());
    const again = await quantize(model);
    expect(again.model).toBe(model);
    expect(again.changes.length).toBeGreaterThan(0);
  });
});
