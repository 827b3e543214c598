import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { MinnowError } from "./errors.ts";
import type { Sink, Source } from "./files/source.ts";
import type { Engine } from "./platform.ts";

export type { Engine };

/** Opens a file by its path. The handle stays open; a file that changes while it is read is an error. */
export async function openPath(path: string): Promise<Source> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new MinnowError(missing ? "There is no such file." : "The file cannot be opened.", {
      code: missing ? "files/missing" : "files/unreadable",
      at: path,
      mend: "Check the path and its permissions.",
      cause,
    });
  }
  const { size, mtimeMs } = await handle.stat();
  return {
    size,
    name: path,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      const now = await handle.stat();
      if (done < length || now.size !== size || now.mtimeMs !== mtimeMs)
        throw new MinnowError("The file changed while it was being read.", { code: "files/changed", at: path });
      return bytes;
    },
    sibling: (relative) => openPath(resolve(dirname(path), relative)),
    close: () => handle.close(),
  };
}

let counter = 0;

/** Writes to a temporary file beside `path`; `commit` renames it into place, `abort` removes it. */
export async function createSink(path: string): Promise<Sink> {
  const temporary = `${path}.${process.pid}-${counter++}.partial`;
  let handle: FileHandle;
  try {
    await stat(dirname(resolve(path)));
    handle = await open(temporary, "wx");
  } catch (cause) {
    throw new MinnowError("Nothing can be written there.", {
      code: "files/unwritable",
      at: path,
      mend: "Check that the folder exists and may be written to.",
      cause,
    });
  }
  const abort = async () => {
    await handle.close().catch(() => {});
    await rm(temporary, { force: true });
  };
  return {
    async write(bytes) {
      try {
        await handle.writeFile(bytes);
      } catch (cause) {
        await abort();
        throw new MinnowError("Writing failed; nothing was left behind.", {
          code: "files/write-failed",
          at: path,
          mend: "Check that the disk has room.",
          cause,
        });
      }
    },
    async commit() {
      await handle.close();
      await rename(temporary, path);
    },
    abort,
  };
}

/** ONNX Runtime for a target: its native build for Node, its web build for WASM. */
export async function loadEngine(target: "node" | "wasm" | "webgpu"): Promise<Engine> {
  return target === "node"
    ? ((await import("onnxruntime-node")) as unknown as Engine)
    : ((await import("onnxruntime-web")) as unknown as Engine);
}

/** Bytes after brotli at quality 11 with a window of 2²⁴, as a server would send them. */
export async function brotliSize(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<number | undefined> {
  const { constants, createBrotliCompress } = await import("node:zlib");
  const { Readable } = await import("node:stream");
  const coder = createBrotliCompress({
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 },
  });
  let size = 0;
  for await (const piece of Readable.from(chunks).pipe(coder)) size += (piece as Uint8Array).byteLength;
  return size;
}
