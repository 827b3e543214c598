import { ints, string } from "../ir/attrs.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x: SampleInput = { shape: [2, 6, 4] };
const int64s = (...values: number[]): SampleInput => ({
  shape: [values.length],
  dtype: "int64",
  values,
  constant: true,
});
/** Numbers that are fed: nothing is known of them before the run. */
const fed = (input: SampleInput): SampleInput => ({ ...input, constant: false });
const FAR = 2 ** 63 - 1024;
const value: SampleInput = { shape: [], values: [0.5], constant: true };

const slices: readonly Sample[] = [
  { op: "Slice", inputs: [x, int64s(0, 1), int64s(1, 3)] },
  { op: "Slice", inputs: [x, int64s(1), int64s(4), int64s(1)] },
  { op: "Slice", inputs: [x, int64s(2), int64s(FAR), int64s(-2)] },
  { op: "Slice", inputs: [x, int64s(0), int64s(2), int64s(2)] },
  { op: "Slice", inputs: [x, int64s(-3, 1), int64s(-1, 9), int64s(1, 2), int64s(1, 1)] },
  { op: "Slice", inputs: [x, int64s(1), int64s(FAR), int64s(1), int64s(2)] },
  { op: "Slice", inputs: [x, int64s(0), int64s(6), int64s(1), int64s(4)] },
  { op: "Slice", inputs: [x, int64s(5), int64s(0), int64s(1), int64s(-2)] },
  { op: "Slice", inputs: [x, int64s(-1), int64s(-FAR), int64s(1), int64s(-1)] },
  { op: "Slice", inputs: [x, int64s(FAR, 4), int64s(-5, 0), int64s(2, 1), int64s(-2, -3)] },
  { op: "Slice", inputs: [x, int64s(3), int64s(2), int64s(1)] },
  { op: "Slice", inputs: [x, int64s(0, 0), int64s(FAR, FAR), int64s(0, 1)] },
  { op: "Slice", inputs: [x, fed(int64s(1)), fed(int64s(3)), int64s(1)] },
  { op: "Slice", inputs: [x, int64s(1), int64s(3), fed(int64s(2))] },
  { op: "Slice", inputs: [x, int64s(1), int64s(3), int64s(2), fed(int64s(1))] },
  { op: "Slice", inputs: [int64s(4, 5, 6, 7), int64s(1), int64s(-1), int64s(0)] },
  { op: "Slice", inputs: [int64s(4, 5, 6, 7), int64s(-1), int64s(-FAR), int64s(0), int64s(-2)] },
];

const pads: readonly Sample[] = [
  { op: "Pad", inputs: [x, int64s(0, 1, 2, 0, 3, 0)] },
  { op: "Pad", inputs: [x, int64s(0, 1, -1, 0, -2, 0), value] },
  { op: "Pad", inputs: [x, int64s(1, 2), value, int64s(-1)] },
  { op: "Pad", inputs: [x, int64s(1, 0, 0, 2), undefined, int64s(1, 2)] },
  { op: "Pad", inputs: [x, int64s(1, 2), undefined, int64s(1)], attrs: { mode: string("reflect") } },
  { op: "Pad", inputs: [x, int64s(0, 0, 1, 0, 1, 1)], attrs: { mode: string("edge") } },
  { op: "Pad", inputs: [x, int64s(0, 0, 1, 0, 1, 1)], attrs: { mode: string("wrap") } },
  { op: "Pad", inputs: [x, int64s(0, 2, 1, 0, 0, 3)], attrs: { mode: string("reflect") } },
  { op: "Pad", inputs: [x, int64s(2, 1), undefined, int64s(0)], attrs: { mode: string("edge") } },
  { op: "Pad", inputs: [x, fed(int64s(0, 1, 2, 0, 3, 0)), fed(value)] },
  { op: "Pad", inputs: [x, fed(int64s(1, 1)), value, int64s(2)] },
];

const crops: readonly Sample[] = [
  { op: "CenterCropPad", inputs: [x, int64s(3, 4, 4)] },
  { op: "CenterCropPad", inputs: [x, int64s(3, 7)], attrs: { axes: ints([1, -1]) } },
  { op: "CenterCropPad", inputs: [x, int64s(3, 3)], attrs: { axes: ints([1, 2]) } },
  { op: "CenterCropPad", inputs: [x, fed(int64s(8))], attrs: { axes: ints([1]) } },
];

export const samples: readonly Sample[] = [...slices, ...pads, ...crops];
