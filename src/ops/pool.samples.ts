import { int, ints, string } from "../ir/attrs.ts";
import type { Sample } from "./sample.ts";

const x = (...shape: number[]) => ({ shape });
/** Far apart, so that a small step neither changes which is largest nor the sign. */
const apart = (...shape: number[]) => ({ shape, low: -20, high: 20 });

const scale = (value: number) => ({ shape: [], values: [value] });
const zero = (value: number) => ({ shape: [], dtype: "uint8" as const, values: [value] });
const averaged = (shape: number[], ...after: (ReturnType<typeof scale> | undefined)[]) => ({
  op: "QLinearAveragePool",
  domain: "com.microsoft",
  inputs: [{ shape, dtype: "uint8" as const }, scale(0.1), ...after],
});

const slid = { kernel_shape: ints([3, 2]), strides: ints([2, 1]), pads: ints([1, 0, 1, 1]) };

export const samples: readonly Sample[] = [
  { op: "MaxPool", inputs: [x(2, 3, 7, 6)], attrs: { ...slid, dilations: ints([2, 1]) } },
  {
    op: "MaxPool",
    inputs: [x(2, 3, 8, 6)],
    attrs: { kernel_shape: ints([3, 3]), strides: ints([2, 2]), ceil_mode: int(1) },
  },
  {
    op: "MaxPool",
    inputs: [x(2, 3, 7)],
    attrs: { kernel_shape: ints([2]), auto_pad: string("SAME_LOWER"), strides: ints([2]) },
  },
  { op: "MaxPool", inputs: [x(2, 3, 4, 5, 6)], attrs: { kernel_shape: ints([2, 2, 2]) } },
  { op: "MaxPool", inputs: [x(2, 3, 6, 6)], attrs: { kernel_shape: ints([2, 2]), storage_order: int(1) }, outputs: 2 },
  { op: "AveragePool", inputs: [x(2, 3, 7, 6)], attrs: { ...slid, count_include_pad: int(1) } },
  {
    op: "AveragePool",
    inputs: [x(2, 3, 8, 6)],
    attrs: { kernel_shape: ints([3, 3]), strides: ints([2, 2]), ceil_mode: int(1), dilations: ints([2, 1]) },
  },
  { op: "AveragePool", inputs: [x(2, 3, 7)], attrs: { kernel_shape: ints([2]), auto_pad: string("SAME_UPPER") } },
  { op: "LpPool", inputs: [apart(2, 3, 7, 6)], attrs: { ...slid, p: int(1) } },
  {
    op: "LpPool",
    inputs: [x(2, 3, 8, 6)],
    attrs: { kernel_shape: ints([3, 3]), strides: ints([2, 2]), ceil_mode: int(1), dilations: ints([2, 1]) },
  },
  { op: "LpPool", inputs: [x(2, 3, 7)], attrs: { kernel_shape: ints([2]), auto_pad: string("VALID") } },
  { op: "GlobalAveragePool", inputs: [x(2, 3, 5, 4)] },
  { op: "GlobalAveragePool", inputs: [x(2, 3, 5)] },
  { op: "GlobalMaxPool", inputs: [apart(2, 3, 5, 4)] },
  { op: "GlobalLpPool", inputs: [x(2, 3, 5, 4)], attrs: { p: int(1) } },
  {
    op: "MaxUnpool",
    inputs: [x(1, 1, 2, 2), { shape: [1, 1, 2, 2], dtype: "int64", values: [5, 7, 13, 15] }],
    attrs: { kernel_shape: ints([2, 2]), strides: ints([2, 2]), pads: ints([0, 0, 0, 0]) },
  },
  {
    op: "MaxUnpool",
    inputs: [
      x(1, 1, 2, 2),
      { shape: [1, 1, 2, 2], dtype: "int64", values: [5, 7, 13, 15] },
      { shape: [4], dtype: "int64", values: [1, 1, 5, 5] },
    ],
    attrs: { kernel_shape: ints([2, 2]), strides: ints([2, 2]), pads: ints([0, 0, 1, 1]) },
  },
  { ...averaged([2, 3, 7, 6], zero(3), scale(0.2), zero(2)), attrs: { ...slid, count_include_pad: int(1) } },
  {
    ...averaged([2, 8, 6, 3], zero(3), scale(0.2), zero(2)),
    attrs: { ...slid, channels_last: int(1), ceil_mode: int(1) },
  },
  {
    ...averaged([2, 3, 7], zero(3), scale(0.2)),
    attrs: { kernel_shape: ints([2]), auto_pad: string("SAME_UPPER") },
  },
];
