import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { listFolder, openPath } from "#platform";
import { MinnowError } from "../errors.ts";
import { isImageName } from "../files/image.ts";
import type { Source } from "../files/source.ts";
import type { TensorData } from "../ir/tensor.ts";
import { openIdx, openNpz } from "./arrays.ts";
import { isSoundName, openSoundFolder, type SoundFolderOptions } from "./audio.ts";
import { type Dataset, dataset, type Example, type Examples } from "./dataset.ts";
import { type Opened, partOf } from "./folders.ts";
import { type ImageFolderOptions, openImageFolder } from "./images.ts";
import { isTextTable, openTexts, textTable } from "./text.ts";

/** How what lies at a path becomes examples. */
export interface OpenOptions extends ImageFolderOptions, SoundFolderOptions {}

/** What a path holds, and the metric a `minnow.config.mjs` may bring; who judges checks that it is one. */
export interface OpenedPath extends Opened {
  readonly metric?: unknown;
}

/**
 * Opens whatever lies at a path: a folder of pictures or of sounds (or one with idx files, one .npz or a `minnow.config.mjs` in it), an
 * .npz, an idx file (its labels are looked for beside it), a table of texts, or a config module. With `split`, `data` is that part alone.
 */
export async function openDataset(path: string, options: OpenOptions = {}): Promise<OpenedPath> {
  const opened = await openWhole(path, options);
  if (options.split === undefined) return opened;
  return { ...opened, data: partOf(opened.parts, options.split, path), parts: new Map() };
}

async function openWhole(path: string, options: OpenOptions): Promise<OpenedPath> {
  const kind = await stat(path).catch(() => undefined);
  if (kind === undefined)
    throw new MinnowError("There is no such file or folder.", {
      code: "data/missing",
      at: path,
      mend: "Check the path.",
    });
  if (kind.isDirectory()) return openFolder(path, options);
  if (/\.npz$/i.test(path)) return openNpz(await openPath(path), options);
  if (/ubyte(\.gz)?$|\.idx$/i.test(path)) return openIdx([{ name: "all", ...(await idxPair(path)) }], options);
  if (isTextTable(path)) return openTexts(await textTable(await openPath(path)), options);
  if (/\.[cm]?[jt]s$/i.test(path)) return openConfig(path);
  throw new MinnowError("It is nothing that examples can be read from.", {
    code: "data/unknown-kind",
    at: path,
    mend: "Give a folder of pictures or .wav files, an .npz, MNIST's idx files, a .jsonl or .csv of texts, or a minnow.config.mjs.",
  });
}

async function openFolder(path: string, options: OpenOptions): Promise<OpenedPath> {
  const { files } = await listFolder(path);
  if (files.includes("minnow.config.mjs")) return openConfig(join(path, "minnow.config.mjs"));
  const idx = files.filter((file) => /images[-.]idx3-ubyte(\.gz)?$/.test(file));
  if (idx.length > 0) {
    const pieces = [];
    for (const file of idx.sort().reverse())
      pieces.push({
        name: /^t10k|^test/.test(basename(file)) ? "test" : "train",
        ...(await idxPair(join(path, file))),
      });
    return openIdx(pieces, options);
  }
  const npz = files.filter((file) => /\.npz$/i.test(file));
  if (npz.length === 1 && files.length < 5) return openNpz(await openPath(join(path, npz[0] as string)), options);
  return files.some(isSoundName) && !files.some(isImageName)
    ? openSoundFolder(path, options)
    : openImageFolder(path, options);
}

/** The pictures of an idx file and, from the file named after it, their labels. */
async function idxPair(path: string): Promise<{ images: Source; labels: Source | undefined }> {
  const beside = path.replace(/images([-.])idx3/, "labels$1idx1");
  const labels = beside === path ? undefined : await openPath(beside).catch(() => undefined);
  return { images: await openPath(path), labels };
}

/**
 * A config module exports `data`, and perhaps `metric`. `data` is (or a function gives) a Dataset, or anything that gives
 * examples one by one, `{ feeds, label?, name? }` or feeds alone, tensors as `{ dtype, shape, data }` or ONNX Runtime's; those
 * are all held in memory.
 */
async function openConfig(path: string): Promise<OpenedPath> {
  const fail = (what: string, cause?: unknown) =>
    new MinnowError(what, {
      code: "data/config",
      at: path,
      mend: "Export `data`: an AsyncIterable of feeds, for example an async generator.",
      cause,
    });
  const module = (await import(pathToFileURL(resolve(path)).href).catch((cause: unknown) => {
    throw fail(`It cannot be loaded: ${cause instanceof Error ? cause.message : cause}.`, cause);
  })) as { data?: unknown; metric?: unknown };
  const given: unknown = typeof module.data === "function" ? await module.data() : module.data;
  const data = isDataset(given) ? dataset(given) : await collect(given, fail);
  const how = `${data.size} examples`;
  return { data, parts: new Map(), how, ...(module.metric !== undefined && { metric: module.metric }) };
}

const isDataset = (given: unknown): given is Examples =>
  typeof given === "object" && given !== null && "size" in given && "at" in given && typeof given.at === "function";

async function collect(given: unknown, fail: (what: string) => MinnowError): Promise<Dataset> {
  if (typeof given !== "object" || given === null || !(Symbol.asyncIterator in given || Symbol.iterator in given))
    throw fail("It exports no `data` that could be gone through.");
  const examples: Example[] = [];
  for await (const item of given as AsyncIterable<unknown>) examples.push(exampleOf(item, examples.length, fail));
  if (examples.length === 0) throw fail("Its `data` gives no examples.");
  const labels = examples.map(({ label }) => label);
  const known = labels.every((label) => label !== undefined);
  return dataset({ size: examples.length, ...(known && { labels }), at: async (index) => examples[index] as Example });
}

function exampleOf(item: unknown, index: number, fail: (what: string) => MinnowError): Example {
  if (typeof item !== "object" || item === null) throw fail(`Example ${index} of its \`data\` is no object of feeds.`);
  const { feeds = item, label, name = `example ${index}` } = item as { feeds?: object; label?: number; name?: string };
  const tensors: Record<string, TensorData> = {};
  for (const [key, value] of Object.entries(feeds)) {
    const { dtype, type, shape, dims, data } = value as {
      dtype?: TensorData["dtype"];
      type?: TensorData["dtype"];
      shape?: number[];
      dims?: number[];
      data?: TensorData["data"];
    };
    const [is, sizes] = [dtype ?? type, shape ?? dims];
    if (is === undefined || sizes === undefined || data === undefined)
      throw fail(`"${key}" of example ${index} is no tensor { dtype, shape, data }.`);
    tensors[key] = { dtype: is, shape: sizes, data };
  }
  return { feeds: tensors, name, ...(label !== undefined && { label }) };
}
