import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { arrays, type Dataset } from "../data/index.ts";
import type { Model } from "../ir/index.ts";
import { randomFeeds } from "../measure/feeds.ts";
import { compare, sizeOf } from "../measure/index.ts";
import { parametersOf } from "../measure/parameters.ts";
import { random } from "../numeric/random.ts";
import { load } from "../onnx/index.ts";
import { optimize } from "../passes/index.ts";
import { curvatureOf, layerCosts, layersOf, planPrecision, quantizeMixed, sensitivity } from "./index.ts";

const DIGITS = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));
const net = async (): Promise<Model> => (await optimize().run(await load(DIGITS))).model;
const examples = (model: Model, count = 8): Dataset => {
  const rows = Array.from({ length: count }, (_, seed) => Object.values(randomFeeds(model, { seed }))[0]!);
  const data = new Float32Array(count * rows[0]!.data.length);
  for (const [i, row] of rows.entries()) data.set(row.data as Float32Array, i * row.data.length);
  return arrays({ x: { dtype: "float32", shape: [count, ...rows[0]!.shape.slice(1)], data } });
};

describe("mixed precision", () => {
  it("keeps a budget of bytes in the file, and the more bytes it gets the nearer it stays to float", async () => {
    const model = await net();
    const data = examples(model);
    const formats = ["float", "fp16-storage", "int8-storage", "int4-storage", "int2-storage"] as const;
    const costs = await layerCosts(model, data, { formats });
    const all = costs.reduce((sum, { choices }) => sum + choices[0]!.bytes, 0);
    const { bytes: before } = await sizeOf(model);
    let nearest = 0;
    for (const share of [0.2, 0.3, 0.5, 0.8]) {
      const { plan, bytes, noise } = planPrecision(costs, { maxBytes: share * all })!;
      const { model: small } = await quantizeMixed({ plan }).run(model);
      expect(bytes).toBeLessThanOrEqual(share * all);
      expect(parametersOf(small)).toBe(parametersOf(model));
      // What a file has beside weights: nodes, and what is small.
      expect((await sizeOf(small)).bytes).toBeLessThan(before - all + bytes + 8000);
      const sqnr = Math.min(...(await compare(model, small, data)).outputs.map((o) => o.sqnr));
      expect(sqnr).toBeGreaterThan(nearest);
      // Costs add up: what was planned is what is measured, within a factor of three.
      expect(Math.abs(sqnr + 10 * Math.log10(noise))).toBeLessThan(5);
      nearest = sqnr;
    }
  });

  it("leaves the fewest multiply-adds in float that a budget of noise allows", async () => {
    const model = await net();
    const data = examples(model);
    const costs = await layerCosts(model, data, { formats: ["float", "int8"] });
    const whole = planPrecision(costs, { maxNoise: Infinity, least: "floatMacs" })!;
    expect(whole.floatMacs).toBe(0);
    const half = planPrecision(costs, { maxNoise: whole.noise / 2, least: "floatMacs" })!;
    expect(half.noise).toBeLessThanOrEqual(whole.noise / 2);
    const { model: small } = await quantizeMixed({ plan: half.plan, data }).run(model);
    const { model: smallest } = await quantizeMixed({ plan: whole.plan, data }).run(model);
    const sqnr = async (made: Model) => (await compare(model, made, data)).outputs[0]!.sqnr;
    expect(await sqnr(small)).toBeGreaterThan(await sqnr(smallest));
    expect(planPrecision(costs, { maxNoise: -1 })).toBeUndefined();
  });

  it("ranks layers by a function as by the noise it measures itself", async () => {
    const model = await net();
    const data = examples(model, 4);
    const byFunction = await layerCosts(model, data, {
      noise: async (made) => 10 ** (-(await compare(model, made, data)).outputs[0]!.sqnr / 10),
    });
    const order = byFunction.toSorted((a, b) => b.choices[1]!.noise - a.choices[1]!.noise).map(({ node }) => node);
    expect((await sensitivity(model, data)).map(({ node }) => node)).toEqual(order);
  });

  it("predicts by curvature what rounding weights does to the outputs, as far as errors of one weight are independent: within a factor of five", async () => {
    const model = await net();
    const data = examples(model, 32);
    const formats = ["int4-storage", "int8-storage"] as const;
    const measured = await layerCosts(model, data, { formats });
    const predicted = await layerCosts(model, data, { formats, noise: "curvature" });
    for (const [i, { node, choices }] of measured.entries())
      for (const [j, { format, noise }] of choices.entries()) {
        const ratio = predicted[i]!.choices[j]!.noise / noise;
        expect(ratio, `${node} ${format}`).toBeGreaterThan(0.2);
        expect(ratio, `${node} ${format}`).toBeLessThan(5);
      }
  });

  it("estimates the diagonal of the Hessian: of a product of a vector and a matrix it is the sum of squares of the inputs", async () => {
    const next = random(3);
    const x = Float32Array.from({ length: 400 * 3 }, () => 2 * next() - 1);
    const w = {
      dtype: "float32",
      shape: [3, 2],
      bytes: new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6]).buffer),
    } as const;
    const weight = { ...w, read: async () => w.bytes };
    const value = (name: string, size: number) =>
      ({ name, type: { kind: "tensor", dtype: "float32", shape: ["N", size] } }) as const;
    const model: Model = {
      graph: {
        name: "product",
        inputs: [value("x", 3)],
        outputs: [value("y", 2)],
        weights: new Map([["w", weight]]),
        nodes: [{ name: "product", op: "MatMul", domain: "", inputs: ["x", "w"], outputs: ["y"], attrs: {} }],
        valueInfo: new Map(),
      },
      opsets: new Map([["", 18]]),
      irVersion: 8,
      functions: [],
    };
    const data = arrays({ x: { dtype: "float32", shape: [400, 3], data: x } });
    const { diagonal } = await curvatureOf(model, data);
    for (let i = 0; i < 3; i++) {
      let squares = 0;
      for (let row = 0; row < 400; row++) squares += x[3 * row + i]! ** 2;
      for (let j = 0; j < 2; j++) expect(Math.abs(diagonal.get("w")![2 * i + j]! / squares - 1)).toBeLessThan(0.25);
    }
  });

  it("refuses a plan that names no layer, or no format, by name", async () => {
    const model = await net();
    const [first] = layersOf(model);
    expect(() => quantizeMixed({ plan: { [first!.node]: "int5" as "int8" } })).toThrow("int5");
    await expect(quantizeMixed({ plan: { nobody: "q8" } }).run(model)).rejects.toMatchObject({
      code: "quantize/no-node",
    });
    expect((await quantizeMixed({ plan: {} }).run(model)).model).toBe(model);
  });
});
