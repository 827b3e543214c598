import { MinnowError } from "../errors.ts";
import { type FileArray, fileArray, type NumberType, widthOf } from "./numbers.ts";
import type { Source } from "./source.ts";
import { readZip, type ZipEntry } from "./zip.ts";

/** The arrays of NumPy's .npz by name. Compressed ones are unpacked when they are read first, and kept. */
export async function readNpz(source: Source): Promise<Map<string, FileArray>> {
  const arrays = new Map<string, FileArray>();
  for (const [name, entry] of await readZip(source))
    if (name.endsWith(".npy")) arrays.set(name.slice(0, -4), await arrayOf(entry, `${source.name}, ${name}`));
  return arrays;
}

function arrayOf(entry: ZipEntry, at: string): Promise<FileArray> {
  let whole: Promise<Uint8Array> | undefined;
  const read = async (offset: number, length: number) => {
    if (entry.stored) return entry.read(offset, length);
    whole ??= entry.read();
    return (await whole).subarray(offset, offset + length);
  };
  return readNpy(entry.size, read, at);
}

const TYPES: Readonly<Record<string, NumberType>> = {
  b1: "bool",
  u1: "uint8",
  i1: "int8",
  u2: "uint16",
  i2: "int16",
  u4: "uint32",
  i4: "int32",
  u8: "uint64",
  i8: "int64",
  f2: "float16",
  f4: "float32",
  f8: "float64",
};

/** One array in NumPy's .npy format, versions 1 to 3 (numpy.lib.format). */
export async function readNpy(
  size: number,
  read: (offset: number, length: number) => Promise<Uint8Array>,
  at: string,
): Promise<FileArray> {
  const fail = (what: string, mend = "Write it again with numpy.save.") =>
    new MinnowError(what, { code: "files/npy", at, mend });
  const start = await read(0, Math.min(size, 12));
  if (start.length < 12 || String.fromCharCode(...start.subarray(0, 6)) !== "\x93NUMPY")
    throw fail("It is no .npy array.");
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const [from, length] = start[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  if (from + length > size || length > 2 ** 20) throw fail("Its header is damaged.");
  const header = new TextDecoder("latin1").decode(await read(from, length));
  const type = /'descr':\s*'([<>|=])([a-zA-Z]\d+)'/.exec(header);
  const dtype = TYPES[type?.[2] ?? ""];
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (shape === undefined) throw fail("Its header is damaged.");
  if (dtype === undefined)
    throw fail(
      `It holds ${/'descr':\s*([^,]*)/.exec(header)?.[1] ?? "something"}, which are no plain numbers.`,
      "Save numbers, for example x.astype('float32').",
    );
  if (/'fortran_order':\s*True/.test(header))
    throw fail("Its columns are stored first.", "Save it with numpy.ascontiguousarray.");
  const sizes = shape
    .split(",")
    .filter((s) => s.trim() !== "")
    .map(Number);
  const data = from + length;
  if (data + sizes.reduce((a, b) => a * b, widthOf(dtype)) > size) throw fail("It is shorter than its header says.");
  return fileArray(dtype, sizes, type?.[1] === ">", (offset, n) => read(data + offset, n), at);
}
