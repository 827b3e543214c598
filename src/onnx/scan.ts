import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { MinnowError } from "../errors.ts";
import type { Source } from "../files/source.ts";
import { SMALL_BYTES } from "../ir/tensor.ts";
import { type Elsewhere, fieldOf, HOLDS_DATA, type MessageName } from "./schema.ts";

/** The structure of a file, without the large data in it. */
export interface Scanned {
  /** All bytes but those left in the file, in order. */
  readonly bytes: Uint8Array;
  /** What was left in the file, by the position in `bytes` where it would stand. */
  readonly left: ReadonlyMap<number, Elsewhere>;
}

/** What may be held of one file besides its data; a file with more is refused. */
const MOST_STRUCTURE = 2 ** 30;
const WINDOW = 1 << 16;
/** Longest tag (5 bytes) and length (10). */
const HEAD = 15;

interface Hole {
  readonly offset: number;
  readonly length: number;
}

/** Walks over a model file, notes where its large data lies, and reads the rest. */
export async function scan(source: Source): Promise<Scanned> {
  const holes: Hole[] = [];
  await new Walk(source, holes).message("Model", 0, source.size, 0).catch((cause) => {
    throw damaged(source.name, cause);
  });
  const left = new Map<number, Elsewhere>();
  const total = holes.reduce((sum, hole) => sum - hole.length, source.size);
  if (total > MOST_STRUCTURE)
    throw new MinnowError(`${total} bytes of it are no tensor data; at most ${MOST_STRUCTURE} can be held.`, {
      code: "onnx/too-large",
      at: source.name,
      mend: "Check that this is an ONNX model.",
    });
  if (holes.length === 0) return { bytes: await source.read(0, source.size), left };
  const bytes = new Uint8Array(total);
  let at = 0;
  let from = 0;
  const copy = async (to: number) => {
    if (to > from) bytes.set(await source.read(from, to - from), at);
    at += to - from;
  };
  for (const hole of holes) {
    await copy(hole.offset);
    left.set(at, inFile(source, hole));
    from = hole.offset + hole.length;
  }
  await copy(source.size);
  return { bytes, left };
}

/** A stretch of a file as data that is read when asked for; a range is cut to the stretch. */
export const inFile = (source: Source, { offset, length }: Hole): Elsewhere => ({
  length,
  read: (range = { offset: 0, length }) => {
    const from = Math.min(range.offset, length);
    return source.read(offset + from, Math.min(range.length, length - from));
  },
});

/** Finds the data fields above SMALL_BYTES; it looks only into messages large enough to hold one. */
class Walk {
  readonly #source: Source;
  readonly #holes: Hole[];
  #reader = new BinaryReader(new Uint8Array(0));
  #start = 0;

  constructor(source: Source, holes: Hole[]) {
    this.#source = source;
    this.#holes = holes;
  }

  async message(name: MessageName, from: number, to: number, depth: number): Promise<void> {
    if (depth > MOST_DEPTH) throw tooDeep(this.#source.name);
    let at = from;
    while (at < to) {
      const need = Math.min(HEAD, to - at);
      if (at < this.#start || at + need > this.#start + this.#reader.len) await this.#load(at);
      const { number, type, body, length } = this.#head(at, to);
      if (length > SMALL_BYTES && type === WireType.LengthDelimited) {
        const field = fieldOf(name, number);
        if (field?.message !== undefined && HOLDS_DATA.has(field.message))
          await this.message(field.message, body, body + length, depth + 1);
        else if (field?.kind.startsWith("data")) this.#holes.push({ offset: body, length });
      }
      at = body + length;
    }
  }

  async #load(at: number): Promise<void> {
    this.#reader = new BinaryReader(await this.#source.read(at, Math.min(WINDOW, this.#source.size - at)));
    this.#start = at;
  }

  /** Tag and extent of the field at a position that has been loaded. */
  #head(at: number, end: number): { number: number; type: WireType; body: number; length: number } {
    const reader = this.#reader;
    reader.pos = at - this.#start;
    const [number, type] = reader.tag();
    let body = reader.pos;
    let length = 0;
    if (type === WireType.LengthDelimited) {
      length = reader.uint32();
      body = reader.pos;
    } else if (type === WireType.Varint) length = reader.skip(type).byteLength;
    else if (type === WireType.Bit32) length = 4;
    else if (type === WireType.Bit64) length = 8;
    else throw new RangeError("a kind of field that ONNX does not use");
    body += this.#start;
    if (body + length > end) throw new RangeError(`a field of ${length} bytes where ${end - body} are left`);
    return { number, type, body, length };
  }
}

/** As deep as protobuf itself goes; a subgraph takes three levels. */
export const MOST_DEPTH = 100;

export const tooDeep = (at: string): MinnowError =>
  new MinnowError(`Its messages are nested more than ${MOST_DEPTH} deep.`, {
    code: "onnx/too-deep",
    at,
    mend: "No exporter writes that; check where the file comes from.",
  });

/** What the wire reader throws, as the error users see; errors of ours stay as they are. */
export function damaged(at: string, cause: unknown): MinnowError {
  if (cause instanceof MinnowError) return cause;
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new MinnowError(`This is no ONNX model, or it is damaged (${detail}).`, {
    code: "onnx/damaged",
    at,
    mend: "Download or export it again.",
    cause,
  });
}
