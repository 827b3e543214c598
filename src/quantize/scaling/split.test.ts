import { describe, expect, it } from "vitest";
import { arrays } from "../../data/index.ts";
import { float32s, int, ints, type Model, type Node, verify } from "../../ir/index.ts";
import { compare } from "../../measure/index.ts";
import { normal, random } from "../../numeric/random.ts";
import { calibrate, quantizeStatic, rangesBy } from "../index.ts";
import { planOf } from "../plan.ts";
import { splitChannels } from "./split.ts";

/** A convolution, a depthwise and a pointwise one, with a Clip behind each; channel 1 never gets above 0. */
function net(channels: number): Model {
  const next = random(9);
  // Signs times one number are exact in 8 bits: activations alone are rounded.
  const signs = (shape: number[], size: number) =>
    float32s(
      shape,
      Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => size * Math.sign(normal(next))),
    );
  const bias = float32s(
    [channels],
    Float32Array.from({ length: channels }, (_, c) => (c === 1 ? -60 : 1)),
  );
  const conv = (x: string, w: string, y: string, attrs: Node["attrs"] = {}): Node => ({
    ...{ name: y, op: "Conv", domain: "", inputs: [x, w, `${w}.bias`], outputs: [y], attrs },
  });
  const clip = (x: string, y: string): Node => ({
    ...{ name: y, op: "Clip", domain: "", inputs: [x, "zero", "six"], outputs: [y], attrs: {} },
  });
  const same = { pads: ints([1, 1, 1, 1]) };
  return {
    irVersion: 8,
    opsets: new Map([["", 18]]),
    graph: {
      name: "net",
      inputs: [{ name: "x", type: { kind: "tensor", dtype: "float32", shape: ["n", 3, 12, 12] } }],
      outputs: [{ name: "y", type: { kind: "tensor", dtype: "float32", shape: ["n", 6, 12, 12] } }],
      nodes: [
        ...[conv("x", "a", "u", same), clip("u", "v")],
        ...[conv("v", "b", "w", { ...same, group: int(channels) }), clip("w", "z"), conv("z", "c", "y")],
      ],
      weights: new Map([
        ...([
          ["a", signs([channels, 3, 3, 3], 0.3)],
          ["a.bias", bias],
          ["b", signs([channels, 1, 3, 3], 0.5)],
        ] as const),
        ...([
          ["b.bias", bias],
          ["c", signs([6, channels, 1, 1], 0.7)],
          ["c.bias", signs([6], 0.1)],
        ] as const),
        ...([
          ["zero", float32s([], [0])],
          ["six", float32s([], [6])],
        ] as const),
      ]),
      valueInfo: new Map(),
    },
    metadata: new Map(),
    functions: [],
  } as unknown as Model;
}

const next = random(10);
// On levels already, from the first to the last.
const level = (i: number): number =>
  i === 0 ? -127 : i === 1 ? 128 : Math.max(-127, Math.min(128, Math.round(40 * normal(next))));
const data = arrays({
  x: {
    dtype: "float32",
    shape: [12, 3, 12, 12],
    data: Float32Array.from({ length: 12 * 432 }, (_, i) => level(i) / 32),
  },
});

async function split(model: Model, multiple?: number) {
  const ranges = rangesBy("minmax", await calibrate(model, data));
  return splitChannels(model, planOf(model), ranges, { data, ...(multiple && { multiple }) });
}

describe("Splitting channels", () => {
  it("fills free channels, and computes the same in float but for what lies within a step of a bound", async () => {
    const model = net(5);
    const { model: wide, changes } = await split(model);
    verify(wide);
    expect(changes).toHaveLength(1);
    expect(wide.graph.weights.get("b")!.shape).toEqual([16, 1, 3, 3]);
    expect(wide.graph.weights.get("c")!.shape).toEqual([6, 16, 1, 1]);
    const { outputs } = await compare(model, wide, data);
    expect(Math.min(...outputs.map(({ sqnr }) => sqnr))).toBeGreaterThan(45);
  });

  it("makes the quantized model nearer to float by decibels, also where layers of the chain stay in float", async () => {
    const model = net(5);
    for (const nodesToExclude of [["y"], ["u", "y"]]) {
      const [plain, wide] = await Promise.all(
        [false, true].map(async (splitChannels) => {
          const options = { data, biasCorrection: true, splitChannels, nodesToExclude };
          const { model: small } = await quantizeStatic(options).run(model);
          return Math.min(...(await compare(model, small, data)).outputs.map(({ sqnr }) => sqnr));
        }),
      );
      expect(wide! - plain!).toBeGreaterThan(1.5);
    }
  });

  it("uses what is never above 0 where the number of channels is to stay", async () => {
    const { model: wide } = await split(net(5), 5);
    expect(wide.graph.weights.get("b")!.shape).toEqual([5, 1, 3, 3]);
    const bias = new Float32Array(wide.graph.weights.get("a.bias")!.bytes!.slice().buffer);
    expect(Math.min(...bias)).toBeGreaterThan(0);
  });

  it("leaves channels alone that are all alive and fill their number", async () => {
    const model = net(1);
    expect((await split(model, 1)).model).toBe(model);
  });

  it("leaves layers alone whose bias is one number for all channels", async () => {
    const product = (x: string, w: string, y: string): Node => ({
      ...{ name: y, op: "Gemm", domain: "", inputs: [x, w, `${w}.bias`], outputs: [y], attrs: {} },
    });
    const numbers = (...shape: number[]) =>
      float32s(
        shape,
        Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => normal(next)),
      );
    const { graph, ...rest } = net(5);
    const nodes = [
      product("x", "a", "u"),
      { ...graph.nodes[1]!, inputs: ["u", "zero", "six"] },
      product("v", "b", "y"),
    ];
    const weights = new Map([
      ...[...graph.weights].filter(([name]) => name === "zero" || name === "six"),
      ...([
        ["a", numbers(4, 5)],
        ["a.bias", numbers(1)],
        ["b", numbers(5, 6)],
        ["b.bias", numbers(6)],
      ] as const),
    ]);
    const tensor = (shape: readonly (string | number)[]) => ({ kind: "tensor", dtype: "float32", shape }) as const;
    const [inputs, outputs] = [[{ name: "x", type: tensor(["n", 4]) }], [{ name: "y", type: tensor(["n", 6]) }]];
    const model = { ...rest, graph: { ...graph, nodes, weights, inputs, outputs } } as Model;
    const rows = arrays({
      x: { dtype: "float32", shape: [32, 4], data: Float32Array.from({ length: 128 }, () => normal(next)) },
    });
    const { model: small } = await quantizeStatic({ data: rows, splitChannels: true }).run(model);
    expect(Math.min(...(await compare(model, small, rows)).outputs.map(({ sqnr }) => sqnr))).toBeGreaterThan(20);
  });
});
