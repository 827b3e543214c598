import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** The files of a .tgz by their paths, in its order. */
export function* untar(path: string): Iterable<{ name: string; bytes: Uint8Array }> {
  const all = gunzipSync(readFileSync(path));
  const text = (from: number, length: number): string => {
    const field = all.subarray(from, from + length);
    const end = field.indexOf(0);
    return field.toString("utf8", 0, end < 0 ? length : end);
  };
  let longName: string | undefined;
  for (let at = 0; at + 512 <= all.length && all[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8);
    const kind = String.fromCharCode(all[at + 156] ?? 0);
    const folder = text(at + 345, 155);
    const bytes = new Uint8Array(all.subarray(at + 512, at + 512 + size));
    if (kind === "L") longName = text(at + 512, size);
    else {
      const name = longName ?? (folder ? `${folder}/` : "") + text(at, 100);
      longName = undefined;
      if (kind === "0" || kind === "\0") yield { name, bytes };
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
}
