import { MinnowError } from "./errors.ts";
import { onWhite, type RawImage } from "./files/image.ts";
import type { Sink, Source } from "./files/source.ts";

/**
 * What differs between a page and Node. This is the page's side; `platform.node.ts` is Node's, with the same names.
 * package.json's `imports` choose between them under `#platform`, the only switch.
 */

export type Engine = typeof import("onnxruntime-web");

const noFiles = (path: string | URL): never => {
  throw new MinnowError(`"${path}" is a path, and a page has no file system.`, {
    code: "files/no-paths",
    mend: "Give a File, a URL object or bytes.",
  });
};

/** Opens a file by its path. */
export const openPath = async (path: string | URL): Promise<Source> => noFiles(path);

/** Starts an atomic write to a path. */
export const createSink = async (path: string): Promise<Sink> => noFiles(path);

/**
 * ONNX Runtime for a target; a page has the web builds only. The first one brings an older WebGPU backend in JavaScript, which
 * gets gradients of convolutions wrong.
 */
export async function loadEngine(target: "node" | "wasm" | "webgpu"): Promise<Engine> {
  return target === "webgpu" ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web");
}

/** Bytes after brotli; a page has no encoder for it. */
export const brotliSize = async (
  _chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<number | undefined> => undefined;

/** All that lies under a folder, in order; see Node's side. */
export const listFolder = async (path: string): Promise<{ files: string[]; folders: string[] }> => noFiles(path);

/**
 * The bytes of a picture file as its pixels; see Node's side, which gives the same for PNG, JPEG, GIF and opaque WebP, and
 * within one level for CMYK.
 */
export async function decodeImage(bytes: Uint8Array): Promise<RawImage> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes as Uint8Array<ArrayBuffer>]), { colorSpaceConversion: "none" });
  } catch (cause) {
    throw new MinnowError("It cannot be read as a picture.", { code: "image/unreadable", cause });
  }
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context === null)
    throw new MinnowError("The page gives no canvas to decode pictures on.", { code: "image/no-canvas" });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return onWhite(width, height, 4, new Uint8Array(context.getImageData(0, 0, width, height).data.buffer));
}
