import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Net, type Value } from "../architectures/index.ts";
import { arrays } from "../data/index.ts";
import { edit, float32s, type Model, readFloats, type TensorData, usesOf, verify } from "../ir/index.ts";
import { compare } from "../measure/index.ts";
import { normal, random } from "../numeric/random.ts";
import { load, save } from "../onnx/index.ts";
import { openSession } from "../runtime/index.ts";
import { constant, train } from "../train/index.ts";
import { freezeQuantized, type QuantizationAwareOptions, quantizationAware, quantizeStatic } from "./index.ts";
import { STEPS } from "./qat-steps.ts";

const COUNT = 96;

/** Pictures of two channels in three classes: light on the left, in the middle or on the right, with noise. */
const data = (() => {
  const next = random(3);
  const y = Array.from({ length: COUNT }, () => Math.floor(next() * 3));
  const x = Float32Array.from(
    { length: COUNT * 72 },
    (_, k) => Number(Math.floor((k % 6) / 2) === y[Math.floor(k / 72)]) + 0.5 * normal(next),
  );
  return arrays({ x: { dtype: "float32", shape: [COUNT, 2, 6, 6], data: x }, y });
})();

/** What mobile nets are made of: a depthwise convolution between others, normalizations, clamps, a residual sum. */
function mobile(): Model {
  const net = new Net({ seed: 5 });
  const image = net.input("image", ["N", 2, 6, 6]);
  const block = (x: Value, name: string, options: { out: number; kernel: number; groups?: number }) =>
    net.op("Clip", [
      net.batchNorm(net.conv(x, { name, ...options }), { name: `${name}.bn` }),
      net.scalar(0),
      net.scalar(6),
    ]);
  const stem = block(image, "stem", { out: 8, kernel: 3 });
  const deep = block(stem, "deep", { out: 8, kernel: 3, groups: 8 });
  const point = net.batchNorm(net.conv(deep, { name: "point", out: 8, kernel: 1 }), { name: "point.bn" });
  const flat = net.flatten(net.relu(net.op("Add", [stem, point])));
  return net.model({ scores: net.linear(flat, { name: "head", out: 3 }) }, "mobile");
}

const forms: QuantizationAwareOptions[] = [
  {},
  { weightType: "int4" },
  { learnScales: false },
  { weightType: "int4", learnScales: false },
  { perChannel: false },
  { weightType: "int4", perChannel: false, learnScales: false },
  { activationType: "int8" },
  { biasCorrection: true },
  { weightType: "int4", edgeWeightType: "int8" },
];

/** Those in which normalizations are trained as such. */
const live: QuantizationAwareOptions[] = [
  { foldBatchNorm: false },
  { foldBatchNorm: false, weightType: "int4", edgeWeightType: "int8" },
  { foldBatchNorm: false, weightType: "int4", learnScales: false },
];

const aware = async (options: QuantizationAwareOptions = {}, model = mobile()): Promise<Model> => {
  const made = await quantizationAware({ data, ...options }).run(model);
  verify(made.model);
  return made.model;
};
const trained = async (model: Model, epochs = 2): Promise<Model> =>
  (await train(model, { data, epochs, batch: 16, schedule: constant(0.02), threads: 1 })).model;
const freeze = async (model: Model): Promise<Model> => {
  const { model: done } = await freezeQuantized().run(model);
  verify(done);
  return done;
};

const inputs: Readonly<Record<string, TensorData>> = (() => {
  const next = random(8);
  const values = Float32Array.from({ length: 5 * 72 }, () => 1.5 * normal(next));
  return { image: { dtype: "float32", shape: [5, 2, 6, 6], data: values } };
})();

async function outputsOf(model: Model): Promise<readonly number[]> {
  const session = await openSession(model, { threads: 1, optimization: "disabled" });
  try {
    const { scores } = await session.run(inputs, ["scores"]);
    return [...(scores as TensorData & { data: Float32Array }).data];
  } finally {
    await session.close();
  }
}

/** The model with the biases that a frozen one has. */
async function withBiasesOf(model: Model, frozen: Model): Promise<Model> {
  const e = edit(model.graph);
  for (const [name, { dtype, shape, bytes }] of frozen.graph.weights) {
    if (dtype !== "int32") continue;
    const [, step = ""] = usesOf(frozen.graph).readers.get(name)?.[0]?.inputs ?? [];
    const steps = await readFloats(frozen.graph.weights.get(step) as never);
    const levels = new Int32Array((bytes as Uint8Array).slice().buffer);
    e.setWeight(
      name,
      float32s(
        shape,
        Array.from(levels, (v, i) => Math.fround(v) * (steps[steps.length > 1 ? i : 0] ?? 0)),
      ),
    );
  }
  return { ...model, graph: e.done() };
}

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

describe("A model that is frozen after training", () => {
  it.for(forms)("computes bit for bit what was trained, once biases lie on their steps: %o", async (form) => {
    const model = await trained(await aware(form));
    const frozen = await freeze(model);
    expect(await outputsOf(frozen)).toEqual(await outputsOf(await withBiasesOf(model, frozen)));
    const [exact, moved] = [await outputsOf(model), await outputsOf(frozen)];
    for (const [i, value] of moved.entries()) expect(Math.abs(value - (exact[i] ?? Number.NaN))).toBeLessThan(0.2);
  });

  it.for(live)("computes what was trained, its normalizations in steps and biases: %o", async (form) => {
    const before = await aware(form);
    expect(before.graph.nodes.filter(({ op }) => op === "BatchNormalization").length).toBe(3);
    const model = await trained(before);
    const frozen = await freeze(model);
    expect(frozen.graph.nodes.filter(({ op }) => op === "BatchNormalization")).toEqual([]);
    const { outputs } = await compare(model, frozen, data);
    expect(Math.min(...outputs.map(({ sqnr }) => sqnr))).toBeGreaterThan(30);
  });

  it("keeps its levels whatever the gains of its normalizations, negative ones and none", async () => {
    const float = mobile();
    const e = edit(float.graph);
    const gains = Array.from({ length: 8 }, (_, c) => (c === 3 ? 0 : c % 2 ? -0.5 - c / 8 : 0.5 + c / 8));
    e.setWeight("deep.bn.weight", float32s([8], gains));
    const model = await aware({ foldBatchNorm: false }, { ...float, graph: e.done() });
    const frozen = await freeze(model);
    const { outputs } = await compare(model, frozen, data);
    expect(Math.min(...outputs.map(({ sqnr }) => sqnr))).toBeGreaterThan(30);
    expect(await opsThatRun(frozen)).toMatchObject({ QLinearConv: 3, QLinearAdd: 1, QGemm: 1 });
  });

  it.for([...forms, ...live])(
    "runs in integers in ONNX Runtime, node for node as static quantization does: %o",
    async (form) => {
      const ops = await opsThatRun(await freeze(await trained(await aware(form), 1)));
      const { weightType: _, learnScales: __, foldBatchNorm: ___, edgeWeightType: ____, ...others } = form;
      const { model: asStatic } = await quantizeStatic({ data, ...others }).run(mobile());
      expect(ops).toEqual(await opsThatRun(asStatic));
      if (form.activationType !== "int8") expect(ops).toMatchObject({ QLinearConv: 3, QLinearAdd: 1, QGemm: 1 });
    },
  );

  it("holds its weights in 8 or 4 bits under their names, and nothing of what trained it", async () => {
    for (const [weightType, dtype] of [
      ["int8", "int8"],
      ["int4", "int4"],
    ] as const) {
      const float = mobile();
      const { graph } = await freeze(await trained(await aware({ weightType }, float), 1));
      for (const name of ["stem.weight", "deep.weight", "point.weight", "head.weight"]) {
        expect(graph.weights.get(name)?.dtype).toBe(dtype);
        expect(graph.weights.get(name)?.shape).toEqual(float.graph.weights.get(name)?.shape);
      }
      expect([...graph.weights.keys()].filter((name) => name.startsWith("quantization"))).toEqual([]);
      expect(graph.nodes.some(({ op }) => op === "Split" || op === "Abs")).toBe(false);
    }
  });

  it("survives the file it is written to", async () => {
    const frozen = await freeze(await aware({ weightType: "int4" }));
    const folder = await mkdtemp(join(tmpdir(), "minnow-"));
    await save(frozen, join(folder, "small.onnx"));
    expect(await outputsOf(await load(join(folder, "small.onnx")))).toEqual(await outputsOf(frozen));
    await rm(folder, { recursive: true });
  });

  it("comes back as it was when it is frozen again, as does a float model", async () => {
    const frozen = await freeze(await aware());
    expect(await freeze(frozen)).toBe(frozen);
    const float = mobile();
    expect(await freeze(float)).toBe(float);
  });
});

describe("Before training", () => {
  it.for([...forms, ...live])("the model is close to the float one: %o", async (form) => {
    const float = mobile();
    const { outputs } = await compare(float, await aware(form, float), data);
    const narrow = form.weightType === "int4" ? 8 : 25;
    expect(Math.min(...outputs.map(({ sqnr }) => sqnr))).toBeGreaterThan(narrow);
  });

  it("a model without layers to round comes back as it was", async () => {
    const net = new Net({ seed: 1 });
    const plain = net.model({ y: net.relu(net.input("x", ["N", 4])) }, "plain");
    expect((await quantizationAware({ data }).run(plain)).model).toBe(plain);
  });

  it("options that cannot be are refused at once", () => {
    expect(() => quantizationAware({})).toThrow(/neither data nor statistics/);
    expect(() => quantizationAware({ data, weightType: "int2" as "int4" })).toThrow(/int8, int4/);
  });
});

describe("Training", () => {
  it.for([...forms, ...live])("reaches every weight through the rounding, and its loss falls: %o", async (form) => {
    const before = await aware(form);
    const { model, history } = await train(before, {
      data,
      epochs: 4,
      batch: 16,
      schedule: constant(0.02),
      threads: 1,
    });
    for (const name of ["stem.weight", "deep.weight", "point.weight", "head.weight", "head.bias"])
      expect(await floatsOf(model, name)).not.toEqual(await floatsOf(before, name));
    expect(history.at(-1)?.loss).toBeLessThan(0.9 * (history[0]?.loss ?? 0));
  });

  it("moves the steps, which stay positive and within what a clamp cuts off, if they are to be learned", async () => {
    const before = await aware({ weightType: "int4" });
    const after = await trained(before);
    const [first, last] = [await floatsOf(before, STEPS), await floatsOf(after, STEPS)];
    expect(last.length).toBe(first.length);
    expect(last.filter((value, i) => value !== first[i]).length).toBeGreaterThan(0.9 * first.length);
    const { graph } = await freeze(after);
    const rounded = graph.nodes.filter(({ op }) => op === "QuantizeLinear");
    for (const {
      inputs: [, step = ""],
    } of rounded) {
      const [value = 0] = await readFloats(graph.weights.get(step) as never);
      expect(value).toBeGreaterThan(0);
    }
    expect((await aware({ learnScales: false })).graph.weights.has(STEPS)).toBe(false);
  });

  it("moves steps by LSQ's gradient scale", async () => {
    // One weight [3, 4], one step for all of it: the loss Σ y, so that the gradient of the step is known.
    const net = new Net({ seed: 3 });
    const model = net.model({ y: net.linear(net.input("x", ["N", 4]), { name: "fc", out: 3, bias: false }) }, "line");
    const ones = arrays({ x: { dtype: "float32", shape: [8, 4], data: new Float32Array(32).fill(1) } });
    const before = await aware({ perChannel: false, weightType: "int4", data: ones }, model);
    const sum = {
      name: "sum",
      build: (g: never, io: { outputs: Record<string, string> }) => sumOf(g, io.outputs.y ?? ""),
    };
    const rate = 0.001;
    const { sgd } = await import("../train/index.ts");
    const options = {
      data: ones,
      epochs: 1,
      batch: 8,
      loss: sum,
      schedule: constant(rate),
      optimizer: sgd({}),
      threads: 1,
    };
    const { model: after } = await train(before, options as never);
    const steps = async (of: Model) => Math.abs((await floatsOf(of, STEPS))[0] ?? 0) * (12 * 7) ** -0.25;
    const [s, moved] = [await steps(before), await steps(after)];
    const weight = await floatsOf(before, "fc.weight");
    // Esser et al. 2020, equation 3, times g = 1/√(12 · 7), times what the weight is multiplied with: 1, on average over the batch.
    const slope = weight
      .map((w) => (w / s <= -8 ? -8 : w / s >= 7 ? 7 : Math.round(w / s) - w / s))
      .reduce((a, b) => a + b, 0);
    expect((s - moved) / rate).toBeCloseTo(slope / Math.sqrt(12 * 7), 2);
  });

  it("leaves a weight alone that lies beyond its levels", async () => {
    const before = await aware({ weightType: "int4", perChannel: false });
    const weights = await floatsOf(before, "point.weight");
    const e = edit(before.graph);
    e.setWeight("point.weight", float32s([8, 8, 1, 1], weights.with(5, 100)));
    const after = await trained({ ...before, graph: e.done() });
    const now = await floatsOf(after, "point.weight");
    expect(now[5]).toBe(100);
    expect(now.filter((value, i) => value !== weights[i]).length).toBeGreaterThan(50);
  });
});

const floatsOf = async (model: Model, name: string): Promise<number[]> => [
  ...(await readFloats(model.graph.weights.get(name) as never)),
];

function sumOf(
  g: { mean(value: string, axes: readonly number[], keep: boolean): string; sum: typeof g.mean },
  y: string,
) {
  return g.mean(g.sum(y, [1], false), [0], false);
}
