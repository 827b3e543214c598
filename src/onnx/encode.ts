import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { SMALL_BYTES } from "../ir/tensor.ts";
import { type Data, FIELDS, type Field, type MessageName, type Raw } from "./schema.ts";

/** A message on the wire: stretches of bytes, with data that is read when it is its turn. */
export interface Encoded {
  readonly length: number;
  readonly parts: readonly Data[];
}

type Loose = Record<string, unknown> & { unknown?: readonly Uint8Array[] };

/** Encodes a message by the table: first all sizes, then the bytes. Large data is taken up as it is, not copied. */
export function encode<Name extends MessageName>(name: Name, raw: Raw<Name>): Encoded {
  const sizes = new Map<object, number>();
  const length = measure(name, raw as Loose, sizes);
  const writer = new PartWriter(sizes);
  writer.message(name, raw as Loose);
  return { length, parts: writer.done() };
}

class PartWriter {
  readonly #sizes: ReadonlyMap<object, number>;
  readonly #parts: Data[] = [];
  readonly #writer = new BinaryWriter();

  constructor(sizes: ReadonlyMap<object, number>) {
    this.#sizes = sizes;
  }

  message(name: MessageName, raw: Loose): void {
    for (const field of FIELDS[name]) {
      const value = raw[field.name];
      if (value === undefined) continue;
      if (field.many && isNumeric(field.kind)) this.#packed(field, value as readonly (number | bigint)[]);
      else if (field.many) for (const one of value as readonly unknown[]) this.#field(field, one);
      else this.#field(field, value);
    }
    for (const bytes of raw.unknown ?? []) this.#writer.raw(bytes);
  }

  done(): Data[] {
    this.#flush();
    return this.#parts;
  }

  #field({ number, kind, message }: Field, value: unknown): void {
    const writer = this.#writer;
    if (kind === "int") writer.tag(number, WireType.Varint).int64(value as number | bigint);
    else if (kind === "float") writer.tag(number, WireType.Bit32).float(value as number);
    else if (message !== undefined) {
      writer.tag(number, WireType.LengthDelimited).uint32(this.#sizes.get(value as object) ?? 0);
      this.message(message, value as Loose);
    } else if (kind === "string") writer.tag(number, WireType.LengthDelimited).string(value as string);
    else {
      const data = value as Data;
      writer.tag(number, WireType.LengthDelimited).uint32(data.length);
      if (data instanceof Uint8Array && data.length <= SMALL_BYTES) writer.raw(data);
      else {
        this.#flush();
        this.#parts.push(data);
      }
    }
  }

  #packed({ number, kind }: Field, values: readonly (number | bigint)[]): void {
    if (values.length === 0) return;
    const writer = this.#writer.tag(number, WireType.LengthDelimited).fork();
    for (const value of values) {
      if (kind === "float") writer.float(value as number);
      else writer.int64(value);
    }
    writer.join();
  }

  #flush(): void {
    const bytes = this.#writer.finish();
    if (bytes.byteLength > 0) this.#parts.push(bytes);
  }
}

function measure(name: MessageName, raw: Loose, sizes: Map<object, number>): number {
  let total = 0;
  for (const field of FIELDS[name]) {
    const value = raw[field.name];
    if (value === undefined) continue;
    const tag = varintSize(field.number << 3);
    if (field.many && isNumeric(field.kind)) {
      const body = (value as readonly (number | bigint)[]).reduce<number>(
        (sum, v) => sum + scalarSize(field.kind, v),
        0,
      );
      if (body > 0) total += tag + varintSize(body) + body;
    } else if (field.many) for (const one of value as readonly unknown[]) total += tag + fieldSize(field, one, sizes);
    else total += tag + fieldSize(field, value, sizes);
  }
  for (const bytes of raw.unknown ?? []) total += bytes.byteLength;
  sizes.set(raw, total);
  return total;
}

function fieldSize({ kind, message }: Field, value: unknown, sizes: Map<object, number>): number {
  if (isNumeric(kind)) return scalarSize(kind, value as number | bigint);
  let body: number;
  if (message !== undefined) body = measure(message, value as Loose, sizes);
  else if (kind === "string") body = utf8Size(value as string);
  else body = (value as Data).length;
  return varintSize(body) + body;
}

const isNumeric = (kind: Field["kind"]): boolean => kind === "int" || kind === "float";

const scalarSize = (kind: Field["kind"], value: number | bigint): number => (kind === "float" ? 4 : varintSize(value));

/** Bytes of a varint; negative numbers take ten. */
function varintSize(value: number | bigint): number {
  if (value < 0) return 10;
  let size = 1;
  if (typeof value === "number") for (; value >= 128; value = Math.floor(value / 128)) size++;
  else for (; value >= 128n; value >>= 7n) size++;
  return size;
}

/** Bytes of a string in UTF-8; half of a surrogate pair is written as U+FFFD. */
function utf8Size(text: string): number {
  let size = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    const pair = code >= 0xd800 && code < 0xdc00 && isLow(text.charCodeAt(i + 1));
    size += code < 0x800 ? 1 : 2;
    if (pair) i++;
  }
  return size;
}

const isLow = (code: number): boolean => code >= 0xdc00 && code < 0xe000;
