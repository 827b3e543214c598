import { MinnowError } from "../errors.ts";

/** Element types that files of arrays hold; a subset of the graph's, by the same names. */
export type NumberType =
  | "bool"
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "uint32"
  | "int32"
  | "uint64"
  | "int64"
  | "float16"
  | "float32"
  | "float64";

/** An array in a file, read by its rows: the elements along axis 0. */
export interface FileArray {
  readonly dtype: NumberType;
  readonly shape: readonly number[];
  /** The bytes of rows `[start, start + count)`: little-endian, row-major. */
  rows(start: number, count: number): Promise<Uint8Array>;
}

/** Bytes of one element. */
export const widthOf = (dtype: NumberType): number =>
  dtype === "bool" || dtype.endsWith("t8") ? 1 : Number(/\d+$/.exec(dtype)?.[0]) / 8;

/** The rows of an array that starts at `start` of something that gives bytes; `swap` where it is big-endian. */
export function fileArray(
  dtype: NumberType,
  shape: readonly number[],
  swap: boolean,
  read: (offset: number, length: number) => Promise<Uint8Array>,
  at: string,
): FileArray {
  const width = widthOf(dtype);
  const row = shape.slice(1).reduce((a, b) => a * b, width);
  return {
    dtype,
    shape,
    async rows(start, count) {
      const bytes = await read(start * row, count * row);
      if (bytes.byteLength !== count * row)
        throw new MinnowError("It is shorter than its header says.", {
          code: "files/truncated",
          at,
          mend: "Fetch it again.",
        });
      return swap && width > 1 ? swapped(bytes, width) : bytes;
    },
  };
}

function swapped(bytes: Uint8Array, width: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i += width)
    for (let k = 0; k < width; k++) out[i + k] = bytes[i + width - 1 - k] as number;
  return out;
}
