import { int, string } from "../ir/attrs.ts";
import type { DType } from "../ir/dtype.ts";
import type { Sample, SampleInput } from "./sample.ts";

const of = (dtype: DType, ...shape: number[]): SampleInput => ({ shape, dtype });
const constant = (dtype: DType, ...values: number[]): SampleInput => ({
  shape: [values.length],
  dtype,
  values,
  constant: true,
});
const scalar = (dtype: DType, value: number): SampleInput => ({ shape: [], dtype, values: [value], constant: true });

/** The operator on tensors of one type, in the ways they broadcast. */
const two = (op: string, dtype: DType = "float32", more: Partial<Sample> = {}): Sample[] => [
  { op, inputs: [of(dtype, 2, 3, 4), of(dtype, 3, 1)], ...more },
  { op, inputs: [of(dtype, 4), of(dtype, 2, 1, 4)], ...more },
];
/** On constants, whose numbers are followed. */
const values = (op: string, dtype: DType, a: number[], b: number[], more: Partial<Sample> = {}): Sample => ({
  op,
  inputs: [constant(dtype, ...a), constant(dtype, ...b)],
  ...more,
});
const three = (op: string): Sample[] => [
  { op, inputs: [of("float32", 2, 3, 4), of("float32", 3, 1), of("float32", 1)] },
  { op, inputs: [of("float32", 2, 3)] },
];
const positive = (dtype: DType, ...shape: number[]): SampleInput => ({ shape, dtype, low: 1, high: 5 });

export const samples: readonly Sample[] = [
  ...two("Add"),
  values("Add", "int64", [2, -3, 4], [5, 5, 1]),
  values("Add", "float32", [2.5, 0.1], [5]),
  ...two("And", "bool"),
  values("And", "bool", [0, 1, 0, 1], [0, 0, 1, 1]),
  { op: "BitShift", attrs: { direction: string("LEFT") }, inputs: [of("uint8", 2, 3), of("uint8", 3)] },
  { op: "BitShift", attrs: { direction: string("RIGHT") }, inputs: [of("uint32", 3), of("uint32", 2, 1)] },
  ...two("BitwiseAnd", "int32"),
  values("BitwiseAnd", "int64", [6, -1], [3, 12]),
  ...two("BitwiseOr", "int32"),
  values("BitwiseOr", "int64", [6, -1], [3, 12]),
  ...two("BitwiseXor", "uint8"),
  values("BitwiseXor", "int64", [6, -1], [3, 12]),
  { op: "Div", inputs: [of("float32", 2, 3), positive("float32", 3)] },
  { op: "Div", inputs: [of("float32", 3), positive("float32", 2, 1)] },
  { op: "Div", inputs: [of("int32", 3), positive("int32", 2, 1)] },
  values("Div", "int64", [7, -7, 12, 6], [2, 2, 5, 3]),
  values("Div", "float32", [7, -7, 1, 3], [2, 4, 3, 1]),
  ...two("Equal"),
  values("Equal", "int64", [3, -1, 7], [3, 4, -1]),
  ...two("Greater"),
  values("Greater", "int64", [3, -1, 7], [3, 4, -1]),
  ...two("GreaterOrEqual"),
  values("GreaterOrEqual", "int64", [3, -1, 7], [3, 4, -1]),
  ...two("Less"),
  values("Less", "int64", [3, -1, 7], [3, 4, -1]),
  ...two("LessOrEqual"),
  values("LessOrEqual", "int64", [3, -1, 7], [3, 4, -1]),
  ...two("Max"),
  ...three("Max"),
  values("Max", "int64", [3, -1, 7], [1, 4, 7]),
  ...three("Mean"),
  ...two("Min"),
  ...three("Min"),
  values("Min", "int64", [3, -1, 7], [1, 4, 7]),
  { op: "Mod", inputs: [of("int32", 2, 3), positive("int32", 3)] },
  { op: "Mod", attrs: { fmod: int(1) }, inputs: [of("float32", 2, 3), positive("float32", 3)] },
  {
    op: "Mod",
    attrs: { fmod: int(1) },
    inputs: [{ ...of("float32", 4, 3), low: -20, high: 20 }, positive("float32", 3)],
  },
  values("Mod", "int64", [7, -7, 7, 6], [3, 3, -3, 3]),
  values("Mod", "int64", [7, -7, 7, 6], [3, 3, -3, 3], { attrs: { fmod: int(1) } }),
  ...two("Mul"),
  values("Mul", "int64", [2, -3, 4], [5, 5, 1]),
  values("Mul", "float32", [2, 0.1, 7], [0.5, 0.3, 0.3]),
  ...two("Or", "bool"),
  values("Or", "bool", [0, 1, 0, 1], [0, 0, 1, 1]),
  { op: "Pow", inputs: [positive("float32", 2, 3), of("int64", 3)] },
  { op: "Pow", inputs: [positive("float32", 2, 3), of("float32", 4, 1, 3)] },
  { op: "Pow", inputs: [positive("float32", 2, 3), scalar("float32", 0.5)] },
  { op: "Pow", inputs: [of("float32", 2, 3), scalar("float32", 3)] },
  { op: "Pow", inputs: [positive("float32", 2, 3), scalar("float32", -1.5)] },
  { op: "Pow", inputs: [of("float32", 2, 3), scalar("float32", 0)] },
  values("Pow", "int64", [2, 3, 7], [3, 2, 1]),
  values("Pow", "float32", [4, 3, 7], [0.5, 2, -1]),
  ...two("Sub"),
  values("Sub", "int64", [2, -3, 4], [5, 5, 1]),
  ...three("Sum"),
  { op: "Sum", inputs: [constant("float32", 1, 2), constant("float32", 3), constant("float32", 5, 7)] },
  { op: "Where", inputs: [of("bool", 2, 1, 4), of("float32", 3, 1), of("float32", 1)] },
  { op: "Where", inputs: [of("bool", 4), of("float32", 2, 3, 1), of("float32", 2, 1, 4)] },
  { op: "Where", inputs: [constant("bool", 0, 1, 0), constant("int64", 4, 5, 6), constant("int64", 7, 8, 9)] },
  { op: "Where", inputs: [scalar("bool", 1), constant("int64", 4, 5, 6), of("int64", 1)] },
  { op: "Where", inputs: [of("bool", 2), constant("int64", 4, 5), constant("int64", 4, 5)] },
  ...two("Xor", "bool"),
  values("Xor", "bool", [0, 1, 0, 1], [0, 0, 1, 1]),
];
