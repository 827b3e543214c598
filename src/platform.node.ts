import { randomUUID } from "node:crypto";
import { close, fstat, open, read } from "node:fs";
import { open as openHandle, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MinnowError } from "./errors.ts";
import { fromCmyk, isCmykJpeg, onWhite, type RawImage } from "./files/image.ts";
import type { Sink, Source } from "./files/source.ts";
import type { Engine } from "./platform.ts";

export type { Engine };

const openFile = promisify(open);
const readFile = promisify(read);
const statFile = promisify(fstat);
const closeFile = promisify(close);

/** Closes the file of a source that nobody holds any more. */
const forgotten = new FinalizationRegistry<{ fd: number | undefined }>((file) => {
  if (file.fd !== undefined) close(file.fd, () => {});
});

/**
 * Opens a file by its path. The file stays open until `close`, and a read after that opens it again; a file that
 * changed meanwhile is an error. Files beside it are those in its folder, also after links are followed.
 */
export async function openPath(from: string | URL): Promise<Source> {
  const path = typeof from === "string" ? from : fileURLToPath(from);
  const file: { fd: number | undefined } = { fd: undefined };
  const start = async (): Promise<number> => {
    file.fd ??= await openFile(path, "r").catch((cause) => cannotOpen(path, cause));
    return file.fd;
  };
  const { size, mtimeMs, ino } = await statFile(await start());
  if (!(await statFile(await start())).isFile()) {
    await closeFile(await start());
    throw new MinnowError("This is no file.", { code: "files/unreadable", at: path, mend: "Give the path of a file." });
  }
  const source: Source = {
    size,
    name: path,
    async read(offset, length) {
      const fd = await start();
      // Not zeroed: it is filled to the end, or an error.
      const bytes = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await readFile(fd, bytes, done, Math.min(length - done, 2 ** 30), offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      const now = await statFile(fd);
      if (done < length || now.size !== size || now.mtimeMs !== mtimeMs || now.ino !== ino)
        throw new MinnowError("The file changed since it was opened.", {
          code: "files/changed",
          at: path,
          mend: "Load it again.",
        });
      return bytes;
    },
    sibling: async (relative) => openPath(await besides(path, relative)),
    async close() {
      const { fd } = file;
      file.fd = undefined;
      if (fd !== undefined) await closeFile(fd);
    },
  };
  forgotten.register(source, file);
  return source;
}

function cannotOpen(path: string, cause: NodeJS.ErrnoException): never {
  const missing = cause.code === "ENOENT";
  throw new MinnowError(missing ? "There is no such file." : `The file cannot be opened (${cause.code}).`, {
    code: missing ? "files/missing" : "files/unreadable",
    at: path,
    mend: missing ? "Check the path." : "Check its permissions.",
    cause,
  });
}

/** The path of a file in the folder of another; neither `..` nor a link may lead out of it. */
async function besides(path: string, relative: string): Promise<string> {
  const folder = dirname(resolve(path));
  const wanted = resolve(folder, relative);
  const real = await realpath(wanted).catch((cause) => cannotOpen(wanted, cause));
  // A download cache links both the model and its data into a folder of blobs: the model's real folder counts too.
  const folders = [await realpath(folder), dirname(await realpath(path))];
  const inside = (inner: string, outer: string) => inner.startsWith(outer.endsWith(sep) ? outer : outer + sep);
  if (isAbsolute(relative) || !inside(wanted, folder) || !folders.some((f) => inside(real, f)))
    throw new MinnowError(`"${relative}" leads out of the model's folder.`, {
      code: "files/outside",
      at: path,
      mend: "Data files have to stand beside the model; move it there, and beware of models that point elsewhere.",
    });
  return wanted;
}

/** No space, over the quota, over the largest size of a file. */
const NO_ROOM: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Writes to a temporary file beside `path`; `commit` renames it into place, `abort` removes it. */
export async function createSink(path: string): Promise<Sink> {
  if ((await stat(path).catch(() => undefined))?.isDirectory())
    throw new MinnowError("There is a folder of this name.", {
      code: "files/unwritable",
      at: path,
      mend: "Give the path of a file.",
    });
  const temporary = `${path}.${randomUUID().slice(0, 8)}.partial`;
  const handle = await openHandle(temporary, "wx").catch((cause) => {
    throw new MinnowError(`Nothing can be written there (${cause.code}).`, {
      code: "files/unwritable",
      at: path,
      mend: "Check that the folder exists and may be written to.",
      cause,
    });
  });
  const abort = async () => {
    await handle.close().catch(() => {});
    await rm(temporary, { force: true });
  };
  const orGiveUp = async (work: Promise<void>): Promise<void> => {
    try {
      await work;
    } catch (cause) {
      await abort();
      const full = NO_ROOM.has((cause as NodeJS.ErrnoException).code ?? "");
      throw new MinnowError(
        full
          ? "There is no room left on the disk; nothing was left behind."
          : "Writing failed; nothing was left behind.",
        {
          code: full ? "files/disk-full" : "files/write-failed",
          at: path,
          mend: full ? "Make room, or write elsewhere." : "Check the disk, its quota and the permissions.",
          cause,
        },
      );
    }
  };
  return {
    write: (bytes) => orGiveUp(handle.writeFile(bytes)),
    commit: () => orGiveUp(handle.close().then(() => rename(temporary, path))),
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
 * several frames, on white where it is transparent. Colour profiles are ignored, as Pillow ignores them when training
 * sets are read. A MinnowError (`image/unreadable`) for what is no picture or a damaged one.
 */
export async function decodeImage(bytes: Uint8Array): Promise<RawImage> {
  const { default: sharp } = await import("sharp");
  try {
    const opened = sharp(bytes, { failOn: "error", ignoreIcc: true }).autoOrient();
    const cmyk = isCmykJpeg(bytes);
    const coloured = cmyk ? opened.pipelineColourspace("cmyk").toColourspace("cmyk") : opened.toColourspace("srgb");
    const { data, info } = await coloured.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    return cmyk
      ? fromCmyk(info.width, info.height, data)
      : onWhite(info.width, info.height, info.channels === 4 ? 4 : 3, data);
  } catch (cause) {
    throw new MinnowError("It cannot be read as a picture.", { code: "image/unreadable", cause });
  }
}
