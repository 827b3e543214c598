import { int, ints } from "../ir/attrs.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x: SampleInput = { shape: [2, 3, 4] };
const int64s = (...values: number[]): SampleInput => ({
  shape: [values.length],
  dtype: "int64",
  values,
  constant: true,
});
const scalar = (value: number): SampleInput => ({ shape: [], dtype: "int64", values: [value], constant: true });
const table = (rows: number, ...values: number[]): SampleInput => ({
  shape: [rows, values.length / rows],
  dtype: "int64",
  values,
  constant: true,
});
/** Numbers that are fed: nothing is known of them before the run. */
const fed = (input: SampleInput): SampleInput => ({ ...input, constant: false });
/** Indices that are fed and drawn. */
const drawn = (shape: readonly number[], high: number): SampleInput => ({ shape, dtype: "int32", high });

const transposes: readonly Sample[] = [
  { op: "Transpose", inputs: [x] },
  { op: "Transpose", inputs: [x], attrs: { perm: ints([1, 2, 0]) } },
  { op: "Transpose", inputs: [{ shape: [2, 3] }] },
  { op: "Transpose", inputs: [table(2, 1, 2, 3, 4, 5, 6)], attrs: { perm: ints([1, 0]) } },
  { op: "Transpose", inputs: [{ shape: [] }] },
];

const joins: readonly Sample[] = [
  { op: "Concat", inputs: [x, { shape: [2, 2, 4] }], attrs: { axis: int(1) } },
  { op: "Concat", inputs: [x, x, { shape: [2, 3, 1] }], attrs: { axis: int(-1) } },
  { op: "Concat", inputs: [x], attrs: { axis: int(0) } },
  { op: "Concat", inputs: [int64s(1, 2), int64s(3)], attrs: { axis: int(0) } },
  { op: "Concat", inputs: [int64s(1, 2), fed(int64s(3))], attrs: { axis: int(0) } },
  { op: "Concat", inputs: [table(2, 1, 2), table(2, 3, 4, 5, 6)], attrs: { axis: int(1) } },
];

const splits: readonly Sample[] = [
  { op: "Split", inputs: [x], attrs: { axis: int(2), num_outputs: int(2) }, outputs: 2 },
  { op: "Split", inputs: [x], attrs: { axis: int(1), num_outputs: int(2) }, outputs: 2 },
  { op: "Split", inputs: [x, int64s(1, 3)], attrs: { axis: int(-1) }, outputs: 2 },
  { op: "Split", inputs: [x, fed(int64s(2, 1, 1))], attrs: { axis: int(2) }, outputs: 3 },
  { op: "Split", inputs: [{ shape: [4, 3] }, int64s(1, 3)], outputs: 2 },
  { op: "Split", inputs: [int64s(5, 6, 7, 8, 9)], attrs: { num_outputs: int(3) }, outputs: 3 },
  { op: "Split", inputs: [x], opset: 13, outputs: 2 },
  { op: "Split", inputs: [x], attrs: { num_outputs: int(1) } },
];

const picks: readonly Sample[] = [
  { op: "Gather", inputs: [x, scalar(1)], attrs: { axis: int(1) } },
  { op: "Gather", inputs: [x, scalar(-1)], attrs: { axis: int(-1) } },
  { op: "Gather", inputs: [x, scalar(0)] },
  { op: "Gather", inputs: [x, fed(scalar(1))] },
  { op: "Gather", inputs: [x, int64s(1, 2)], attrs: { axis: int(2) } },
  { op: "Gather", inputs: [x, int64s(0, 1, 2)], attrs: { axis: int(1) } },
  { op: "Gather", inputs: [x, int64s(0, 0, 1, 1, 2, 2)], attrs: { axis: int(1) } },
  { op: "Gather", inputs: [x, int64s(0, 1, 2, 0, 1, 2)], attrs: { axis: int(1) } },
  { op: "Gather", inputs: [x, int64s(2, 0, 0)], attrs: { axis: int(1) } },
  { op: "Gather", inputs: [x, table(2, 2, 0, 1, 1)], attrs: { axis: int(1) } },
  { op: "Gather", inputs: [x, drawn([5], 3)], attrs: { axis: int(2) } },
  { op: "Gather", inputs: [{ shape: [6, 3] }, drawn([2, 4], 5)] },
  { op: "Gather", inputs: [{ shape: [6, 3] }, fed(int64s(-1, 2, -1, 0))] },
  { op: "Gather", inputs: [{ shape: [40, 3] }, fed(table(2, -1, 2, -1, 0, 39, 7))] },
  { op: "Gather", inputs: [int64s(7, 8, 9), scalar(-2)] },
  { op: "Gather", inputs: [int64s(7, 8, 9), int64s(2, 0)] },
  { op: "Gather", inputs: [table(2, 1, 2, 3, 4, 5, 6), int64s(2)], attrs: { axis: int(1) } },
];

export const samples: readonly Sample[] = [...transposes, ...joins, ...splits, ...picks];
