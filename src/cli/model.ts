import { createReadStream, existsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { costOf } from "../measure/cost.ts";
import { load, save } from "../onnx/index.ts";
import { upgrade } from "../passes/index.ts";
import { brotliSize } from "../platform.node.ts";
import { flag, text } from "./options.ts";
import type { Given } from "./verb.ts";

/** A model on disk, with the bytes of all its files. */
export interface Opened {
  readonly model: Model;
  readonly path: string;
  readonly bytes: number;
}

/** Opens the model at a path; a Hugging Face style folder stands for its `onnx/model.onnx`. */
export async function openModel(path: string): Promise<Opened> {
  const inFolder = join(path, "onnx", "model.onnx");
  const file = existsSync(path) && statSync(path).isDirectory() && existsSync(inFolder) ? inFolder : path;
  const model = await load(file);
  return { model, path: file, bytes: fileBytes(file) };
}

/** Brotli takes 2.5 s a megabyte: larger files are not compressed unasked. */
const QUICK_BYTES = 8_000_000;

/**
 * What a verb that writes a model says of it: counts, and the bytes of its files as they lie at `path`; those after brotli
 * where there are at most `quick` of them.
 */
export async function figuresOf(model: Model, path: string, quick = QUICK_BYTES) {
  const { parameters, macs } = costOf((await upgrade().run(model)).model);
  const bytes = fileBytes(path);
  const brotliBytes = bytes > quick ? undefined : await brotliSize(createReadStream(path));
  return { nodes: model.graph.nodes.length, parameters, macs, bytes, brotliBytes };
}

/** Size of a model file and of the data file beside it. */
export function fileBytes(path: string): number {
  return [path, `${path}_data`, `${path}.data`].reduce((sum, p) => sum + (existsSync(p) ? statSync(p).size : 0), 0);
}

/** Where a result goes: `--output`, else `NAME.<ending>` beside the model. Refuses to write over what is there without --force. */
export function outputPath(given: Given, input: string, ending = "min.onnx"): string {
  const path = text(given, "output") ?? join(dirname(input), `${basename(input).replace(/\.onnx$/i, "")}.${ending}`);
  if (existsSync(path) && !flag(given, "force"))
    throw new MinnowError("There is a file already.", {
      code: "cli/exists",
      at: path,
      mend: "Give --force to write over it, or another --output.",
    });
  return path;
}

export { save };
