import { floats, int, ints, string } from "../ir/attrs.ts";
import type { Sample } from "./sample.ts";

const x = (...shape: number[]) => ({ shape });
const whole = (dtype: "uint8" | "int8", ...shape: number[]) => ({ shape, dtype });
const scalar = (value: number) => ({ shape: [], values: [value] });
const zero = (dtype: "uint8" | "int8", value: number) => ({ shape: [], dtype, values: [value] });

export const samples: readonly Sample[] = [
  { op: "Conv", inputs: [x(2, 4, 6, 7), x(6, 4, 3, 3)], attrs: { kernel_shape: ints([3, 3]) } },
  {
    op: "Conv",
    inputs: [x(2, 4, 9, 8), x(6, 2, 3, 2), x(6)],
    attrs: { group: int(2), pads: ints([1, 0, 2, 1]), strides: ints([2, 1]), dilations: ints([2, 1]) },
  },
  {
    op: "Conv",
    inputs: [x(2, 4, 7, 5), x(4, 1, 3, 3), x(4)],
    attrs: { group: int(4), auto_pad: string("SAME_UPPER"), strides: ints([2, 2]) },
  },
  { op: "Conv", inputs: [x(2, 3, 9), x(5, 3, 4)], attrs: { auto_pad: string("VALID") } },
  { op: "Conv", inputs: [x(2, 3, 4, 5, 6), x(2, 3, 2, 2, 2)], attrs: { pads: ints([1, 1, 1, 0, 0, 0]) } },
  { op: "Conv", inputs: [x(2, 9, 6, 5), x(10, 9, 3, 3)], attrs: { pads: ints([1, 1, 1, 1]), strides: ints([2, 1]) } },
  {
    op: "Conv",
    inputs: [x(3, 12, 3, 3), x(11, 12, 2, 2), x(11)],
    attrs: { dilations: ints([2, 1]), pads: ints([0, 1, 1, 0]) },
  },
  { op: "Conv", inputs: [x(2, 3, 6, 8), x(5, 3, 3, 2), x(5)], attrs: { strides: ints([3, 2]) } },
  { op: "Conv", inputs: [x(2, 10, 5, 5), x(12, 10, 1, 1)], attrs: { strides: ints([2, 2]) } },
  {
    op: "Conv",
    inputs: [x(2, 3, 9), x(3, 1, 3)],
    attrs: { group: int(3), strides: ints([2]), dilations: ints([2]), pads: ints([3, 2]) },
  },
  { op: "Conv", inputs: [x(2, 3, 8, 9), x(6, 1, 3, 4)], attrs: { group: int(3), strides: ints([3, 2]) } },
  { op: "Conv", inputs: [x(2, 2, 5, 5), x(3, 2, 2, 2)], attrs: { pads: ints([2, 2, 2, 2]) } },
  { op: "ConvTranspose", inputs: [x(2, 4, 5, 4), x(4, 3, 3, 3)], attrs: { kernel_shape: ints([3, 3]) } },
  {
    op: "ConvTranspose",
    inputs: [x(2, 4, 5, 4), x(4, 3, 3, 2), x(6)],
    attrs: {
      group: int(2),
      strides: ints([2, 3]),
      pads: ints([1, 0, 1, 1]),
      output_padding: ints([1, 2]),
      dilations: ints([2, 1]),
    },
  },
  {
    op: "ConvTranspose",
    inputs: [x(2, 4, 5), x(4, 3, 3)],
    attrs: { strides: ints([2]), auto_pad: string("SAME_LOWER") },
  },
  {
    op: "ConvTranspose",
    inputs: [x(2, 4, 5, 5), x(4, 3, 3, 3)],
    attrs: { strides: ints([2, 2]), output_shape: ints([10, 10]) },
  },
  { op: "ConvInteger", inputs: [whole("uint8", 2, 3, 6, 6), whole("uint8", 4, 3, 3, 3)] },
  {
    op: "ConvInteger",
    inputs: [whole("uint8", 2, 4, 6, 6), whole("uint8", 4, 2, 3, 2), zero("uint8", 3), zero("uint8", 2)],
    attrs: {
      group: int(2),
      pads: ints([1, 0, 1, 1]),
      strides: ints([2, 1]),
      dilations: ints([1, 2]),
      kernel_shape: ints([3, 2]),
    },
  },
  {
    op: "ConvInteger",
    inputs: [whole("uint8", 1, 1, 5, 5), whole("uint8", 2, 1, 3, 3)],
    attrs: { auto_pad: string("SAME_UPPER") },
  },
  {
    op: "QLinearConv",
    inputs: [
      whole("uint8", 2, 4, 6, 6),
      scalar(0.1),
      zero("uint8", 3),
      whole("uint8", 4, 2, 3, 3),
      scalar(0.2),
      zero("uint8", 2),
      scalar(0.05),
      zero("uint8", 7),
    ],
    attrs: {
      group: int(2),
      pads: ints([1, 0, 1, 1]),
      strides: ints([2, 1]),
      dilations: ints([1, 1]),
      kernel_shape: ints([3, 3]),
    },
  },
  {
    op: "QLinearConv",
    inputs: [
      whole("uint8", 1, 2, 5, 5),
      scalar(0.1),
      zero("uint8", 3),
      whole("uint8", 3, 2, 2, 2),
      scalar(0.2),
      zero("uint8", 2),
      scalar(0.05),
      zero("uint8", 7),
      { shape: [3], dtype: "int32" },
    ],
    attrs: { auto_pad: string("VALID"), dilations: ints([2, 2]) },
  },
  {
    op: "FusedConv",
    domain: "com.microsoft",
    inputs: [x(2, 4, 6, 6), x(4, 2, 3, 3), x(4)],
    attrs: {
      group: int(2),
      activation: string("Relu"),
      pads: ints([1, 1, 1, 1]),
      strides: ints([2, 2]),
      dilations: ints([1, 1]),
      kernel_shape: ints([3, 3]),
    },
  },
  {
    op: "FusedConv",
    domain: "com.microsoft",
    inputs: [x(2, 4, 6, 6), x(4, 4, 3, 3)],
    attrs: { activation: string("LeakyRelu"), activation_params: floats([0.1]), auto_pad: string("VALID") },
  },
  {
    op: "FusedConv",
    domain: "com.microsoft",
    inputs: [x(2, 4, 6, 6), x(4, 4, 3, 3), x(4), x(2, 4, 4, 4)],
    attrs: { activation: string("Relu") },
  },
  { op: "DeformConv", inputs: [x(2, 3, 5, 6), x(4, 3, 2, 2), x(2, 8, 4, 5)] },
  {
    op: "DeformConv",
    inputs: [x(2, 4, 6, 5), x(6, 2, 3, 2), x(2, 24, 3, 3), x(6), x(2, 12, 3, 3)],
    attrs: {
      group: int(2),
      offset_group: int(2),
      kernel_shape: ints([3, 2]),
      pads: ints([1, 0, 2, 1]),
      strides: ints([2, 1]),
      dilations: ints([2, 3]),
    },
  },
];
