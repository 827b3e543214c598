import { MinnowError } from "../errors.ts";
import { inflate } from "./inflate.ts";
import type { Source } from "./source.ts";

/** One file of an archive. */
export interface ZipEntry {
  readonly name: string;
  readonly size: number;
  /** Whether it lies there uncompressed, so that `read` of a range costs no more than the range. */
  readonly stored: boolean;
  /** Its bytes, or a range of them. Those of a compressed entry are checked against their sum and decompressed anew each time. */
  read(offset?: number, length?: number): Promise<Uint8Array>;
}

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

/** The files of a zip archive by name, 64-bit sizes included (PKWARE's APPNOTE); stored and deflated ones. */
export async function readZip(source: Source): Promise<Map<string, ZipEntry>> {
  const { offset, size, count } = await findDirectory(source);
  const view = viewOf(await source.read(offset, size));
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > view.byteLength || view.getUint32(at, true) !== CENTRAL)
      throw damaged(source, "its directory is damaged");
    const nameLength = view.getUint16(at + 28, true);
    const extraLength = view.getUint16(at + 30, true);
    const next = at + 46 + nameLength + extraLength + view.getUint16(at + 32, true);
    if (next > view.byteLength) throw damaged(source, "its directory is damaged");
    const name = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + 46, nameLength));
    entries.set(name, entryOf(source, name, view, at, at + 46 + nameLength, extraLength));
    at = next;
  }
  return entries;
}

async function findDirectory(source: Source): Promise<{ offset: number; size: number; count: number }> {
  const tail = Math.min(source.size, 65_557);
  const view = viewOf(await source.read(source.size - tail, tail));
  let at = view.byteLength - 22;
  while (at >= 0 && view.getUint32(at, true) !== END) at--;
  if (at < 0) throw damaged(source, "it is no zip archive, or its end is missing");
  let found = {
    count: view.getUint16(at + 10, true),
    size: view.getUint32(at + 12, true),
    offset: view.getUint32(at + 16, true),
  };
  if (at >= 20 && view.getUint32(at - 20, true) === LOCATOR64) {
    const place = Number(view.getBigUint64(at - 12, true));
    if (!(place + 56 <= source.size)) throw damaged(source, "its directory is damaged");
    const end = viewOf(await source.read(place, 56));
    if (end.getUint32(0, true) !== END64) throw damaged(source, "its directory is damaged");
    const big = (offset: number) => Number(end.getBigUint64(offset, true));
    found = { count: big(32), size: big(40), offset: big(48) };
  }
  if (found.offset + found.size > source.size) throw damaged(source, "its directory lies beyond its end");
  return found;
}

function entryOf(
  source: Source,
  name: string,
  view: DataView,
  at: number,
  extra: number,
  extraLength: number,
): ZipEntry {
  const method = view.getUint16(at + 10, true);
  const sum = view.getUint32(at + 16, true);
  let [packed, size, start] = [20, 24, 42].map((o) => view.getUint32(at + o, true)) as [number, number, number];
  for (let e = extra; e + 4 <= extra + extraLength; e += 4 + view.getUint16(e + 2, true)) {
    if (view.getUint16(e, true) !== 1) continue;
    let from = e + 4;
    const wide = (value: number): number => {
      if (value !== 0xffffffff || from + 8 > view.byteLength) return value;
      from += 8;
      return Number(view.getBigUint64(from - 8, true));
    };
    size = wide(size);
    packed = wide(packed);
    start = wide(start);
  }
  const dataStart = async () => {
    const header = start + 30 <= source.size ? viewOf(await source.read(start, 30)) : undefined;
    if (header?.getUint32(0, true) !== LOCAL) throw damaged(source, `"${name}" is damaged`);
    const data = start + 30 + header.getUint16(26, true) + header.getUint16(28, true);
    if (data + packed > source.size) throw damaged(source, `"${name}" lies beyond its end`);
    return data;
  };
  const whole = async () => {
    if (method !== 8)
      throw damaged(source, `"${name}" is compressed by method ${method}; stored and deflated ones are read`);
    const bytes = await inflate(await source.read(await dataStart(), packed), "deflate-raw", {
      size,
      at: `${source.name}, ${name}`,
    });
    if (crc32(bytes) !== sum) throw damaged(source, `the check sum of "${name}" is wrong`);
    return bytes;
  };
  return {
    name,
    size,
    stored: method === 0,
    async read(offset = 0, length = size - offset) {
      if (method === 0) return source.read((await dataStart()) + offset, Math.min(length, packed - offset));
      const bytes = await whole();
      return bytes.subarray(offset, offset + length);
    },
  };
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const damaged = (source: Source, what: string) =>
  new MinnowError(`The archive cannot be read: ${what}.`, {
    code: "files/zip",
    at: source.name,
    mend: "Fetch or write it again.",
  });

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** The check sum that zip, gzip and PNG use (CRC-32, ISO 3309). */
export function crc32(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) sum = (TABLE[(sum ^ (bytes[i] as number)) & 255] as number) ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
