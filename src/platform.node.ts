import { type FileHandle, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { MinnowError } from "./errors.ts";
import { onWhite, type RawImage } from "./files/image.ts";
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

/**
 * All that lies under a folder, links followed, as relative paths with "/", in the order of their code units. What
 * begins with a dot is left out.
 */
export async function listFolder(path: string): Promise<{ files: string[]; folders: string[] }> {
  const files: string[] = [];
  const folders: string[] = [];
  const visit = async (inside: string, depth: number): Promise<void> => {
    for (const entry of await readdir(join(path, inside), { withFileTypes: true })) {
      if (entry.name.startsWith(".")) continue;
      const below = inside === "" ? entry.name : `${inside}/${entry.name}`;
      const kind = entry.isSymbolicLink() ? await stat(join(path, below)).catch(() => undefined) : entry;
      if (kind?.isFile()) files.push(below);
      if (!kind?.isDirectory() || depth === 16) continue;
      folders.push(below);
      await visit(below, depth + 1);
    }
  };
  try {
    await visit("", 0);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const what = { ENOENT: "There is no such folder.", ENOTDIR: "It is a file, not a folder." }[code ?? ""];
    throw new MinnowError(what ?? "The folder cannot be read.", {
      code: code === "ENOENT" ? "files/missing" : "files/unreadable",
      at: path,
      mend: "Check the path and its permissions.",
      cause,
    });
  }
  return { files: files.sort(), folders: folders.sort() };
}

/**
 * The bytes of a picture file as its pixels: red, green and blue, 8 bits each, turned as its EXIF data says, the first of
 * several frames, on white where it is transparent. Colour profiles are ignored, as the makers of training sets do; CMYK
 * is converted. A MinnowError (`image/unreadable`) for what is no picture or a damaged one.
 */
export async function decodeImage(bytes: Uint8Array): Promise<RawImage> {
  const { default: sharp } = await import("sharp");
  try {
    const { data, info } = await sharp(bytes, { failOn: "error", ignoreIcc: true })
      .autoOrient()
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    return onWhite(info.width, info.height, info.channels === 4 ? 4 : 3, data);
  } catch (cause) {
    throw new MinnowError("It cannot be read as a picture.", { code: "image/unreadable", cause });
  }
}
