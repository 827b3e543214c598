import { openPath } from "#platform";
import { blobSource, bytesSource, type Source } from "./source.ts";
import { urlSource } from "./url.ts";

/** Where a file can be: a path (Node), a URL, a File or Blob, bytes, or any {@link Source}. */
export type Openable = string | URL | Blob | Uint8Array | ArrayBuffer | Source;

/** What reads a file, wherever it is. */
export async function sourceOf(from: Openable): Promise<Source> {
  if (typeof from === "string") return /^https?:\/\//i.test(from) ? urlSource(new URL(from)) : openPath(from);
  if (from instanceof URL) return from.protocol === "file:" ? openPath(from) : urlSource(from);
  if (from instanceof Uint8Array) return bytesSource(from);
  if (from instanceof ArrayBuffer) return bytesSource(new Uint8Array(from));
  return from instanceof Blob ? blobSource(from) : from;
}
