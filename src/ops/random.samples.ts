import { float, int, ints } from "../ir/attrs.ts";
import { codeOf, type DType } from "../ir/dtype.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x: SampleInput = { shape: [2, 3, 4], low: 0, high: 1 };
const of = (dtype: DType) => ({ dtype: int(codeOf(dtype)) });

export const samples: readonly Sample[] = [
  { op: "Bernoulli", inputs: [x] },
  { op: "Bernoulli", inputs: [x], attrs: { ...of("int32"), seed: float(3) } },
  { op: "Multinomial", inputs: [{ shape: [2, 5] }] },
  { op: "Multinomial", inputs: [{ shape: [2, 5] }], attrs: { ...of("int64"), sample_size: int(4), seed: float(3) } },
  { op: "RandomNormal", inputs: [], attrs: { shape: ints([2, 3]) } },
  {
    op: "RandomNormal",
    inputs: [],
    attrs: { shape: ints([4]), ...of("float64"), mean: float(1), scale: float(2), seed: float(3) },
  },
  { op: "RandomNormalLike", inputs: [x] },
  {
    op: "RandomNormalLike",
    inputs: [{ shape: [2, 3], dtype: "int32" }],
    attrs: { ...of("float64"), mean: float(1), scale: float(2), seed: float(3) },
  },
  { op: "RandomUniform", inputs: [], attrs: { shape: ints([2, 3]) } },
  {
    op: "RandomUniform",
    inputs: [],
    attrs: { shape: ints([4]), ...of("float64"), low: float(1), high: float(2), seed: float(3) },
  },
  { op: "RandomUniformLike", inputs: [x] },
  {
    op: "RandomUniformLike",
    inputs: [{ shape: [2, 3], dtype: "int32" }],
    attrs: { ...of("float64"), low: float(1), high: float(2), seed: float(3) },
  },
];
