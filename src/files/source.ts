import { MinnowError } from "../errors.ts";

/** Bytes that can be read in pieces, wherever they lie: a path in Node, a Blob, a URL or an array anywhere. */
export interface Source {
  /** Length in bytes. */
  readonly size: number;
  /** How messages call it: a path, a file name, a URL. */
  readonly name: string;
  /** The bytes at `[offset, offset + length)`. Reading beyond the end is an error. Never write into what it returns. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** A file beside this one (external data), by its relative path; undefined where there is no such notion. */
  sibling?(path: string): Promise<Source>;
  /** Lets go of the file; reading afterwards opens it again or fails. */
  close?(): Promise<void>;
}

/** Takes bytes in order. Nothing is visible at the destination before `commit`; `abort` leaves nothing behind. */
export interface Sink {
  write(bytes: Uint8Array): Promise<void>;
  commit(): Promise<void>;
  abort(): Promise<void>;
}

/** A source over bytes in memory. */
export function bytesSource(bytes: Uint8Array, name = "bytes"): Source {
  // Node's Buffer is a Uint8Array whose `slice` does not copy: a plain view of it has no surprises.
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    size: plain.byteLength,
    name,
    read: async (offset, length) => {
      within(offset, length, plain.byteLength, name);
      return plain.subarray(offset, offset + length);
    },
  };
}

/** A source over a Blob or File of a page. */
export const blobSource = (blob: Blob, name = blob instanceof File ? blob.name : "blob"): Source => ({
  size: blob.size,
  name,
  read: async (offset, length) => {
    within(offset, length, blob.size, name);
    return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
  },
});

function within(offset: number, length: number, size: number, at: string): void {
  if (offset >= 0 && length >= 0 && offset + length <= size) return;
  throw new MinnowError(`Bytes ${offset} to ${offset + length} were asked for; there are ${size}.`, {
    code: "files/end",
    at,
    mend: "The file is incomplete, or whoever reads it is wrong.",
  });
}
