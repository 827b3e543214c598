import { describe, expect, it } from "vitest";
import { int } from "../ir/attrs.ts";
import { BITS, byteSize, type DType } from "../ir/dtype.ts";
import { edit } from "../ir/edit.ts";
import type { Attrs, Model, ValueInfo } from "../ir/graph.ts";
import { elements, float32s, int64s, type TensorData, tensorOf } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { openSession } from "../runtime/index.ts";
import { differentiate } from "../train/differentiate.ts";

interface Case {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly scales: readonly number[];
  readonly scaleShape: readonly number[];
  /** Which scale an element has, by its place. */
  readonly scaleOf: (at: readonly number[]) => number;
  readonly zero: number;
  readonly range: readonly [number, number];
  readonly attrs?: Attrs;
}

const cases: Readonly<Record<string, Case>> = {
  "one scale, uint8 with a zero point": {
    dtype: "uint8",
    shape: [3, 4, 5],
    scales: [0.01],
    scaleShape: [],
    scaleOf: () => 0,
    zero: 100,
    range: [0, 255],
  },
  "a scale for each channel, int8": {
    dtype: "int8",
    shape: [3, 4, 5],
    scales: [0.005, 0.01, 0.02, 0.04],
    scaleShape: [4],
    scaleOf: ([, channel]) => channel as number,
    zero: 0,
    range: [-128, 127],
    attrs: { axis: int(1) },
  },
  "a scale for each block of 4 bits, the last one not full": {
    dtype: "int4",
    shape: [5, 6],
    scales: [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.12, 0.08, 0.06, 0.3, 0.2, 0.1, 0.05, 0.2, 0.3, 0.1, 0.3, 0.2],
    scaleShape: [3, 6],
    scaleOf: ([row, column]) => Math.floor((row as number) / 2) * 6 + (column as number),
    zero: 0,
    range: [-8, 7],
    attrs: { axis: int(0), block_size: int(2) },
  },
};

/** loss = Σ w · dequantize(reshape(quantize(x))): integers are moved about between the two where ONNX Runtime moves such. */
function modelOf({ dtype, shape, scales, scaleShape, zero, attrs = {} }: Case, weights: readonly number[]): Model {
  const input = (name: string, own: readonly number[]): ValueInfo => ({
    name,
    type: { kind: "tensor", dtype: "float32", shape: own },
  });
  const e = edit({
    name: "g",
    inputs: [input("x", shape), input("s", scaleShape)],
    outputs: [],
    weights: new Map(),
    nodes: [],
    valueInfo: new Map(),
  });
  const z = e.weight("z", tensorOf(dtype, scaleShape, new Uint8Array(byteSize(dtype, scales.length)).fill(zero)));
  const one = (op: string, inputs: string[], own: Attrs = {}) => e.add({ op, inputs, attrs: own })[0] as string;
  const q = one("QuantizeLinear", ["x", "s", z], attrs);
  const moved =
    BITS[dtype] < 8
      ? q
      : one("Reshape", [one("Reshape", [q, e.weight("flat", int64s([-1]))]), e.weight("back", int64s(shape))]);
  const y = one("DequantizeLinear", [moved, "s", z], attrs);
  const product = one("Mul", [y, e.weight("w", float32s(shape, weights))]);
  e.add({ op: "ReduceSum", inputs: [product], outputs: ["loss"], attrs: { keepdims: int(0) } });
  e.setOutputs([{ name: "loss" }]);
  return { graph: e.done(), opsets: new Map([["", 21]]), irVersion: 10, functions: [] };
}

const placeOf = (index: number, shape: readonly number[]): number[] => {
  const at: number[] = [];
  for (const size of shape.toReversed()) {
    at.unshift(index % size);
    index = Math.floor(index / size);
  }
  return at;
};

describe.each(Object.entries(cases))("%s", (_, test) => {
  it("passes the gradient straight through where nothing saturates, and to the scale what LSQ gives it", async () => {
    const next = random(7);
    const count = elements(test.shape);
    const x = Float32Array.from({ length: count }, () => 4 * next() - 2);
    const w = Array.from({ length: count }, () => Math.fround(next() - 0.3));
    const { model, gradients } = differentiate(modelOf(test, w), { loss: "loss", wrt: ["x", "s"] });
    const session = await openSession(model);
    const found = await session.run({
      x: { dtype: "float32", shape: test.shape, data: x },
      s: { dtype: "float32", shape: test.scaleShape, data: Float32Array.from(test.scales) },
    });
    await session.close();
    const of = (name: string) => [...((found[gradients.get(name) as string] as TensorData).data as Float32Array)];

    const [low, high] = test.range.map((bound) => bound - test.zero) as [number, number];
    const scaleGradient = new Array<number>(test.scales.length).fill(0);
    let saturated = 0;
    const passed = w.map((gradient, i) => {
      const k = test.scaleOf(placeOf(i, test.shape));
      const v = (x[i] as number) / Math.fround(test.scales[k] as number);
      const out = v < low || v > high;
      if (out) saturated++;
      const step = out ? Math.min(Math.max(v, low), high) : Math.round(v) - v;
      scaleGradient[k] = (scaleGradient[k] as number) + gradient * step;
      return out ? 0 : gradient;
    });
    expect(saturated).toBeGreaterThan(0);
    expect(saturated).toBeLessThan(count);
    expect(of("x")).toEqual(passed);
    const size = Math.max(...scaleGradient.map(Math.abs));
    of("s").forEach((value, k) => {
      expect(Math.abs(value - (scaleGradient[k] as number)) / size).toBeLessThan(1e-4);
    });
  });
});
