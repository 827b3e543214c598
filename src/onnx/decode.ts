import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { MinnowError } from "../errors.ts";
import { damaged, MOST_DEPTH, type Scanned, tooDeep } from "./scan.ts";
import { type Field, fieldOf, type MessageName, type Raw } from "./schema.ts";

/** A message or string of 2 bytes becomes an object of some hundred; this bounds what a hostile file can make of that. */
const MOST_PARTS = 4_000_000;

type Loose = Record<string, unknown> & { unknown?: Uint8Array[] };

/** Decodes messages by the table from what a scan found. */
export class Decoder {
  readonly #bytes: Uint8Array;
  readonly #left: Scanned["left"];
  readonly #name: string;
  readonly #reader: BinaryReader;
  /** Bytes left in the file before the reader's position. */
  #shift = 0;
  #parts = 0;
  readonly #extents = new Map<object, readonly [from: number, to: number]>();
  /** Every tensor whose data lies in another file. */
  readonly external: Raw<"Tensor">[] = [];

  constructor({ bytes, left }: Scanned, name: string) {
    this.#bytes = bytes;
    this.#left = left;
    this.#name = name;
    this.#reader = new BinaryReader(bytes);
  }

  /** The whole of the bytes as one message. */
  decode<Name extends MessageName>(name: Name): Raw<Name> {
    let total = this.#bytes.byteLength;
    for (const { length } of this.#left.values()) total += length;
    try {
      return this.#message(name, total, 0) as Raw<Name>;
    } catch (cause) {
      throw damaged(this.#name, cause);
    }
  }

  /** A message that was decoded, as the field of this number, as it came; undefined where large data of it is in the file. */
  asItCame(message: object, number: number): Uint8Array | undefined {
    const extent = this.#extents.get(message);
    if (extent === undefined) return undefined;
    const body = this.#bytes.subarray(...extent);
    return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(body).finish();
  }

  #message(name: MessageName, end: number, depth: number): Loose {
    if (depth > MOST_DEPTH) throw tooDeep(this.#name);
    this.#count();
    const reader = this.#reader;
    const out: Loose = {};
    const from = reader.pos;
    const shift = this.#shift;
    while (reader.pos + this.#shift < end) {
      const start = reader.pos;
      const [number, type] = reader.tag();
      const field = fieldOf(name, number);
      if (field === undefined || !this.#field(out, field, type, end, depth)) {
        reader.skip(type, number, 0);
        this.#keepUnknown(out, start);
      }
    }
    if (reader.pos + this.#shift !== end) throw new RangeError(`a ${name} message runs over its end`);
    if (KEPT.has(name) && this.#shift === shift) this.#extents.set(out, [from, reader.pos]);
    if (name === "Tensor" && isExternal(out)) this.external.push(out);
    return out;
  }

  /** Keeps the field that was just skipped; neighbours are kept in one piece. */
  #keepUnknown(out: Loose, start: number): void {
    out.unknown ??= [];
    const last = out.unknown.at(-1);
    const end = this.#reader.pos;
    if (last !== undefined && last.byteOffset + last.byteLength === this.#bytes.byteOffset + start)
      out.unknown[out.unknown.length - 1] = this.#bytes.subarray(start - last.byteLength, end);
    else {
      this.#count();
      out.unknown.push(this.#bytes.subarray(start, end));
    }
  }

  #count(): void {
    if (++this.#parts > MOST_PARTS)
      throw new MinnowError(`It holds more than ${MOST_PARTS} messages.`, {
        code: "onnx/too-many",
        at: this.#name,
        mend: "No real model has as many; check where the file comes from.",
      });
  }

  /** Reads a field whose tag has been read; false, with nothing read, where its wire type is another than the table's. */
  #field(out: Loose, field: Field, type: WireType, end: number, depth: number): boolean {
    const { name, kind, many } = field;
    if (type !== WIRE[kind]) {
      if (type !== WireType.LengthDelimited || !many) return false;
      this.#packed(list(out, name), kind, this.#length(end));
      return true;
    }
    const value = type === WireType.LengthDelimited ? this.#delimited(field, end, depth) : this.#scalar(kind);
    if (many) list(out, name).push(value);
    else out[name] = value;
    return true;
  }

  #delimited(field: Field, end: number, depth: number): unknown {
    const length = this.#length(end);
    const reader = this.#reader;
    if (field.message !== undefined) return this.#message(field.message, reader.pos + this.#shift + length, depth + 1);
    if (field.kind === "data" && this.#left.has(reader.pos)) return this.#skipLeft(length);
    const bytes = this.#take(length);
    if (field.kind === "string") return text.decode(bytes);
    this.#count();
    return bytes;
  }

  #packed(into: unknown[], kind: Field["kind"], length: number): void {
    const reader = this.#reader;
    if (this.#left.has(reader.pos)) {
      into.push(this.#skipLeft(length));
      return;
    }
    const end = reader.pos + length;
    if (end > reader.len) throw new RangeError("premature end");
    while (reader.pos < end) into.push(this.#scalar(kind));
    if (reader.pos !== end) throw new RangeError("a packed list runs over its end");
  }

  #scalar(kind: Field["kind"]): number | bigint {
    const reader = this.#reader;
    if (kind === "float") return reader.float();
    if (kind === "data32") return reader.fixed32();
    if (kind === "data64") return BigInt(reader.fixed64());
    const first = this.#bytes[reader.pos] ?? 0x80;
    if (first < 0x80) {
      reader.pos++;
      return first;
    }
    const value = BigInt(reader.int64());
    const near = Number(value);
    return Number.isSafeInteger(near) ? near : value;
  }

  #length(end: number): number {
    const length = this.#reader.uint32();
    const rest = end - this.#reader.pos - this.#shift;
    if (length > rest) throw new RangeError(`a field of ${length} bytes where ${rest} are left`);
    return length;
  }

  #take(length: number): Uint8Array {
    const from = this.#reader.pos;
    if (from + length > this.#reader.len) throw new RangeError("premature end");
    this.#reader.pos += length;
    return this.#bytes.subarray(from, from + length);
  }

  #skipLeft(length: number): unknown {
    const data = this.#left.get(this.#reader.pos);
    if (data?.length !== length) throw new RangeError("data of another length");
    this.#shift += length;
    return data;
  }
}

const isExternal = (tensor: Raw<"Tensor">): boolean => Number(tensor.location ?? 0) === 1;

const text = new TextDecoder("utf-8", { ignoreBOM: true });

/** Messages that are kept as they came where the graph has no words for them. */
const KEPT: ReadonlySet<MessageName> = new Set<MessageName>(["Type", "Attribute", "Entry"]);

const WIRE: Readonly<Record<Field["kind"], WireType>> = {
  string: WireType.LengthDelimited,
  bytes: WireType.LengthDelimited,
  data: WireType.LengthDelimited,
  message: WireType.LengthDelimited,
  int: WireType.Varint,
  dataInt: WireType.Varint,
  float: WireType.Bit32,
  data32: WireType.Bit32,
  data64: WireType.Bit64,
};

function list(out: Loose, name: string): unknown[] {
  out[name] ??= [];
  return out[name] as unknown[];
}
