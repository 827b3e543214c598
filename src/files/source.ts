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
export const bytesSource = (bytes: Uint8Array, name = "bytes"): Source => ({
  size: bytes.byteLength,
  name,
  read: async (offset, length) => bytes.subarray(offset, offset + length),
});

/** A source over a Blob or File of a page. */
export const blobSource = (blob: Blob, name = blob instanceof File ? blob.name : "blob"): Source => ({
  size: blob.size,
  name,
  read: async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
});
