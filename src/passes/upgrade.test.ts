import { describe, expect, it } from "vitest";
import { int, ints, subgraph } from "../ir/attrs.ts";
import type { Model } from "../ir/graph.ts";
import { type TensorData, tensorFrom } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { openSession } from "../runtime/index.ts";
import { feedsOf, modelOf } from "../testing/single.ts";
import { OLD, x } from "./upgrade.samples.ts";
import { upgrade } from "./upgrade.ts";

type Outputs = Record<string, TensorData>;

async function outputsOf(model: Model, feeds: Outputs): Promise<Outputs> {
  const session = await openSession(model, { optimization: "disabled" });
  try {
    return await session.run(feeds);
  } finally {
    await session.close();
  }
}

function expectClose(got: Outputs, wanted: Outputs, within: number): void {
  expect(Object.keys(got)).toEqual(Object.keys(wanted));
  for (const [name, { dtype, shape, data }] of Object.entries(wanted)) {
    expect([got[name]?.dtype, got[name]?.shape]).toEqual([dtype, shape]);
    if (within === 0) expect(got[name]?.data).toEqual(data);
    else
      for (const [i, v] of Array.from(data as Float32Array).entries())
        expect(Math.abs(v - Number(got[name]?.data[i]))).toBeLessThan(within);
  }
}

describe("upgrade", () => {
  for (const { says, to, within = 0, ...sample } of OLD) {
    it(`keeps what is computed: ${says} (opset ${sample.opset})`, async () => {
      const old = modelOf(sample);
      const { model } = await upgrade(to === undefined ? {} : { to }).run(old);
      verify(model);
      expect(model.opsets.get("")).toBe(to ?? 18);
      const feeds = feedsOf(sample, 7);
      expectClose(await outputsOf(model, feeds), await outputsOf(old, feeds), within);
      expect((await upgrade(to === undefined ? {} : { to }).run(model)).model).toBe(model);
    });
  }
});

const of = (opset: number, nodes: Model["graph"]["nodes"], more: Partial<Model> = {}): Model => ({
  graph: {
    name: "g",
    inputs: [{ name: "x", type: { kind: "tensor", dtype: "float32", shape: [2, 3] } }],
    outputs: [{ name: "y" }],
    weights: new Map(),
    nodes,
    valueInfo: new Map(),
  },
  opsets: new Map([["", opset]]),
  irVersion: 8,
  functions: [],
  ...more,
});

const nodeOf = (op: string, inputs: string[], outputs: string[], attrs = {}, domain = "") => ({
  name: "",
  op,
  domain,
  inputs,
  outputs,
  attrs,
});

describe("upgrade of what is inside", () => {
  it("lifts the graphs of an If, with names of their own", async () => {
    const branch = (axis: number) => ({
      ...of(11, [nodeOf("ReduceSum", ["x"], ["r"], { axes: ints([axis]), keepdims: int(1) })]).graph,
      inputs: [],
      outputs: [{ name: "r" }],
    });
    const first = nodeOf("ReduceMax", ["x"], ["m"], { keepdims: int(0) });
    const cast = nodeOf("Cast", ["m"], ["c"], { to: int(9) });
    const choice = nodeOf("If", ["c"], ["y"], { then_branch: subgraph(branch(0)), else_branch: subgraph(branch(1)) });
    const old = of(11, [first, cast, choice]);
    const { model } = await upgrade().run(old);
    verify(model);
    const feeds = { x: { dtype: "float32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) } } as const;
    expectClose(await outputsOf(model, feeds), await outputsOf(old, feeds), 0);
  });

  it("lifts functions, with Constant nodes and their own attributes as inputs", async () => {
    const mean = nodeOf("ReduceMean", ["a"], ["m"], {
      axes: { type: "ref", value: "over", of: 7 },
      keepdims: int(1),
    });
    const old = of(16, [nodeOf("Centre", ["x"], ["y"], { over: ints([1]) }, "own")], {
      opsets: new Map([
        ["", 16],
        ["own", 1],
      ]),
      functions: [
        {
          name: "Centre",
          domain: "own",
          inputs: ["a"],
          outputs: ["o"],
          attributes: ["over"],
          defaults: {},
          nodes: [mean, nodeOf("Split", ["a"], ["p", "q", "s"], { axis: int(1) }), nodeOf("Sub", ["a", "m"], ["o"])],
          opsets: new Map([["", 16]]),
          valueInfo: new Map(),
        },
      ],
    });
    const { model } = await upgrade().run(old);
    expect(model.functions[0]?.opsets.get("")).toBe(18);
    expect(model.functions[0]?.nodes.map((n) => n.op)).toEqual(["Constant", "ReduceMean", "Split", "Sub"]);
    const feeds = { x: { dtype: "float32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 9) } } as const;
    expectClose(await outputsOf(model, feeds), await outputsOf(old, feeds), 0);
  });

  it("says what it did and where", async () => {
    const old = of(11, [nodeOf("Squeeze", ["x"], ["s"]), nodeOf("Unsqueeze", ["s"], ["y"], { axes: ints([0]) })]);
    const { changes, model } = await upgrade().run(old);
    expect(changes.map((c) => `${c.at}: ${c.what}`)).toEqual([
      "model: Lifted the model from opset 11 to 18.",
      'Unsqueeze "y": Rewrote a Unsqueeze: its axes are an input since opset 13.',
    ]);
    expect(model.graph.nodes[1]).toMatchObject({ op: "Unsqueeze", inputs: ["s", "y.axes"], attrs: {} });
  });

  it("raises the IR version and makes constants of weights that stood among the inputs", async () => {
    const old = of(8, [nodeOf("Mul", ["x", "w"], ["y"])], { irVersion: 3 });
    const w = { name: "w", type: { kind: "tensor", dtype: "float32", shape: [3] } } as const;
    const weights = new Map([["w", tensorFrom("float32", [3], [1, 2, 3])]]);
    const graph = { ...old.graph, inputs: [...old.graph.inputs, w], weights };
    const { model } = await upgrade().run({ ...old, graph });
    expect([model.irVersion, model.graph.inputs.map((i) => i.name)]).toEqual([8, ["x"]]);
  });

  it("leaves models alone that are there already, or that use no operator of ONNX's own", async () => {
    const modern = of(18, [nodeOf("Relu", ["x"], ["y"])]);
    expect((await upgrade().run(modern)).model).toBe(modern);
    const other = of(18, [nodeOf("Relu", ["x"], ["y"], {}, "own")], { opsets: new Map([["own", 1]]) });
    expect((await upgrade({ to: 21 }).run(other)).model).toBe(other);
    const newer = of(23, [nodeOf("Relu", ["x"], ["y"])]);
    expect((await upgrade({ to: 21 }).run(newer)).model).toBe(newer);
  });

  it("spreads the scales of groups over channels for opset 21", async () => {
    const sample = {
      op: "GroupNormalization",
      opset: 18,
      inputs: [x(2, 6, 3), x(2), x(2)],
      attrs: { num_groups: int(2) },
    };
    const old = modelOf(sample);
    const { model } = await upgrade({ to: 21 }).run(old);
    const feeds = feedsOf(sample, 1);
    expectClose(await outputsOf(model, feeds), await outputsOf(old, feeds), 1e-6);
  });
});

describe("upgrade refuses", () => {
  const refusal = async (model: Model) =>
    (await upgrade()
      .run(model)
      .catch((e) => e)) as unknown;

  it("models older than opset 7, and says what to do", async () => {
    expect(await refusal(of(6, [nodeOf("Relu", ["x"], ["y"])]))).toMatchObject({
      code: "opset/too-old",
      mend: expect.stringContaining("Export it again"),
    });
  });

  it("BatchNormalization whose statistics are read", async () => {
    const bn = nodeOf("BatchNormalization", ["x", "s", "s", "s", "s"], ["y", "m"]);
    const old = of(9, [bn, nodeOf("Relu", ["m"], ["z"])]);
    const graph = { ...old.graph, weights: new Map([["s", tensorFrom("float32", [3], [1, 1, 1])]]) };
    expect(await refusal({ ...old, graph })).toMatchObject({ code: "opset/unsupported" });
  });

  it("Scan of opset 8", async () => {
    const scan = nodeOf("Scan", ["", "x"], ["y"], { num_scan_inputs: int(1), body: subgraph(of(8, []).graph) });
    expect(await refusal(of(8, [scan]))).toMatchObject({ code: "opset/unsupported", at: 'Scan "y"' });
  });

  it("a target that it does not know", () => {
    expect(() => upgrade({ to: 17 })).toThrow(/18 to 26/);
    expect(() => upgrade({ to: 99 })).toThrow(/18 to 26/);
  });
});
