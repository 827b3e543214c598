import { MinnowError } from "../errors.ts";
import { BITS, byteSize, type DType, dtypeOf } from "../ir/dtype.ts";
import type { SparseTensor } from "../ir/graph.ts";
import { elements, SMALL_BYTES, type Tensor, tensorOf } from "../ir/tensor.ts";
import { extras } from "./extras.ts";
import type { Data, Elsewhere, Raw } from "./schema.ts";

/** The data of tensors that keep it in other files. */
export type ExternalData = ReadonlyMap<Raw<"Tensor">, Data>;

/** A tensor as the graph has it: whatever field held the numbers, they come as little-endian bytes. */
export function readTensor(raw: Raw<"Tensor">, external: ExternalData): Tensor {
  const at = titleOfTensor(raw);
  const dtype = dtypeOf(Number(raw.dtype ?? 0));
  if (dtype === undefined)
    throw new MinnowError(`its element type is number ${raw.dtype ?? 0}, which this version does not know.`, {
      code: "onnx/dtype",
      at,
      mend: "Known are ONNX's types 1 (float) to 26 (int2).",
    });
  const shape = readShape(raw.dims ?? [], at);
  const more = extras(raw);
  if (dtype === "string") return { ...stringTensor(raw, shape, at), ...more };
  const length = byteSize(dtype, elements(shape));
  const data = external.get(raw) ?? inlineData(raw, dtype, length, at);
  if (data.length !== length) throw wrongLength(data.length, dtype, shape, at);
  if (data instanceof Uint8Array) return { ...tensorOf(dtype, shape, data), ...more };
  return { dtype, shape, read: (range) => data.read(range), ...more };
}

export function readSparse(raw: Raw<"SparseTensor">, external: ExternalData): SparseTensor {
  const { values, indices } = raw;
  const at = `sparse ${titleOfTensor(values ?? {})}`;
  if (values === undefined || indices === undefined)
    throw new MinnowError("it lacks its values or its indices.", { code: "onnx/sparse", at, mend: EXPORT_AGAIN });
  return {
    shape: readShape(raw.dims ?? [], at),
    values: readTensor(values, external),
    indices: readTensor(indices, external),
    ...(raw.unknown && { unknown: raw.unknown }),
  };
}

export const titleOfTensor = (raw: Raw<"Tensor">): string => (raw.name ? `tensor "${raw.name}"` : "tensor");

/** Bytes that a tensor's type and shape ask for, or undefined where they are no good. */
export function lengthOf(raw: Raw<"Tensor">): number | undefined {
  const dtype = dtypeOf(Number(raw.dtype ?? 0));
  if (dtype === undefined || dtype === "string") return undefined;
  return byteSize(dtype, elements(readShape(raw.dims ?? [], titleOfTensor(raw))));
}

function readShape(dims: readonly (number | bigint)[], at: string): number[] {
  const shape = dims.map(Number);
  if (shape.some((d) => d < 0) || !Number.isSafeInteger(shape.filter((d) => d > 0).reduce((a, b) => a * b, 16)))
    throw new MinnowError(`its shape is [${dims}].`, {
      code: "onnx/dims",
      at,
      mend: "Sizes are whole numbers from 0 on, and their product stays under 2⁴⁹.",
    });
  return shape;
}

function stringTensor(raw: Raw<"Tensor">, shape: readonly number[], at: string): Tensor {
  const strings = raw.stringData ?? [];
  if (strings.length !== elements(shape)) throw wrongLength(strings.length, "string", shape, at);
  return {
    dtype: "string",
    shape,
    strings,
    read: async () => {
      throw new MinnowError("a string tensor has no bytes; read its strings.", { code: "tensor/dtype", at });
    },
  };
}

/** The field ONNX keeps numbers of a type in when they are not in `raw_data`. */
function numbersOf(raw: Raw<"Tensor">, dtype: DType): readonly (number | bigint | Elsewhere)[] {
  if (dtype === "float32" || dtype === "complex64") return raw.floatData ?? [];
  if (dtype === "float64" || dtype === "complex128") return raw.doubleData ?? [];
  if (dtype === "int64") return raw.int64Data ?? [];
  if (dtype === "uint32" || dtype === "uint64") return raw.uint64Data ?? [];
  return raw.int32Data ?? [];
}

function inlineData(raw: Raw<"Tensor">, dtype: DType, length: number, at: string): Data {
  const numbers = numbersOf(raw, dtype);
  if (numbers.length === 0) return raw.rawData ?? new Uint8Array(0);
  const width = dtype.startsWith("complex") ? BITS[dtype] / 16 : Math.max(1, BITS[dtype] / 8);
  const fixed = dtype.startsWith("float") && width >= 4;
  const [first] = numbers;
  if ((fixed || dtype.startsWith("complex")) && numbers.length === 1 && isElsewhere(first)) return first;
  if (!numbers.some(isElsewhere)) return packNumbers(numbers as readonly (number | bigint)[], width);
  return {
    length,
    read: async (range) => {
      const bytes = await fetchNumbers(numbers, width, at);
      if (bytes.byteLength !== length)
        throw new MinnowError(`it holds ${bytes.byteLength} bytes of numbers; its shape takes ${length}.`, {
          code: "onnx/tensor-size",
          at,
          mend: EXPORT_AGAIN,
        });
      return range ? bytes.subarray(range.offset, range.offset + range.length) : bytes;
    },
  };
}

const isElsewhere = (value: unknown): value is Elsewhere => typeof value === "object";

/** Numbers as little-endian bytes of this width; higher bits are dropped, as ONNX Runtime does. */
function packNumbers(numbers: readonly (number | bigint)[], width: number): Uint8Array {
  const bytes = new Uint8Array(numbers.length * width);
  const view = new DataView(bytes.buffer);
  numbers.forEach((value, i) => {
    if (width === 8) view.setBigInt64(i * 8, BigInt(value), true);
    else if (width === 4) view.setInt32(i * 4, Number(value), true);
    else if (width === 2) view.setInt16(i * 2, Number(value), true);
    else view.setInt8(i, Number(value));
  });
  return bytes;
}

async function fetchNumbers(
  pieces: readonly (number | bigint | Elsewhere)[],
  width: number,
  at: string,
): Promise<Uint8Array> {
  const numbers: (number | bigint)[] = [];
  for (const piece of pieces) {
    if (!isElsewhere(piece)) numbers.push(piece);
    else for (const value of varints(await piece.read(), at)) numbers.push(value);
  }
  return packNumbers(numbers, width);
}

function* varints(bytes: Uint8Array, at: string): Iterable<number | bigint> {
  let pos = 0;
  while (pos < bytes.byteLength) {
    let value = 0n;
    let shift = 0n;
    let small = 0;
    for (let i = 0; ; i++) {
      const byte = bytes[pos++];
      if (byte === undefined || i === 10)
        throw new MinnowError("its numbers are damaged.", { code: "onnx/damaged", at, mend: EXPORT_AGAIN });
      if (i < 4) small += (byte & 127) * 2 ** (7 * i);
      else {
        if (i === 4) value = BigInt(small);
        shift = BigInt(7 * i);
        value |= BigInt(byte & 127) << shift;
      }
      if (byte < 128) {
        yield i < 4 ? small : BigInt.asIntN(64, value);
        break;
      }
    }
  }
}

export const EXPORT_AGAIN = "The file is damaged; export the model again.";

function wrongLength(found: number, dtype: DType, shape: readonly number[], at: string): MinnowError {
  const count = elements(shape);
  const [unit, wanted] = dtype === "string" ? ["strings", count] : ["bytes", byteSize(dtype, count)];
  return new MinnowError(`it holds ${found} ${unit}; ${dtype} [${shape}] takes ${wanted}.`, {
    code: "onnx/tensor-size",
    at,
    mend: found === 0 ? "Its data may have been stripped; export the model again with it." : EXPORT_AGAIN,
  });
}

/** Whether a tensor of this many bytes holds them rather than leaving them in its file. */
export const isSmall = (length: number): boolean => length <= SMALL_BYTES;
