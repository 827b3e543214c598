import { MinnowError } from "./errors.ts";
import type { Sink, Source } from "./files/source.ts";

/**
 * What differs between a page and Node. This is the page's side; `platform.node.ts` is Node's, with the same names.
 * package.json's `imports` choose between them under `#platform`, the only switch.
 */

export type Engine = typeof import("onnxruntime-web");

const noFiles = (path: string): never => {
  throw new MinnowError(`"${path}" is a path, and a page has no file system.`, {
    code: "files/no-paths",
    mend: "Give a File, a URL object or bytes.",
  });
};

/** Opens a file by its path. */
export const openPath = async (path: string): Promise<Source> => noFiles(path);

/** Starts an atomic write to a path. */
export const createSink = async (path: string): Promise<Sink> => noFiles(path);

/** ONNX Runtime for a target; a page has the web build only. */
export async function loadEngine(_target: "node" | "wasm" | "webgpu"): Promise<Engine> {
  return (await import("onnxruntime-web")) as unknown as Engine;
}

/** Bytes after brotli; a page has no encoder for it. */
export const brotliSize = async (
  _chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<number | undefined> => undefined;
