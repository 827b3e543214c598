import { describe, expect, it } from "vitest";
import { float, int, string } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Attr } from "../ir/graph.ts";
import { tensorFrom } from "../ir/tensor.ts";
import { openSession } from "../runtime/index.ts";
import { feedsOf, modelOf } from "../testing/single.ts";
import { differentiate } from "../train/differentiate.ts";
import type { Sample, SampleInput } from "./sample.ts";

/** Gradients of the sum of the first output, weighted by `dy` where given, by the inputs that are fed; and that output. */
async function gradientsOf(sample: Sample, dy?: readonly number[]): Promise<{ dx: number[][]; y: number[] }> {
  const model = modelOf(sample);
  const e = edit(model.graph);
  const weights = dy && e.weight("dy", tensorFrom("float32", [dy.length], dy));
  const [flat] = e.add({ op: "Reshape", inputs: ["y0", e.weight("all", tensorFrom("int64", [1], [-1]))] });
  const weighted = weights ? e.add({ op: "Mul", inputs: [flat as string, weights] })[0] : flat;
  e.add({
    op: "ReduceSum",
    inputs: [weighted as string],
    outputs: ["loss"],
    attrs: { keepdims: { type: "int", value: 0 } },
  });
  const wrt = model.graph.inputs.map(({ name }) => name);
  const step = differentiate({ ...model, graph: e.done() }, { loss: "loss", wrt });
  const session = await openSession(step.model);
  const out = await session.run(feedsOf(sample, 1));
  await session.close();
  const numbers = (name: string) => Array.from(out[name]?.data as ArrayLike<number>, Number);
  return {
    dx: wrt.map((name) => numbers(step.gradients.get(name) as string)),
    y: numbers("y0"),
  };
}

const fed = (...values: number[]): SampleInput => ({ shape: [values.length], values });
const one = (op: string, attrs: Record<string, Attr> = {}, opset = 21) => ({ op, attrs, opset });

describe("far out and at 0, slopes are the limits and never NaN", () => {
  const steps = [0, 1];
  it.each([
    [one("Sigmoid"), [0, 0], 0.25],
    [one("Softplus"), steps, 0.5],
    [one("Tanh"), [0, 0], 1],
    [one("Erf"), [0, 0], 2 / Math.sqrt(Math.PI)],
    [one("Softsign"), [1 / 101 ** 2, 1 / 101 ** 2], 1],
    [one("Gelu"), steps, 0.5],
    [one("Gelu", { approximate: string("tanh") }), steps, 0.5],
    [one("Swish", {}, 24), steps, 0.5],
    [one("Mish"), steps, 0.6],
    [one("HardSwish"), steps, 0.5],
    [one("HardSigmoid"), [0, 0], 0.2],
    [one("Elu"), steps, 1],
    [one("Elu", { alpha: float(0.5) }), steps, 0.5],
    [one("Celu", { alpha: float(2) }), steps, 1],
    [one("Selu", { alpha: float(2), gamma: float(3) }), [0, 3], 6],
    [one("Relu"), steps, 0],
    [one("LeakyRelu", { alpha: float(0.1) }), [0.1, 1], 0.1],
    [one("Abs"), [-1, 1], 0],
    [one("Reciprocal"), [-1e-4, -1e-4], -Infinity],
    [one("Sqrt"), [Number.NaN, 0.05], Infinity],
  ] as const)("%o", async (op, [below, above], zero) => {
    const { dx } = await gradientsOf({ ...op, inputs: [fed(-100, 0, 100)] });
    const expected = [below, zero, above];
    for (const [i, value] of (dx[0] as number[]).entries()) {
      if (Number.isFinite(expected[i])) expect(value).toBeCloseTo(expected[i] as number, 5);
      else expect(value).toBe(expected[i]);
    }
  });

  it("a power of 0 has the slope of its exponent, fed or constant", async () => {
    for (const [exponent, slope] of [
      [0, 0],
      [1, 1],
      [1.5, 0],
      [2, 0],
      [3, 0],
    ] as const) {
      const p: SampleInput = { shape: [], values: [exponent] };
      expect((await gradientsOf({ op: "Pow", inputs: [fed(0), { ...p, constant: true }] })).dx).toEqual([[slope]]);
      expect((await gradientsOf({ op: "Pow", inputs: [fed(0), p] })).dx).toEqual([[slope], [0]]);
    }
  });

  it("a softmax that is sure passes nothing on", async () => {
    const { dx } = await gradientsOf({ op: "Softmax", inputs: [fed(-100, 0, 100)] }, [1, 2, 3]);
    for (const slope of dx[0] as number[]) expect(slope).toBeCloseTo(0, 20);
  });

  it.each(["ReduceL2", "ReduceL1"])("%s of zeros has the slope 0", async (op) => {
    expect((await gradientsOf({ op, inputs: [fed(0, 0)] })).dx).toEqual([[0, 0]]);
  });

  it("a row of zeros cannot be turned: LpNormalization gives it the finite slope of length 1", async () => {
    const { dx } = await gradientsOf({ op: "LpNormalization", attrs: { axis: int(0) }, inputs: [fed(0, 0)] });
    expect(dx).toEqual([[1, 1]]);
  });
});

describe("equal numbers", () => {
  it.each(["ReduceMax", "ReduceMin"])("%s shares the gradient among them", async (op) => {
    expect((await gradientsOf({ op, inputs: [fed(2, 2, 2, 2)] })).dx).toEqual([[0.25, 0.25, 0.25, 0.25]]);
  });

  it.each(["Max", "Min"])("%s gives it to the first operand", async (op) => {
    const { dx } = await gradientsOf({ op, inputs: [fed(1, 5), fed(1, 5), fed(1, 5)] });
    expect(dx).toEqual([
      [1, 1],
      [0, 0],
      [0, 0],
    ]);
  });

  it("Clip gives it to the bound", async () => {
    const bound = (value: number): SampleInput => ({ shape: [], values: [value] });
    const { dx } = await gradientsOf({ op: "Clip", inputs: [fed(-1, 0, 3, 6, 9), bound(0), bound(6)] });
    expect(dx).toEqual([[0, 0, 1, 0, 0], [2], [2]]);
  });
});

describe("Dropout in training", () => {
  const flag: SampleInput = { shape: [], dtype: "bool", values: [1], constant: true };
  const ratio: SampleInput = { shape: [], values: [0.25], constant: true };

  it("passes the gradient where the output was kept, as much larger", async () => {
    const inputs = [{ shape: [8, 32], low: 1, high: 2 }, ratio, flag];
    const { dx, y } = await gradientsOf({ op: "Dropout", inputs, outputs: 2 });
    const kept = y.filter((v) => v !== 0).length;
    expect(kept).toBeGreaterThan(150);
    expect(kept).toBeLessThan(230);
    for (const [i, d] of (dx[0] as number[]).entries()) expect(d).toBeCloseTo(y[i] === 0 ? 0 : 1 / 0.75, 5);
  });

  it("says that it needs the mask where the node does not give it", async () => {
    await expect(gradientsOf({ op: "Dropout", inputs: [fed(1, 2), ratio, flag] })).rejects.toMatchObject({
      code: "train/dropout-mask",
    });
  });
});
