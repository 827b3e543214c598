import { float, int, string } from "../ir/attrs.ts";
import type { Sample } from "./sample.ts";

const x = (...shape: number[]) => ({ shape });
const whole = (dtype: "uint8" | "int8", ...shape: number[]) => ({ shape, dtype });
const scalar = (value: number) => ({ shape: [], values: [value] });
const zero = (dtype: "uint8" | "int8", value: number) => ({ shape: [], dtype, values: [value] });

export const samples: readonly Sample[] = [
  { op: "MatMul", inputs: [x(4, 3), x(3, 5)] },
  { op: "MatMul", inputs: [x(2, 6, 4, 3), x(6, 3, 5)] },
  { op: "MatMul", inputs: [x(2, 1, 4, 3), x(6, 3, 5)] },
  { op: "MatMul", inputs: [x(3), x(2, 3, 5)] },
  { op: "MatMul", inputs: [x(2, 4, 3), x(3)] },
  { op: "MatMul", inputs: [x(3), x(3)] },
  {
    op: "FusedMatMul",
    domain: "com.microsoft",
    inputs: [x(2, 3, 4), x(2, 5, 3)],
    attrs: { transA: int(1), transB: int(1), alpha: float(0.5) },
  },
  { op: "FusedMatMul", domain: "com.microsoft", inputs: [x(2, 3, 4), x(2, 4, 5)] },
  { op: "FusedMatMul", domain: "com.microsoft", inputs: [x(3, 2, 4), x(2, 4, 5)], attrs: { transBatchA: int(1) } },
  { op: "FusedMatMul", domain: "com.microsoft", inputs: [x(2, 3, 4), x(4, 2, 5)], attrs: { transBatchB: int(1) } },
  { op: "Gemm", inputs: [x(4, 3), x(3, 5)] },
  { op: "Gemm", inputs: [x(4, 3), x(5, 3), x(5)], attrs: { transB: int(1), alpha: float(0.5), beta: float(2) } },
  { op: "Gemm", inputs: [x(3, 4), x(3, 5), x(4, 5)], attrs: { transA: int(1) } },
  { op: "Gemm", inputs: [x(4, 3), x(3, 5), x(4, 1)] },
  { op: "Gemm", inputs: [x(4, 3), x(3, 5), x()] },
  { op: "Einsum", inputs: [x(2, 3, 4), x(2, 4, 5)], attrs: { equation: string("bij,bjk->bik") } },
  { op: "Einsum", inputs: [x(2, 3, 4), x(4, 5)], attrs: { equation: string("...ij, jk -> ...ik") } },
  { op: "Einsum", inputs: [x(3, 4)], attrs: { equation: string("ij->ji") } },
  { op: "Einsum", inputs: [x(3, 4), x(4, 5)], attrs: { equation: string("ij,jk") } },
  { op: "Einsum", inputs: [x(3, 3)], attrs: { equation: string("ii->i") } },
  { op: "MatMulInteger", inputs: [whole("uint8", 4, 3), whole("uint8", 3, 5)] },
  { op: "MatMulInteger", inputs: [whole("uint8", 2, 4, 3), whole("int8", 3, 5), zero("uint8", 3), zero("int8", 1)] },
  {
    op: "QLinearMatMul",
    inputs: [
      whole("uint8", 2, 4, 3),
      scalar(0.1),
      zero("uint8", 3),
      whole("uint8", 3, 5),
      scalar(0.2),
      zero("uint8", 1),
      scalar(0.05),
      zero("uint8", 2),
    ],
  },
  {
    op: "MatMulNBits",
    domain: "com.microsoft",
    inputs: [x(2, 4, 32), whole("uint8", 8, 2, 8), x(16)],
    attrs: { K: int(32), N: int(8), bits: int(4), block_size: int(16), accuracy_level: int(1) },
  },
  {
    op: "MatMulNBits",
    domain: "com.microsoft",
    inputs: [x(2, 4, 32), whole("uint8", 8, 2, 16), x(16), whole("uint8", 16), undefined, x(8)],
    attrs: { K: int(32), N: int(8), bits: int(8), block_size: int(16) },
  },
  {
    op: "MatMulIntegerToFloat",
    domain: "com.microsoft",
    inputs: [whole("uint8", 2, 4, 3), whole("uint8", 3, 5), scalar(0.1), scalar(0.2)],
  },
  {
    op: "MatMulIntegerToFloat",
    domain: "com.microsoft",
    inputs: [
      whole("uint8", 4, 3),
      whole("int8", 3, 5),
      scalar(0.1),
      { shape: [5], low: 0.1 },
      zero("uint8", 3),
      whole("int8", 5),
      x(5),
    ],
  },
  { op: "DynamicQuantizeMatMul", domain: "com.microsoft", inputs: [x(2, 4, 3), whole("int8", 3, 5), scalar(0.1)] },
  {
    op: "DynamicQuantizeMatMul",
    domain: "com.microsoft",
    inputs: [x(4, 3), whole("uint8", 3, 5), { shape: [5], low: 0.1 }, whole("uint8", 5), x(5)],
  },
  {
    op: "QGemm",
    domain: "com.microsoft",
    inputs: [whole("uint8", 4, 3), scalar(0.1), zero("uint8", 3), whole("uint8", 3, 5), scalar(0.2), zero("uint8", 1)],
  },
  {
    op: "QGemm",
    domain: "com.microsoft",
    inputs: [
      whole("uint8", 3, 4),
      scalar(0.1),
      zero("uint8", 3),
      whole("int8", 5, 3),
      { shape: [5], low: 0.1 },
      whole("int8", 5),
      { shape: [5], dtype: "int32" },
      scalar(0.05),
      zero("uint8", 2),
    ],
    attrs: { transA: int(1), transB: int(1), alpha: float(0.5) },
  },
];
