import { describe, expect, it } from "vitest";
import { MinnowError } from "../errors.ts";
import { float, floats, int, ints, string } from "../ir/attrs.ts";
import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import type { Sample, SampleInput } from "../ops/sample.ts";
import { openSession } from "../runtime/index.ts";
import { feedsOf, modelOf } from "../testing/single.ts";
import { upgrade } from "./upgrade.ts";

const x = (...shape: number[]): SampleInput => ({ shape });
const constant = (shape: number[], values: number[], dtype: "float32" | "int64" = "float32"): SampleInput => ({
  dtype,
  shape,
  values,
  constant: true,
});

/** Old forms by opset: what ONNX Runtime computes for them must stay the same. */
const OLD: readonly (Sample & {
  readonly opset: number;
  readonly to?: number;
  readonly within?: number;
  readonly says: string;
})[] = [
  {
    opset: 7,
    says: "Upsample with its scales as an attribute",
    op: "Upsample",
    inputs: [x(1, 2, 3, 4)],
    attrs: { scales: floats([1, 1, 2, 3]) },
  },
  {
    opset: 7,
    says: "bilinear Upsample",
    op: "Upsample",
    inputs: [x(1, 2, 3, 4)],
    attrs: { mode: string("linear"), scales: floats([1, 1, 2, 2]) },
  },
  {
    opset: 9,
    says: "Upsample with its scales as an input",
    op: "Upsample",
    inputs: [x(1, 2, 3, 4), constant([4], [1, 1, 1.7, 2.3])],
  },
  { opset: 10, says: "Resize that grows", op: "Resize", inputs: [x(1, 1, 4, 6), constant([4], [1, 1, 1.6, 2.5])] },
  { opset: 10, says: "Resize that shrinks", op: "Resize", inputs: [x(1, 1, 7, 9), constant([4], [1, 1, 0.6, 0.4])] },
  {
    opset: 10,
    says: "Resize that grows one axis and shrinks another",
    op: "Resize",
    inputs: [x(1, 1, 7, 9), constant([4], [1, 1, 1.7, 0.6])],
  },
  {
    opset: 10,
    says: "linear Resize",
    op: "Resize",
    inputs: [x(1, 1, 7, 9), constant([4], [1, 1, 0.6, 1.7])],
    attrs: { mode: string("linear") },
  },
  { opset: 11, says: "Softmax over several axes", op: "Softmax", inputs: [x(2, 3, 4, 5)], attrs: { axis: int(1) } },
  { opset: 11, says: "Softmax with a negative axis", op: "Softmax", inputs: [x(2, 3, 4)], attrs: { axis: int(-2) } },
  { opset: 7, says: "Softmax over everything", op: "Softmax", inputs: [x(2, 3, 4)], attrs: { axis: int(0) } },
  { opset: 7, says: "Softmax along the last axis", op: "Softmax", inputs: [x(2, 3)] },
  { opset: 8, says: "Softmax with only ones behind its axis", op: "Softmax", inputs: [x(2, 5, 1, 1)] },
  { opset: 11, says: "LogSoftmax over several axes", op: "LogSoftmax", inputs: [x(2, 3, 4)] },
  { opset: 11, says: "Hardmax over several axes", op: "Hardmax", inputs: [x(2, 3, 4)] },
  {
    opset: 7,
    says: "Slice with attributes",
    op: "Slice",
    inputs: [x(5, 6, 7)],
    attrs: { axes: ints([0, 2]), starts: ints([1, -4]), ends: ints([1000, -1]) },
  },
  {
    opset: 9,
    says: "Slice without axes",
    op: "Slice",
    inputs: [x(5, 6)],
    attrs: { starts: ints([1, 2]), ends: ints([3, 5]) },
  },
  {
    opset: 7,
    says: "Pad with a constant",
    op: "Pad",
    inputs: [x(2, 3)],
    attrs: { pads: ints([1, 0, 0, 2]), value: float(1.5) },
  },
  {
    opset: 10,
    says: "Pad that reflects",
    op: "Pad",
    inputs: [x(3, 4)],
    attrs: { pads: ints([1, 2, 0, 1]), mode: string("reflect") },
  },
  {
    opset: 10,
    says: "Pad of doubles",
    op: "Pad",
    inputs: [{ shape: [2, 2], dtype: "float64" }],
    attrs: { pads: ints([1, 0, 0, 1]), value: float(2) },
  },
  {
    opset: 7,
    says: "Clip between two bounds",
    op: "Clip",
    inputs: [x(3, 4)],
    attrs: { min: float(-0.5), max: float(0.25) },
  },
  { opset: 10, says: "Clip with one bound", op: "Clip", inputs: [x(3, 4)], attrs: { min: float(0.1) } },
  { opset: 7, says: "Clip without bounds", op: "Clip", inputs: [x(3, 4)] },
  { opset: 7, says: "Squeeze with axes", op: "Squeeze", inputs: [x(1, 3, 1, 2)], attrs: { axes: ints([2]) } },
  { opset: 11, says: "Squeeze without axes", op: "Squeeze", inputs: [x(1, 3, 1, 2)] },
  { opset: 11, says: "Unsqueeze", op: "Unsqueeze", inputs: [x(3, 2)], attrs: { axes: ints([0, -1]) } },
  {
    opset: 13,
    says: "ReduceMean with axes",
    op: "ReduceMean",
    inputs: [x(2, 3, 4)],
    attrs: { axes: ints([1, -1]), keepdims: int(0) },
  },
  { opset: 17, says: "ReduceMax over everything", op: "ReduceMax", inputs: [x(2, 3, 4)] },
  { opset: 11, says: "ReduceSum with axes", op: "ReduceSum", inputs: [x(2, 3, 4)], attrs: { axes: ints([0]) } },
  {
    opset: 17,
    says: "ReduceSum, whose axes are an input already",
    op: "ReduceSum",
    inputs: [x(2, 3), constant([1], [1], "int64")],
  },
  { opset: 11, says: "ReduceLogSumExp", op: "ReduceLogSumExp", inputs: [x(2, 3, 4)], attrs: { axes: ints([2]) } },
  {
    opset: 7,
    says: "Split with sizes",
    op: "Split",
    inputs: [x(2, 6)],
    outputs: 2,
    attrs: { axis: int(1), split: ints([2, 4]) },
  },
  { opset: 11, says: "Split into equal parts", op: "Split", inputs: [x(6, 2)], outputs: 3 },
  {
    opset: 13,
    says: "Split with sizes as an input",
    op: "Split",
    inputs: [x(6, 2), constant([2], [1, 5], "int64")],
    outputs: 2,
  },
  { opset: 13, says: "Split into equal parts, opset 13", op: "Split", inputs: [x(6, 2)], outputs: 2 },
  {
    opset: 7,
    says: "TopK with k as an attribute",
    op: "TopK",
    inputs: [x(3, 6)],
    outputs: 2,
    attrs: { k: int(2), axis: int(1) },
  },
  {
    opset: 10,
    says: "TopK with k as an input",
    op: "TopK",
    inputs: [x(3, 6), constant([1], [3], "int64")],
    outputs: 2,
  },
  { opset: 7, says: "Dropout", op: "Dropout", inputs: [x(3, 4)], attrs: { ratio: float(0.3) } },
  {
    opset: 7,
    says: "BatchNormalization",
    op: "BatchNormalization",
    inputs: [x(2, 3, 4), x(3), x(3), x(3), { shape: [3], low: 0.1, high: 1 }],
    attrs: { spatial: int(1), epsilon: float(1e-3), momentum: float(0.8) },
  },
  {
    opset: 7,
    says: "BatchNormalization of every element",
    within: 1e-5,
    op: "BatchNormalization",
    inputs: [x(2, 3, 4), x(3, 4), x(3, 4), x(3, 4), { shape: [3, 4], low: 0.1, high: 1 }],
    attrs: { spatial: int(0) },
  },
  {
    opset: 7,
    says: "Gemm",
    op: "Gemm",
    inputs: [x(2, 3), x(3, 4), x(4)],
    attrs: { alpha: float(0.5), beta: float(2) },
  },
  { opset: 9, says: "Gemm of opset 9", op: "Gemm", inputs: [x(3, 2), x(3, 4), x(2, 4)], attrs: { transA: int(1) } },
  { opset: 7, says: "Flatten", op: "Flatten", inputs: [x(2, 3, 4, 5)], attrs: { axis: int(2) } },
  {
    opset: 10,
    says: "AveragePool that rounds up",
    op: "AveragePool",
    inputs: [x(1, 2, 7, 6)],
    attrs: {
      kernel_shape: ints([3, 3]),
      strides: ints([2, 2]),
      ceil_mode: int(1),
      pads: ints([1, 0, 1, 0]),
      count_include_pad: int(1),
    },
  },
  {
    opset: 10,
    says: "MaxPool that rounds up",
    op: "MaxPool",
    inputs: [x(1, 2, 7, 6)],
    attrs: { kernel_shape: ints([3, 2]), strides: ints([2, 2]), ceil_mode: int(1) },
  },
  {
    opset: 9,
    says: "Scatter",
    op: "Scatter",
    inputs: [x(3, 3), { shape: [1, 2], dtype: "int64", values: [0, 2] }, x(1, 2)],
  },
  {
    opset: 10,
    says: "RoiAlign",
    op: "RoiAlign",
    inputs: [x(1, 2, 8, 8), constant([2, 4], [0, 0, 5, 5, 1, 2, 7, 6]), constant([2], [0, 0], "int64")],
    attrs: { output_height: int(2), output_width: int(3), sampling_ratio: int(2) },
  },
  {
    opset: 16,
    to: 20,
    says: "bicubic GridSample",
    op: "GridSample",
    inputs: [x(1, 1, 4, 4), x(1, 3, 3, 2)],
    attrs: { mode: string("bicubic") },
  },
  { opset: 17, to: 20, says: "DFT", op: "DFT", inputs: [x(1, 6, 4, 1)], attrs: { axis: int(2) } },
  {
    opset: 11,
    says: "Resize with a region of interest",
    op: "Resize",
    inputs: [x(1, 1, 4, 4), constant([0], []), constant([4], [1, 1, 2, 2])],
    attrs: { mode: string("cubic"), coordinate_transformation_mode: string("align_corners") },
  },
  {
    opset: 11,
    says: "Resize for a network of TensorFlow 1",
    op: "Resize",
    inputs: [x(1, 1, 4, 4), constant([0], []), constant([4], [1, 1, 2, 2])],
    attrs: { coordinate_transformation_mode: string("tf_half_pixel_for_nn") },
  },
];

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
