import { int } from "../ir/attrs.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x: SampleInput = { shape: [2, 3, 4], low: 0.5, high: 1.5 };
const int64s = (...values: number[]): SampleInput => ({
  shape: [values.length],
  dtype: "int64",
  values,
  constant: true,
});
const scalar = (value: number): SampleInput => ({ shape: [], dtype: "int64", values: [value], constant: true });
/** Axes that are fed: nothing is known of them before the run. */
const fed = (...values: number[]): SampleInput => ({ shape: [values.length], dtype: "int64", values });

const reductions = [
  "ReduceL1",
  "ReduceL2",
  "ReduceLogSum",
  "ReduceLogSumExp",
  "ReduceMax",
  "ReduceMean",
  "ReduceMin",
  "ReduceProd",
  "ReduceSum",
  "ReduceSumSquare",
].flatMap((op): Sample[] => [
  { op, inputs: [x] },
  { op, inputs: [x, int64s(1)] },
  { op, inputs: [x, int64s(-1, 0)], attrs: { keepdims: int(0) } },
  { op, inputs: [x, int64s()], attrs: { noop_with_empty_axes: int(1) } },
  { op, inputs: [x], attrs: { noop_with_empty_axes: int(1) } },
  { op, inputs: [x, fed(2)] },
  { op, inputs: [x, fed(2)], attrs: { keepdims: int(0) } },
]);

const folded = ["ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"].flatMap((op): Sample[] => [
  { op, inputs: [int64s(3, 4, 5), int64s(0)], attrs: { keepdims: int(0) } },
  { op, inputs: [int64s(3, -4)] },
  { op, inputs: [int64s(6)], attrs: { noop_with_empty_axes: int(1) } },
]);

const positions = ["ArgMax", "ArgMin"].flatMap((op): Sample[] => [
  { op, inputs: [x] },
  { op, inputs: [x], attrs: { axis: int(-1), keepdims: int(0), select_last_index: int(1) } },
]);

const along = ["Hardmax", "LogSoftmax", "Softmax"].flatMap((op): Sample[] => [
  { op, inputs: [x] },
  { op, inputs: [x], attrs: { axis: int(1) } },
]);

/** Numbers of both signs. */
const signed = [
  "ReduceL1",
  "ReduceL2",
  "ReduceLogSumExp",
  "ReduceMax",
  "ReduceMin",
  "ReduceProd",
  "ReduceSumSquare",
].flatMap((op): Sample[] => [
  { op, inputs: [{ shape: [2, 3, 4] }, int64s(1, 2)] },
  { op, inputs: [{ shape: [2, 3] }], attrs: { noop_with_empty_axes: int(1) } },
]);

/** None, one and two zeros in a row. */
const zeros: SampleInput = { shape: [3, 4], values: [2, 3, 0.5, -1, 2, 0, 0.5, -1, 0, 3, 0, -1] };

export const samples: readonly Sample[] = [
  ...reductions,
  ...folded,
  ...positions,
  ...along,
  { op: "ReduceMax", inputs: [{ shape: [2, 3, 4], high: -0.2 }, int64s(1)] },
  ...signed,
  { op: "ReduceProd", inputs: [zeros, int64s(1)] },
  { op: "ReduceProd", inputs: [{ shape: [2, 2], values: [2, 0, -1, 3] }] },
  { op: "CumProd", opset: 26, inputs: [zeros, scalar(-1)], attrs: { exclusive: int(1) } },
  { op: "CumProd", opset: 26, inputs: [zeros, scalar(1)], attrs: { reverse: int(1) } },
  { op: "CumProd", opset: 26, inputs: [x, scalar(1)] },
  { op: "CumProd", opset: 26, inputs: [x, scalar(1)], attrs: { exclusive: int(1), reverse: int(1) } },
  { op: "CumSum", inputs: [x, scalar(1)] },
  { op: "CumSum", inputs: [x, { ...scalar(-1), constant: false }], attrs: { exclusive: int(1), reverse: int(1) } },
  { op: "TopK", inputs: [x, int64s(2)], outputs: 2 },
  { op: "TopK", inputs: [x, int64s(2)], attrs: { axis: int(1), largest: int(0), sorted: int(0) }, outputs: 2 },
  { op: "TopK", inputs: [x, fed(3)], outputs: 2 },
];
