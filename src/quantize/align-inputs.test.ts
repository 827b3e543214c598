import { describe, expect, it } from "vitest";
import { arrays } from "../data/index.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, readFloats, viewOf } from "../ir/tensor.ts";
import { compare } from "../measure/index.ts";
import { normal, random } from "../numeric/random.ts";
import { quantizeStatic } from "./index.ts";

const next = random(3);
const noise = (...shape: number[]) =>
  float32s(
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => normal(next)),
  );

/** 8-bit pixels brought to −1 … 1, the darkest and the brightest among them. */
const pixels = Float32Array.from({ length: 6 * 3 * 64 }, (_, i) => ((i * 37) % 256) / 127.5 - 1);
const data = arrays({ x: { dtype: "float32", shape: [6, 3, 8, 8], data: pixels } });

const model: Model = {
  graph: {
    name: "eye",
    inputs: [{ name: "x", type: { kind: "tensor", dtype: "float32", shape: ["N", 3, 8, 8] } }],
    outputs: [{ name: "y" }],
    weights: new Map([
      ["k", noise(8, 3, 3, 3)],
      ["l", noise(4, 8, 1, 1)],
    ]),
    nodes: [
      { name: "a", op: "Conv", domain: "", inputs: ["x", "k"], outputs: ["a"], attrs: {} },
      { name: "r", op: "Relu", domain: "", inputs: ["a"], outputs: ["r"], attrs: {} },
      { name: "y", op: "Conv", domain: "", inputs: ["r", "l"], outputs: ["y"], attrs: {} },
    ],
    valueInfo: new Map(),
  },
  opsets: new Map([["", 18]]),
  irVersion: 8,
  functions: [],
};

describe("Aligned inputs", () => {
  it("make levels of every 8-bit pixel, and the result is nearer to float", async () => {
    const { model: plain } = await quantizeStatic({ data }).run(model);
    const { model: aligned, changes } = await quantizeStatic({ data, alignInputs: true }).run(model);
    expect(changes.map(({ what }) => what)).toContain("Moved an input onto the levels it is rounded to.");
    const { nodes, weights } = aligned.graph;
    const add = nodes.find((node) => node.op === "Add")!;
    const quantizer = nodes.find((node) => node.op === "QuantizeLinear" && node.inputs[0] === add.outputs[0])!;
    const [shift] = await readFloats(weights.get(add.inputs[1]!)!);
    const [scale] = await readFloats(weights.get(quantizer.inputs[1]!)!);
    const [zero] = viewOf("uint8", await weights.get(quantizer.inputs[2]!)!.read());
    for (const pixel of pixels.slice(0, 256)) {
      const level = (pixel + shift!) / scale! + Number(zero);
      expect(Math.abs(level - Math.round(level))).toBeLessThan(1e-3);
      expect(Math.round(level)).toBeGreaterThanOrEqual(0);
      expect(Math.round(level)).toBeLessThanOrEqual(255);
    }
    const off = async (it: Model) => (await compare(model, it, data)).outputs[0]!.sqnr;
    expect(await off(aligned)).toBeGreaterThan((await off(plain)) + 0.5);
  });

  it("leave alone what lies on levels, and what a node without a bias reads", async () => {
    const positive = arrays({ x: { dtype: "float32", shape: [6, 3, 8, 8], data: pixels.map((x) => x + 1) } });
    const { model: same } = await quantizeStatic({ data: positive, alignInputs: true }).run(model);
    expect(same.graph.nodes.some((node) => node.op === "Add")).toBe(false);
  });
});
