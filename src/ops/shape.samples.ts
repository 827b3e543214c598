import { float, floats, int, ints, string, tensor } from "../ir/attrs.ts";
import { float32s, int64s as int64Tensor, tensorFrom } from "../ir/tensor.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x: SampleInput = { shape: [2, 3, 4] };
const int64s = (...values: number[]): SampleInput => ({
  shape: [values.length],
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
const text = (value: string) => new TextEncoder().encode(value);

const sizes: readonly Sample[] = [
  { op: "Shape", inputs: [x] },
  { op: "Shape", inputs: [x], attrs: { start: int(1) } },
  { op: "Shape", inputs: [x], attrs: { start: int(-2), end: int(-1) } },
  { op: "Shape", inputs: [x], attrs: { start: int(-9), end: int(9) } },
  { op: "Shape", inputs: [x], attrs: { start: int(2), end: int(1) } },
  { op: "Shape", inputs: [{ shape: [] }] },
  { op: "Size", inputs: [x] },
  { op: "Size", inputs: [{ shape: [] }] },
];

const constants: readonly Sample[] = [
  { op: "Constant", inputs: [], attrs: { value: tensor(float32s([2, 2], [1, 2, 3, 4])) } },
  { op: "Constant", inputs: [], attrs: { value: tensor(int64Tensor([3, -1])) } },
  { op: "Constant", inputs: [], attrs: { value_int: int(-4) } },
  { op: "Constant", inputs: [], attrs: { value_ints: ints([2, 0, 5]) } },
  { op: "Constant", inputs: [], attrs: { value_float: float(0.1) } },
  { op: "Constant", inputs: [], attrs: { value_floats: floats([0.5, 2]) } },
  { op: "Constant", inputs: [], attrs: { value_string: string("one") } },
  { op: "Constant", inputs: [], attrs: { value_strings: { type: "strings", value: [text("a"), text("b")] } } },
  { op: "ConstantOfShape", inputs: [int64s(2, 3)] },
  { op: "ConstantOfShape", inputs: [int64s(4)], attrs: { value: tensor(tensorFrom("int64", [1], [7])) } },
  { op: "ConstantOfShape", inputs: [int64s()], attrs: { value: tensor(float32s([1], [0.5])) } },
  { op: "ConstantOfShape", inputs: [fed(int64s(2, 2))] },
  { op: "Range", inputs: [scalar(2), scalar(11), scalar(3)] },
  { op: "Range", inputs: [scalar(0), scalar(4), scalar(1)] },
  { op: "Range", inputs: [scalar(9), scalar(1), scalar(-4)] },
  { op: "Range", inputs: [scalar(3), scalar(1), scalar(1)] },
  { op: "Range", inputs: [scalar(4), scalar(-1), scalar(-1)] },
  { op: "Range", inputs: [scalar(0, "float32"), scalar(1, "float32"), scalar(0.25, "float32")] },
  { op: "Range", inputs: [fed(scalar(1)), fed(scalar(4)), fed(scalar(2))] },
];

const regrouped: readonly Sample[] = [
  { op: "Reshape", inputs: [x, int64s(6, 4)] },
  { op: "Reshape", inputs: [x, int64s(0, -1)] },
  { op: "Reshape", inputs: [x, int64s(0, 0, 2, 2)] },
  { op: "Reshape", inputs: [x, int64s(-1)] },
  { op: "Reshape", inputs: [{ shape: [1, 1] }, int64s()] },
  { op: "Reshape", inputs: [x, fed(int64s(4, 6))] },
  { op: "Reshape", inputs: [{ shape: [0, 3] }, int64s(3, 0)], attrs: { allowzero: int(1) } },
  { op: "Reshape", inputs: [int64s(1, 2, 3, 4), int64s(2, -1)] },
  { op: "Flatten", inputs: [x] },
  { op: "Flatten", inputs: [x], attrs: { axis: int(0) } },
  { op: "Flatten", inputs: [x], attrs: { axis: int(-1) } },
  { op: "Flatten", inputs: [x], attrs: { axis: int(3) } },
  { op: "Flatten", inputs: [{ shape: [] }], attrs: { axis: int(0) } },
  { op: "Flatten", inputs: [int64s(5, 6)], attrs: { axis: int(0) } },
  { op: "Squeeze", inputs: [{ shape: [2, 1, 3, 1] }, int64s(1, -1)] },
  { op: "Squeeze", inputs: [{ shape: [2, 1, 3, 1] }] },
  { op: "Squeeze", inputs: [{ shape: [2, 1, 3, 1] }, int64s()] },
  { op: "Squeeze", inputs: [{ shape: [2, 1, 3, 1] }, fed(int64s(3))] },
  { op: "Squeeze", inputs: [int64s(8), int64s(0)] },
  { op: "Unsqueeze", inputs: [x, int64s(0, -1)] },
  { op: "Unsqueeze", inputs: [x, int64s(2)] },
  { op: "Unsqueeze", inputs: [x, fed(int64s(1))] },
  { op: "Unsqueeze", inputs: [scalar(5), int64s(0)] },
];

const repeated: readonly Sample[] = [
  { op: "Expand", inputs: [{ shape: [3, 1] }, int64s(2, 1, 4)] },
  { op: "Expand", inputs: [{ shape: [1, 3, 4] }, int64s(3, 4)] },
  { op: "Expand", inputs: [{ shape: [3] }, int64s(2, 3)] },
  { op: "Expand", inputs: [x, int64s(1)] },
  { op: "Expand", inputs: [{ shape: [3, 1] }, fed(int64s(3, 2))] },
  { op: "Expand", inputs: [scalar(-1), int64s(3)] },
  { op: "Expand", inputs: [{ shape: [2, 1], dtype: "int64", values: [1, 2], constant: true }, int64s(3, 1, 2)] },
  { op: "Tile", inputs: [x, int64s(1, 2, 3)] },
  { op: "Tile", inputs: [{ shape: [3] }, int64s(2)] },
  { op: "Tile", inputs: [{ shape: [2, 3] }, fed(int64s(2, 1))] },
  { op: "Tile", inputs: [int64s(4, 5), int64s(3)] },
];

export const samples: readonly Sample[] = [...sizes, ...constants, ...regrouped, ...repeated];
