import { MinnowError } from "../errors.ts";
import { BITS, byteSize, type DType } from "./dtype.ts";

/** A range of bytes inside a tensor's data. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * A constant. A small one (≤ {@link SMALL_BYTES}: shapes, scales, axes) holds its `bytes`; a large one may still lie in
 * a file: `read` fetches it, nothing keeps it. Bytes are ONNX's `raw_data`: little-endian, row-major, sub-byte types packed.
 */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** All of the data, where it is at hand. */
  readonly bytes?: Uint8Array;
  /** The elements of a string tensor, each as the bytes in the file; such a tensor has no other data. */
  readonly strings?: readonly Uint8Array[];
  readonly doc?: string;
  readonly metadata?: ReadonlyMap<string, string>;
  /** Protobuf fields this version does not know, as they came. */
  readonly unknown?: readonly Uint8Array[];
  /** Fetches the data, or a range of it. Never write into what it returns. */
  read(range?: ByteRange): Promise<Uint8Array>;
}

/** Up to this size a tensor read from a file carries its `bytes`, so that shapes and costs are computed synchronously. */
export const SMALL_BYTES = 4096;

/** Numbers on the host: what sessions take and give. Types under 32 bits come as their storage (float16: Uint16Array). */
export interface TensorData {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray | readonly string[];
}

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
} as const;

/** The number of elements of a shape; 1 for a scalar. */
export const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A tensor over bytes in `raw_data` form. */
export function tensorOf(dtype: DType, shape: readonly number[], bytes: Uint8Array): Tensor {
  if (bytes.byteLength !== byteSize(dtype, elements(shape)))
    throw new MinnowError(
      `A ${dtype} tensor of shape [${shape}] takes ${byteSize(dtype, elements(shape))} bytes; ${bytes.byteLength} were given.`,
      { code: "tensor/size" },
    );
  return {
    dtype,
    shape,
    bytes,
    read: async (range) => (range ? bytes.subarray(range.offset, range.offset + range.length) : bytes),
  };
}

/** A tensor whose bytes are computed when someone asks, and not kept. `produce` gets no range: it makes all of them. */
export const lazyTensor = (dtype: DType, shape: readonly number[], produce: () => Promise<Uint8Array>): Tensor => ({
  dtype,
  shape,
  read: async (range) => {
    const bytes = await produce();
    return range ? bytes.subarray(range.offset, range.offset + range.length) : bytes;
  },
});

/** A tensor of numbers. int64 values may be numbers; other than that they go through the typed array's own rounding. */
export function tensorFrom(dtype: DType, shape: readonly number[], values: ArrayLike<number | bigint>): Tensor {
  const make = ARRAYS[dtype as keyof typeof ARRAYS];
  if (dtype === "bool")
    return tensorOf(
      dtype,
      shape,
      Uint8Array.from(values as ArrayLike<number>, (v) => (v ? 1 : 0)),
    );
  if (make === undefined || dtype === "float16" || dtype === "bfloat16")
    throw new MinnowError(`Numbers cannot be turned into ${dtype} here; give its bytes.`, { code: "tensor/dtype" });
  const array: TypedArray =
    dtype === "int64" || dtype === "uint64"
      ? (make as BigInt64ArrayConstructor).from(Array.from(values, BigInt))
      : (make as Float32ArrayConstructor).from(values as ArrayLike<number>);
  return tensorOf(dtype, shape, new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
}

/** An int64 tensor of one dimension, as axes and shapes are. */
export const int64s = (values: readonly (number | bigint)[]): Tensor => tensorFrom("int64", [values.length], values);

/** A float32 tensor. */
export const float32s = (shape: readonly number[], values: ArrayLike<number>): Tensor =>
  tensorFrom("float32", shape, values);

/** The bytes as a typed array of the element type; types without one (bool, fp8, sub-byte) come as Uint8Array. */
export function viewOf(dtype: DType, bytes: Uint8Array): TypedArray {
  const make: { readonly BYTES_PER_ELEMENT: number; new (b: ArrayBufferLike, o: number, n: number): TypedArray } =
    ARRAYS[dtype as keyof typeof ARRAYS] ?? Uint8Array;
  const aligned = bytes.byteOffset % make.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  return new make(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / make.BYTES_PER_ELEMENT));
}

/** The values of a tensor on the host. */
export async function readData(tensor: Tensor): Promise<TensorData> {
  const { dtype, shape } = tensor;
  if (tensor.strings) return { dtype, shape, data: tensor.strings.map((s) => new TextDecoder().decode(s)) };
  return { dtype, shape, data: viewOf(dtype, await tensor.read()) };
}

/** The values of a float32 tensor; a MinnowError names the type if it is another. */
export async function readFloats(tensor: Tensor): Promise<Float32Array> {
  if (tensor.dtype !== "float32")
    throw new MinnowError(`A float32 tensor was expected, this one is ${tensor.dtype}.`, { code: "tensor/dtype" });
  return viewOf("float32", await tensor.read()) as Float32Array;
}

/** The values of a small tensor as plain numbers, or undefined when they are not at hand or are no numbers. */
export function smallValues(tensor: Tensor): number[] | undefined {
  if (tensor.bytes === undefined || tensor.bytes.byteLength > SMALL_BYTES) return undefined;
  if (BITS[tensor.dtype] < 8 || tensor.dtype.startsWith("float8") || tensor.dtype.startsWith("complex"))
    return undefined;
  if (tensor.dtype === "bfloat16" || tensor.dtype === "float16") return undefined;
  return Array.from(viewOf(tensor.dtype, tensor.bytes), Number);
}
