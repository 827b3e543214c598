import { MinnowError } from "../errors.ts";
import { inflate } from "./inflate.ts";
import { type FileArray, fileArray, type NumberType, widthOf } from "./numbers.ts";
import { bytesSource, type Source } from "./source.ts";

const TYPES: Readonly<Record<number, NumberType>> = {
  8: "uint8",
  9: "int8",
  11: "int16",
  12: "int32",
  13: "float32",
  14: "float64",
};

/** An array in MNIST's idx format, gzipped or not (yann.lecun.com/exdb/mnist). */
export async function readIdx(source: Source): Promise<FileArray> {
  const fail = (what: string) => new MinnowError(what, { code: "files/idx", at: source.name, mend: "Fetch it again." });
  const start = await source.read(0, Math.min(4, source.size));
  if (start[0] === 0x1f && start[1] === 0x8b) {
    const bytes = await inflate(await source.read(0, source.size), "gzip", { at: source.name });
    return readIdx(bytesSource(bytes, source.name));
  }
  const dtype = TYPES[start[2] ?? 0];
  const rank = start[3] ?? 0;
  if (start[0] !== 0 || start[1] !== 0 || dtype === undefined || rank === 0 || source.size < 4 + 4 * rank)
    throw fail("It is no idx file.");
  const header = await source.read(4, 4 * rank);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 * axis));
  const data = 4 + 4 * rank;
  if (data + shape.reduce((a, b) => a * b, widthOf(dtype)) > source.size)
    throw fail("It is shorter than its header says.");
  return fileArray(dtype, shape, true, (offset, length) => source.read(data + offset, length), source.name);
}
