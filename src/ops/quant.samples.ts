import { float, int } from "../ir/attrs.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x = (...shape: number[]): SampleInput => ({ shape });
const bytes = (...shape: number[]): SampleInput => ({ shape, dtype: "uint8" });
const scale = (...values: number[]): SampleInput => ({ shape: values.length === 1 ? [] : [values.length], values });
const zero = (...values: number[]): SampleInput => ({ ...scale(...values), dtype: "uint8" });
const ms = "com.microsoft";

export const samples: readonly Sample[] = [
  { op: "QuantizeLinear", inputs: [x(2, 3, 4), scale(0.1)] },
  { op: "QuantizeLinear", inputs: [x(2, 3, 4), scale(0.1, 0.2, 0.3), zero(3, 4, 5)], attrs: { axis: int(1) } },
  {
    op: "QuantizeLinear",
    inputs: [x(2, 3, 4), scale(0.1, 0.2, 0.3, 0.4), zero(3, 4, 5, 6)],
    attrs: { axis: int(-1), saturate: int(0) },
  },
  {
    op: "QuantizeLinear",
    inputs: [x(4, 3), { shape: [2, 3], low: 0.1 }],
    attrs: { axis: int(0), block_size: int(2), output_dtype: int(5) },
  },
  { op: "QuantizeLinear", opset: 23, inputs: [x(2, 3), scale(0.1)], attrs: { precision: int(1) } },
  { op: "DequantizeLinear", inputs: [bytes(2, 3, 4), scale(0.1)] },
  { op: "DequantizeLinear", inputs: [bytes(2, 3, 4), scale(0.1, 0.2, 0.3), zero(3, 4, 5)], attrs: { axis: int(1) } },
  { op: "DequantizeLinear", inputs: [bytes(3, 2, 4), scale(0.1, 0.2, 0.3)], attrs: { axis: int(0) } },
  {
    op: "DequantizeLinear",
    inputs: [bytes(4, 3), { shape: [2, 3], low: 0.1 }],
    attrs: { axis: int(0), block_size: int(2) },
  },
  { op: "DequantizeLinear", opset: 23, inputs: [bytes(2, 3), scale(0.1)], attrs: { output_dtype: int(1) } },
  { op: "DynamicQuantizeLinear", inputs: [x(2, 3, 4)], outputs: 3 },
  {
    op: "QuantizeLinear",
    domain: ms,
    inputs: [x(2, 3, 4), scale(0.1, 0.2, 0.3), zero(3, 4, 5)],
    attrs: { axis: int(1) },
  },
  { op: "QuantizeLinear", domain: ms, inputs: [x(2, 3), scale(0.1), zero(3)] },
  {
    op: "DequantizeLinear",
    domain: ms,
    inputs: [bytes(2, 3, 4), scale(0.1, 0.2, 0.3), zero(3, 4, 5)],
    attrs: { axis: int(1) },
  },
  { op: "DequantizeLinear", domain: ms, inputs: [bytes(2, 3), scale(0.1), zero(3)] },
  {
    op: "QLinearAdd",
    domain: ms,
    inputs: [bytes(2, 3, 4), scale(0.1), zero(3), bytes(3, 4), scale(0.2), zero(2), scale(0.3), zero(1)],
  },
  {
    op: "QLinearAdd",
    domain: ms,
    inputs: [bytes(2, 3), scale(0.1), zero(3), bytes(2, 3), scale(0.2), zero(2), scale(0.3)],
  },
  {
    op: "QLinearMul",
    domain: ms,
    inputs: [bytes(2, 3, 4), scale(0.1), zero(3), bytes(3, 4), scale(0.2), zero(2), scale(0.3), zero(1)],
  },
  {
    op: "QLinearMul",
    domain: ms,
    inputs: [bytes(2, 3), scale(0.1), zero(3), bytes(2, 3), scale(0.2), zero(2), scale(0.3)],
  },
  { op: "QLinearGlobalAveragePool", domain: ms, inputs: [bytes(2, 3, 4, 4), scale(0.1), zero(3), scale(0.2), zero(2)] },
  {
    op: "QLinearGlobalAveragePool",
    domain: ms,
    inputs: [bytes(2, 4, 4, 3), scale(0.1), zero(3), scale(0.2), zero(2)],
    attrs: { channels_last: int(1) },
  },
  { op: "QLinearSigmoid", domain: ms, inputs: [bytes(2, 3), scale(0.1), zero(3), scale(0.00390625), zero(0)] },
  { op: "QLinearLeakyRelu", domain: ms, inputs: [bytes(2, 3), scale(0.1), zero(3), scale(0.1), zero(2)] },
  {
    op: "QLinearSoftmax",
    domain: ms,
    inputs: [bytes(2, 3), scale(0.1), zero(3), scale(0.00390625), zero(0)],
    attrs: { axis: int(1), opset: int(13) },
  },
  { op: "QuantizeLinear", domain: ms, inputs: [x(2, 3), scale(0.1)] },
  { op: "DequantizeLinear", domain: ms, inputs: [bytes(2, 3), scale(0.1)] },
  {
    op: "QLinearLeakyRelu",
    domain: ms,
    inputs: [bytes(2, 3), scale(0.1), zero(3), scale(0.1), zero(2)],
    attrs: { alpha: float(0.5) },
  },
  {
    op: "QLinearConcat",
    domain: ms,
    inputs: [scale(0.1), zero(2), bytes(2, 3, 4), scale(0.2), zero(3), bytes(2, 2, 4), scale(0.1), zero(1)],
    attrs: { axis: int(1) },
  },
  {
    op: "GatherBlockQuantized",
    domain: ms,
    inputs: [
      { shape: [6, 32], dtype: "int4", constant: true },
      { shape: [2, 3], dtype: "int64", values: [0, 5, 2, 1, 3, 4] },
      { shape: [6, 2], low: 0.1, constant: true },
    ],
    attrs: { block_size: int(16) },
  },
  {
    op: "GatherBlockQuantized",
    domain: ms,
    inputs: [
      { shape: [3, 4, 32], dtype: "int4", constant: true },
      { shape: [2], dtype: "int64", values: [0, 3] },
      { shape: [1, 4, 32], low: 0.1, constant: true },
      { shape: [1, 4, 32], dtype: "int4", constant: true },
    ],
    attrs: { block_size: int(16), gather_axis: int(1), quantize_axis: int(0) },
  },
  {
    op: "GatherBlockQuantized",
    domain: ms,
    inputs: [
      { shape: [6, 32], dtype: "uint8", constant: true },
      { shape: [3], dtype: "int64", values: [0, 5, 2] },
      { shape: [6, 2], low: 0.1, constant: true },
    ],
    attrs: { bits: int(8), block_size: int(16) },
  },
];
