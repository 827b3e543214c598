import { createSink } from "#platform";
import { MinnowError } from "../errors.ts";
import { type NumberType, widthOf } from "./numbers.ts";
import { type Openable, sourceOf } from "./open.ts";
import type { Sink, Source } from "./source.ts";

/** Element types a safetensors file holds; a subset of the graph's, by the same names. */
export type SafetensorsType = NumberType | "bfloat16" | "float8e4m3fn" | "float8e5m2";

/** A tensor that lies in a file; it serves as one of a graph as it is. */
export interface SafeTensor {
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  /** Its bytes, or a range of them: little-endian, row-major. Nothing is kept. */
  read(range?: { readonly offset: number; readonly length: number }): Promise<Uint8Array>;
}

/** What a safetensors file holds. */
export interface Safetensors {
  /** By name, in the order of their data. */
  readonly tensors: ReadonlyMap<string, SafeTensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** The types by the format's words, with the bytes of one element. */
const TYPES: Readonly<Record<string, readonly [SafetensorsType, number]>> = {
  ...Object.fromEntries(
    (
      [
        ["F64", "float64"],
        ["F32", "float32"],
        ["F16", "float16"],
        ["I64", "int64"],
        ["I32", "int32"],
        ["I16", "int16"],
        ["I8", "int8"],
        ["U64", "uint64"],
        ["U32", "uint32"],
        ["U16", "uint16"],
        ["U8", "uint8"],
        ["BOOL", "bool"],
      ] as const
    ).map(([word, dtype]) => [word, [dtype, widthOf(dtype)] as const]),
  ),
  BF16: ["bfloat16", 2],
  F8_E4M3: ["float8e4m3fn", 1],
  F8_E5M2: ["float8e5m2", 1],
};

const WORDS: ReadonlyMap<string, { readonly word: string; readonly width: number }> = new Map(
  Object.entries(TYPES).map(([word, [dtype, width]]) => [dtype, { word, width }]),
);

/** The longest header that is read, as in the reference implementation. */
const MOST_HEADER = 100_000_000;
const METADATA = "__metadata__";

/**
 * Reads the header of a safetensors file at a path (Node), a URL, in a Blob or bytes; the tensors stay in the file until
 * they are read, by ranges if asked. A MinnowError (`files/safetensors`) for what is no such file, and for one whose tensors
 * overlap, leave gaps or lie beyond its end (https://github.com/huggingface/safetensors, "Format"); `files/truncated` for one
 * that is cut off.
 *
 * @example
 * const { tensors } = await readSafetensors("model.safetensors");
 * const bytes = await tensors.get("conv1.weight")?.read();
 */
export async function readSafetensors(from: Openable): Promise<Safetensors> {
  const source = await sourceOf(from);
  const { header, start } = await readHeader(source);
  const { [METADATA]: notes = {}, ...entries } = header;
  const fail = (what: string) => damaged(what, source.name);
  if (!isRecord(notes) || !Object.values(notes).every((note) => typeof note === "string"))
    throw fail("Its metadata are not all texts.");
  const read = Object.entries(entries).map(([name, entry]) => ({ name, ...entryOf(name, entry, fail) }));
  read.sort((a, b) => a.start - b.start || a.end - b.end);
  let end = 0;
  for (const tensor of read) {
    if (tensor.start < end) throw fail(`Tensor "${tensor.name}" overlaps the one before it.`);
    if (tensor.start > end) throw fail(`There is a gap before tensor "${tensor.name}".`);
    end = tensor.end;
  }
  if (start + end > source.size)
    throw new MinnowError(`It is ${source.size} bytes long; its header tells of ${start + end}.`, {
      code: "files/truncated",
      at: source.name,
      mend: "It is incomplete: fetch it again.",
    });
  if (start + end < source.size) throw fail(`It goes on for ${source.size - start - end} bytes after its last tensor.`);
  return {
    tensors: new Map(read.map((entry) => [entry.name, tensorAt(source, start, entry)])),
    metadata: new Map(Object.entries(notes as Record<string, string>)),
  };
}

type Fail = (what: string) => MinnowError;

const damaged = (what: string, at: string): MinnowError =>
  new MinnowError(what, {
    code: "files/safetensors",
    at,
    mend: "Fetch it again, or write it with save_file of safetensors.torch.",
  });

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

async function readHeader(source: Source): Promise<{ header: Record<string, unknown>; start: number }> {
  const fail = (what: string) => damaged(what, source.name);
  if (source.size < 10) throw fail(`It is ${source.size} bytes long, too short for a header.`);
  const first = await source.read(0, 8);
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true));
  if (length > MOST_HEADER || 8 + length > source.size)
    throw fail(`Its header would be ${length} bytes long; the file has ${source.size}.`);
  const text = new TextDecoder().decode(await source.read(8, length));
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw fail("Its header is no JSON.");
  }
  if (!isRecord(header)) throw fail("Its header is no JSON object.");
  return { header, start: 8 + length };
}

interface Entry {
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

function entryOf(name: string, entry: unknown, fail: Fail): Entry {
  const at = `Tensor "${name}"`;
  if (!isRecord(entry)) throw fail(`${at} has no type, shape and place.`);
  const { dtype, shape, data_offsets: offsets } = entry;
  const type = typeof dtype === "string" && Object.hasOwn(TYPES, dtype) ? TYPES[dtype] : undefined;
  if (type === undefined)
    throw fail(`${at} is of type ${JSON.stringify(dtype)}; known are ${Object.keys(TYPES).join(", ")}.`);
  if (!isSizes(shape)) throw fail(`${at} has the shape ${JSON.stringify(shape)}.`);
  if (!isSizes(offsets) || offsets.length !== 2)
    throw fail(`${at} lies at ${JSON.stringify(offsets)}, which is no range.`);
  const [start = 0, end = 0] = offsets;
  const bytes = shape.reduce((a, b) => a * b, type[1]);
  if (end - start !== bytes)
    throw fail(`${at} has ${end - start} bytes; ${type[0]} of shape [${shape}] takes ${bytes}.`);
  return { dtype: type[0], shape, start, end };
}

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);

function tensorAt(source: Source, from: number, { dtype, shape, start, end }: Entry): SafeTensor {
  return {
    dtype,
    shape,
    read: async ({ offset, length } = { offset: 0, length: end - start }) => {
      if (offset < 0 || length < 0 || offset + length > end - start)
        throw new MinnowError(`Bytes ${offset} to ${offset + length} were asked for; the tensor has ${end - start}.`, {
          code: "files/end",
          at: source.name,
        });
      return source.read(from + start + offset, length);
    },
  };
}

/** A tensor to write: one of a graph will do. */
export type WritableTensor = Omit<SafeTensor, "dtype"> & { readonly dtype: string };

/**
 * Writes tensors and texts as safetensors, one tensor at a time: a lazy one is read when it is its turn, and forgotten.
 * The widest elements come first, so that all are aligned. The sink is left to whoever made it, to commit or to abort.
 * A MinnowError (`files/safetensors-type`) for element types the format has no word for.
 */
export async function writeSafetensors(
  tensors: ReadonlyMap<string, WritableTensor>,
  sink: Pick<Sink, "write">,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const placed = [...tensors].map(([name, tensor]) => ({ name, tensor, ...wordOf(name, tensor.dtype) }));
  placed.sort((a, b) => b.width - a.width);
  let end = 0;
  const header = placed.map(({ name, tensor: { shape }, word, width }) => {
    const start = end;
    end += shape.reduce((a, b) => a * b, width);
    return [name, { dtype: word, shape, data_offsets: [start, end] }] as const;
  });
  const notes = Object.keys(metadata).length === 0 ? [] : [[METADATA, metadata] as const];
  await sink.write(framed(JSON.stringify(Object.fromEntries([...notes, ...header]))));
  for (const [i, { name, tensor }] of placed.entries()) {
    const bytes = await tensor.read();
    const [start = 0, stop = 0] = header[i]?.[1].data_offsets ?? [];
    if (bytes.byteLength !== stop - start)
      throw new MinnowError(`It gave ${bytes.byteLength} bytes; its type and shape take ${stop - start}.`, {
        code: "tensor/size",
        at: `tensor "${name}"`,
        mend: "Whatever computes the tensor is wrong.",
      });
    await sink.write(bytes);
  }
}

/**
 * Writes a safetensors file to a path; nothing is to be seen there before all is written, and an error leaves what was
 * there.
 *
 * @example
 * await saveSafetensors(new Map([["fc.weight", float32s([2, 2], [1, 2, 3, 4])]]), "model.safetensors", { step: "12" });
 */
export async function saveSafetensors(
  tensors: ReadonlyMap<string, WritableTensor>,
  path: string,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const sink = await createSink(path);
  try {
    await writeSafetensors(tensors, sink, metadata);
    await sink.commit();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

function wordOf(name: string, dtype: string): { word: string; width: number } {
  const found = WORDS.get(dtype);
  if (found !== undefined && name !== METADATA) return found;
  throw new MinnowError(
    name === METADATA ? "No tensor can have this name." : `A safetensors file cannot hold the type ${dtype}.`,
    { code: "files/safetensors-type", at: `tensor "${name}"`, mend: `It holds ${[...WORDS.keys()].join(", ")}.` },
  );
}

/** The header with its length before it, padded so that the data begin at a multiple of 8. */
function framed(json: string): Uint8Array {
  const text = new TextEncoder().encode(json);
  const bytes = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(text, 8);
  return bytes;
}
