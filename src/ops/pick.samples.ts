import { float, int, ints, string } from "../ir/attrs.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x: SampleInput = { shape: [2, 3, 4] };
const image: SampleInput = { shape: [2, 8, 3, 4] };
const int64s = (...values: number[]): SampleInput => ({
  shape: [values.length],
  dtype: "int64",
  values,
  constant: true,
});
const tuples = (shape: readonly number[], ...values: number[]): SampleInput => ({
  shape,
  dtype: "int64",
  values,
  constant: true,
});
const scalar = (value: number, dtype: SampleInput["dtype"] = "int64"): SampleInput => ({
  shape: [],
  dtype,
  values: [value],
  constant: true,
});
/** Numbers that are fed: nothing is known of them before the run. */
const fed = (input: SampleInput): SampleInput => ({ ...input, constant: false });
/** Indices that are fed and drawn. */
const drawn = (high: number, ...shape: number[]): SampleInput => ({ shape, dtype: "int64", high });

const looked: readonly Sample[] = [
  { op: "GatherElements", inputs: [x, drawn(1, 5, 3, 4)] },
  { op: "GatherElements", inputs: [x, drawn(3, 2, 3, 2)], attrs: { axis: int(-1) } },
  { op: "GatherElements", inputs: [x, drawn(2, 2, 2, 3)], attrs: { axis: int(1) } },
  { op: "GatherND", inputs: [x, drawn(1, 5, 2)] },
  { op: "GatherND", inputs: [x, drawn(2, 2, 3, 1)], attrs: { batch_dims: int(1) } },
  { op: "GatherND", inputs: [x, drawn(1, 3)] },
  { op: "GatherND", inputs: [x, { shape: [4, 2], dtype: "int64", values: [1, -1, 0, 2, 1, 2, -2, 0] }] },
  {
    op: "GatherND",
    inputs: [x, { shape: [2, 3, 2], dtype: "int64", values: [0, -1, 2, 3, -3, 3, 1, 1, -2, 1, 2, 0] }],
    attrs: { batch_dims: int(1) },
  },
  { op: "GatherND", inputs: [tuples([2, 3], 1, 2, 3, 4, 5, 6), tuples([2, 1], 1, 0)] },
  { op: "GatherND", inputs: [tuples([2, 3], 1, 2, 3, 4, 5, 6), tuples([3, 2], 1, 2, 0, 0, -1, -3)] },
];

const written: readonly Sample[] = [
  {
    op: "ScatterElements",
    inputs: [
      x,
      { shape: [2, 1, 4], dtype: "int64", values: [0, 1, 2, 0, 2, 2, 1, 0] },
      { shape: [2, 1, 4], low: 2, high: 3 },
    ],
    attrs: { axis: int(1) },
  },
  {
    op: "ScatterElements",
    inputs: [
      x,
      { shape: [2, 2, 4], dtype: "int64", values: [0, 1, 2, 0, 2, 2, 1, 1, 1, 0, 0, 2, 2, 1, 2, 0] },
      { shape: [2, 2, 4], low: 2, high: 3 },
    ],
    attrs: { axis: int(1) },
  },
  { op: "ScatterElements", inputs: [x, drawn(1, 1, 3, 4), { shape: [1, 3, 4] }] },
  { op: "ScatterElements", inputs: [x, drawn(1, 2, 2, 3), { shape: [2, 2, 3] }], attrs: { reduction: string("add") } },
  { op: "ScatterND", inputs: [x, tuples([2, 2], 0, 1, 1, 2), { shape: [2, 4] }] },
  { op: "ScatterND", inputs: [x, drawn(1, 3, 1), { shape: [3, 3, 4] }], attrs: { reduction: string("max") } },
  { op: "ScatterND", inputs: [x, drawn(1, 3, 1), { shape: [3, 3, 4] }], attrs: { reduction: string("add") } },
  {
    op: "ScatterElements",
    inputs: [x, drawn(1, 2, 2, 3), { shape: [2, 2, 3], low: 1, high: 2 }],
    attrs: { reduction: string("mul") },
  },
  { op: "ScatterElements", inputs: [x, drawn(1, 2, 2, 3), { shape: [2, 2, 3] }], attrs: { reduction: string("min") } },
  { op: "ScatterND", inputs: [int64s(5, 6, 7, 8), tuples([2, 1], 1, -1), int64s(1, 2)] },
  { op: "ScatterND", inputs: [tuples([2, 2], 1, 2, 3, 4), tuples([1, 1], 1), tuples([1, 2], 8, 9)] },
  { op: "ScatterND", inputs: [tuples([2, 2], 1, 2, 3, 4), tuples([2, 2], 0, 1, 1, 0), int64s(8, 9)] },
];

const blocks: readonly Sample[] = [
  { op: "DepthToSpace", inputs: [image], attrs: { blocksize: int(2) } },
  { op: "DepthToSpace", inputs: [image], attrs: { blocksize: int(2), mode: string("CRD") } },
  { op: "SpaceToDepth", inputs: [{ shape: [2, 3, 6, 4] }], attrs: { blocksize: int(2) } },
  { op: "Col2Im", inputs: [{ shape: [2, 12, 6] }, int64s(3, 4), int64s(2, 2)] },
  {
    op: "Col2Im",
    inputs: [{ shape: [1, 6, 9] }, int64s(5, 5), fed(int64s(1, 2))],
    attrs: { pads: ints([0, 1, 0, 1]), strides: ints([2, 2]), dilations: ints([1, 2]) },
  },
];

const hot: readonly Sample[] = [
  { op: "OneHot", inputs: [drawn(4, 2, 3), scalar(5), { shape: [2] }] },
  { op: "OneHot", inputs: [drawn(4, 2, 3), int64s(5), { shape: [2], dtype: "int64" }], attrs: { axis: int(1) } },
  { op: "OneHot", inputs: [drawn(4, 2), fed(scalar(3)), { shape: [2] }], attrs: { axis: int(0) } },
];

const sequences: readonly Sample[] = [
  { op: "ReverseSequence", inputs: [x, int64s(2, 1, 2)] },
  { op: "ReverseSequence", inputs: [x, int64s(3, 2)], attrs: { batch_axis: int(0), time_axis: int(1) } },
];

const sampled: readonly Sample[] = [
  { op: "GridSample", inputs: [image, { shape: [2, 5, 6, 2] }] },
  {
    op: "GridSample",
    inputs: [image, { shape: [2, 5, 6, 2], low: -2, high: 2 }],
    attrs: { align_corners: int(1), mode: string("nearest"), padding_mode: string("border") },
  },
  { op: "GridSample", inputs: [{ shape: [1, 2, 3, 4, 5] }, { shape: [1, 2, 2, 2, 3] }] },
  ...["zeros", "border", "reflection"].flatMap((padding) =>
    ["linear", "cubic"].flatMap((mode) =>
      [0, 1].map(
        (corners): Sample => ({
          op: "GridSample",
          inputs: [image, { shape: [2, 3, 2, 2], low: -1.6, high: 1.6 }],
          attrs: { mode: string(mode), padding_mode: string(padding), align_corners: int(corners) },
        }),
      ),
    ),
  ),
  {
    op: "RoiAlign",
    inputs: [image, { shape: [3, 4], values: [0, 0, 2, 2, 1, 1, 3, 2, 0, 1, 3, 3] }, int64s(0, 1, 1)],
  },
  {
    op: "RoiAlign",
    inputs: [image, { shape: [1, 4], values: [0, 0, 4, 4] }, int64s(1)],
    attrs: {
      output_height: int(2),
      output_width: int(3),
      mode: string("max"),
      sampling_ratio: int(2),
      spatial_scale: float(0.5),
      coordinate_transformation_mode: string("output_half_pixel"),
    },
  },
];

const grids: readonly Sample[] = [
  { op: "AffineGrid", inputs: [{ shape: [2, 2, 3] }, int64s(2, 5, 4, 6)] },
  { op: "AffineGrid", inputs: [{ shape: [2, 3, 4] }, int64s(2, 5, 4, 6, 3)], attrs: { align_corners: int(1) } },
  { op: "AffineGrid", inputs: [{ shape: [1, 2, 3] }, fed(int64s(1, 3, 4, 4))] },
];

const cached: readonly Sample[] = [
  {
    op: "TensorScatter",
    opset: 24,
    inputs: [{ shape: [2, 3, 8, 4] }, { shape: [2, 3, 2, 4] }, fed(int64s(1, 3))],
  },
  {
    op: "TensorScatter",
    opset: 24,
    inputs: [{ shape: [2, 8, 4] }, { shape: [2, 2, 4] }],
    attrs: { mode: string("circular"), axis: int(1) },
  },
  {
    op: "TensorScatter",
    opset: 24,
    inputs: [{ shape: [2, 3, 4] }, { shape: [2, 2, 4] }, int64s(0, 2)],
    attrs: { mode: string("circular") },
  },
];

const boxes: SampleInput = { shape: [1, 3, 4], values: [0, 0, 1, 1, 0, 0, 1, 0.9, 2, 2, 3, 3] };
const scores: SampleInput = { shape: [1, 2, 3], low: 0, high: 1 };
const limit = (value: number): SampleInput => ({ shape: [1], values: [value], constant: true });

const suppressed: readonly Sample[] = [
  { op: "NonMaxSuppression", inputs: [boxes, scores] },
  {
    op: "NonMaxSuppression",
    inputs: [boxes, scores, int64s(2), limit(0.5), limit(0.1)],
    attrs: { center_point_box: int(1) },
  },
];

export const samples: readonly Sample[] = [
  ...looked,
  ...written,
  ...blocks,
  ...hot,
  ...sequences,
  ...grids,
  ...cached,
  ...sampled,
  ...suppressed,
];
