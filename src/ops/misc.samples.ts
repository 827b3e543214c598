import { int } from "../ir/attrs.ts";
import { codeOf, type DType } from "../ir/dtype.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x: SampleInput = { shape: [2, 3, 4] };
const scalar = (value: number, dtype: DType = "int64"): SampleInput => ({
  shape: [],
  dtype,
  values: [value],
  constant: true,
});
const fed = (value: number): SampleInput => ({ shape: [], dtype: "int64", values: [value] });
const flags = (...values: number[]): SampleInput => ({ shape: [values.length], dtype: "bool", values, constant: true });
const type = (dtype: DType) => int(codeOf(dtype));

const windows = ["BlackmanWindow", "HammingWindow", "HannWindow"].flatMap((op): Sample[] => [
  { op, inputs: [scalar(10)] },
  { op, inputs: [fed(7)], attrs: { periodic: int(0), output_datatype: type("float64") } },
]);

export const samples: readonly Sample[] = [
  ...windows,
  { op: "Compress", inputs: [x, flags(0, 1, 1, 0, 1)] },
  { op: "Compress", inputs: [x, flags(0, 1, 1)], attrs: { axis: int(-2) } },
  { op: "Compress", inputs: [x, { ...flags(1, 0), constant: false }], attrs: { axis: int(0) } },
  { op: "Det", inputs: [{ shape: [2, 3, 3] }] },
  { op: "Det", inputs: [{ shape: [3, 3] }] },
  { op: "DFT", inputs: [{ shape: [2, 10, 1] }] },
  { op: "DFT", inputs: [{ shape: [2, 10, 1] }], attrs: { onesided: int(1) } },
  { op: "DFT", inputs: [{ shape: [2, 10, 2] }, scalar(8), scalar(1)], attrs: { inverse: int(1) } },
  { op: "DFT", inputs: [{ shape: [2, 6, 2] }], attrs: { inverse: int(1), onesided: int(1) } },
  { op: "DFT", inputs: [{ shape: [8, 3, 2] }, undefined, scalar(0)] },
  { op: "EyeLike", inputs: [{ shape: [3, 4] }] },
  { op: "EyeLike", inputs: [{ shape: [3, 4], dtype: "int32" }], attrs: { k: int(1), dtype: type("float64") } },
  {
    op: "MelWeightMatrix",
    inputs: [scalar(8), scalar(16), scalar(8192), scalar(0, "float32"), scalar(4096, "float32")],
    attrs: { output_datatype: type("float64") },
  },
  { op: "MelWeightMatrix", inputs: [fed(8), fed(16), scalar(8192), scalar(0, "float32"), scalar(4096, "float32")] },
  { op: "NonZero", inputs: [x] },
  { op: "NonZero", inputs: [{ shape: [] }] },
  { op: "STFT", inputs: [{ shape: [2, 128, 1] }, scalar(8), { shape: [16] }] },
  { op: "STFT", inputs: [{ shape: [2, 128, 1] }, scalar(8), undefined, scalar(16)], attrs: { onesided: int(0) } },
  { op: "Trilu", inputs: [x] },
  { op: "Trilu", inputs: [{ shape: [4, 5] }, scalar(1)], attrs: { upper: int(0) } },
  { op: "Unique", inputs: [x], outputs: 4 },
  { op: "Unique", inputs: [x], attrs: { axis: int(1), sorted: int(0) }, outputs: 4 },
];
