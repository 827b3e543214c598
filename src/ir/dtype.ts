/** Element types of ONNX tensors, by the names ONNX Runtime's JavaScript uses where it has one. */
export type DType =
  | "float32"
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "int32"
  | "int64"
  | "string"
  | "bool"
  | "float16"
  | "float64"
  | "uint32"
  | "uint64"
  | "complex64"
  | "complex128"
  | "bfloat16"
  | "float8e4m3fn"
  | "float8e4m3fnuz"
  | "float8e5m2"
  | "float8e5m2fnuz"
  | "uint4"
  | "int4"
  | "float4e2m1"
  | "float8e8m0"
  | "uint2"
  | "int2";

/** Bits one element takes in `raw_data`; 0 for strings. Types under 8 bits are packed, low bits first. In the order of ONNX's numbers. */
export const BITS: Readonly<Record<DType, number>> = {
  float32: 32,
  uint8: 8,
  int8: 8,
  uint16: 16,
  int16: 16,
  int32: 32,
  int64: 64,
  string: 0,
  bool: 8,
  float16: 16,
  float64: 64,
  uint32: 32,
  uint64: 64,
  complex64: 64,
  complex128: 128,
  bfloat16: 16,
  float8e4m3fn: 8,
  float8e4m3fnuz: 8,
  float8e5m2: 8,
  float8e5m2fnuz: 8,
  uint4: 4,
  int4: 4,
  float4e2m1: 4,
  float8e8m0: 8,
  uint2: 2,
  int2: 2,
};

const BY_CODE = ["", ...Object.keys(BITS)] as readonly (DType | "")[];

/** The type ONNX gives this number in `TensorProto.DataType` (1 is float32), or undefined where it gives none. */
export const dtypeOf = (code: number): DType | undefined => BY_CODE[code] || undefined;

/** The number ONNX gives a type. */
export const codeOf = (dtype: DType): number => BY_CODE.indexOf(dtype);

const FLOATS: ReadonlySet<DType> = new Set<DType>([
  "float32",
  "float16",
  "float64",
  "bfloat16",
  "float8e4m3fn",
  "float8e4m3fnuz",
  "float8e5m2",
  "float8e5m2fnuz",
  "float4e2m1",
]);

/** Whether the type holds real numbers, as learned weights do. */
export const isFloat = (dtype: DType): boolean => FLOATS.has(dtype);

/** Bytes that `count` elements take. */
export const byteSize = (dtype: DType, count: number): number => Math.ceil((count * BITS[dtype]) / 8);
