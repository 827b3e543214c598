import { MinnowError } from "../errors.ts";
import { readIdx } from "../files/idx.ts";
import type { RawImage } from "../files/image.ts";
import { readNpz } from "../files/npz.ts";
import type { FileArray, NumberType } from "../files/numbers.ts";
import { type Openable, sourceOf } from "../files/open.ts";
import type { Source } from "../files/source.ts";
import { BITS } from "../ir/dtype.ts";
import { type TensorData, viewOf } from "../ir/tensor.ts";
import { type Dataset, dataset } from "./dataset.ts";
import { type Opened, partOf } from "./folders.ts";
import { type ImageOptions, imageDataset } from "./images.ts";

export interface ArrayOptions extends ImageOptions {
  /** Names of the classes; by default their numbers. */
  readonly labels?: readonly string[] | undefined;
  /** Added to every label: 1 where the model's class 0 is background. */
  readonly labelOffset?: number | undefined;
}

/**
 * A dataset of arrays in memory: `x` holds examples along axis 0, one array or one for each input by its name; `y` holds
 * the class of each. Bytes (uint8) of shape [N, H, W], [N, H, W, 1 or 3] or [N, 1 or 3, H, W] are pictures and are
 * preprocessed as such; anything else is fed as it is.
 */
export function arrays(
  { x, y }: { x: TensorData | Readonly<Record<string, TensorData>>; y?: ArrayLike<number> },
  options: ArrayOptions = {},
): Dataset {
  const named = isTensor(x) ? { [options.input ?? "input"]: x } : x;
  const inputs = Object.entries(named).map(([name, tensor]) => [name, inMemory(name, tensor)] as const);
  return rowsOf(new Map(inputs), y && Array.from(y), options);
}

const isTensor = (x: TensorData | Readonly<Record<string, TensorData>>): x is TensorData => Array.isArray(x.shape);

function inMemory(name: string, { dtype, shape, data }: TensorData): FileArray {
  if (!ArrayBuffer.isView(data))
    throw new MinnowError("Arrays of strings cannot be examples.", { code: "data/strings", at: name });
  const row = shape.slice(1).reduce((a, b) => a * b, BITS[dtype] / 8);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return {
    dtype: dtype as NumberType,
    shape,
    rows: async (start, count) => bytes.subarray(start * row, (start + count) * row),
  };
}

function rowsOf(
  inputs: ReadonlyMap<string, FileArray>,
  y: readonly number[] | undefined,
  options: ArrayOptions,
): Dataset {
  const size = [...inputs.values()][0]?.shape[0] ?? 0;
  for (const [name, { shape }] of [...inputs, ["y", { shape: [y?.length ?? size] }] as const])
    if (shape[0] !== size)
      throw new MinnowError(`"${name}" has ${shape[0]} examples and the first array ${size}.`, {
        code: "data/lengths",
        mend: "All arrays must hold the same examples along axis 0.",
      });
  const labels = y?.map((label) => label + (options.labelOffset ?? 0));
  const most = (labels ?? []).reduce((a, b) => Math.max(a, b), -1);
  const known = labels && { labels, classes: options.labels ?? Array.from({ length: most + 1 }, (_, i) => `${i}`) };
  const [[first, only] = [], another] = inputs;
  const picture = only === undefined || another !== undefined ? undefined : pictureReader(only);
  if (picture !== undefined) return imageDataset({ size, ...known, at: picture }, { ...options, input: first });
  return dataset({
    size,
    ...known,
    async at(index) {
      const feeds: Record<string, TensorData> = {};
      for (const [name, { dtype, shape, rows }] of inputs)
        feeds[name] = { dtype, shape: shape.slice(1), data: viewOf(dtype, await rows(index, 1)) };
      const label = labels?.[index];
      return { feeds, ...(label !== undefined && { label }) };
    },
  });
}

/** Reads one picture out of an array of them, or undefined where the array holds none. */
function pictureReader({ dtype, shape, rows }: FileArray): ((index: number) => Promise<RawImage>) | undefined {
  const [, a = 0, b = 0, c = 1] = shape;
  const isPlane = (channels: number): channels is 1 | 3 => channels === 1 || channels === 3;
  if (dtype !== "uint8" || shape.length < 3 || shape.length > 4) return undefined;
  if (isPlane(c)) return async (i) => ({ width: b, height: a, channels: c, data: await rows(i, 1) });
  if (!isPlane(a)) return undefined;
  return async (i) => ({ width: c, height: b, channels: a, data: interleave(await rows(i, 1), a) });
}

/** [channels, height, width] as [height, width, channels]. */
function interleave(planes: Uint8Array, channels: number): Uint8Array {
  const pixels = planes.length / channels;
  const out = new Uint8Array(planes.length);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < pixels; i++) out[i * channels + c] = planes[c * pixels + i] as number;
  return out;
}

/** The parts of an archive, by what NumPy users call them. */
const PARTS: readonly { readonly name: string; readonly x: readonly string[]; readonly y: readonly string[] }[] = [
  { name: "train", x: ["train_images", "x_train", "X_train"], y: ["train_labels", "y_train"] },
  { name: "val", x: ["val_images", "x_val", "X_val"], y: ["val_labels", "y_val"] },
  { name: "test", x: ["test_images", "x_test", "X_test"], y: ["test_labels", "y_test"] },
];

/**
 * The arrays of an .npz file: `x` and `y`; or MedMNIST's train_images, train_labels, val_…, test_…; or Keras's x_train …;
 * else each array is fed by its own name, `y` or `labels` apart. See {@link arrays} for what is taken as pictures.
 */
export async function openNpz(source: Source, options: ArrayOptions = {}): Promise<Opened> {
  const found = await readNpz(source);
  const pick = (names: readonly string[]) => names.map((name) => found.get(name)).find((array) => array !== undefined);
  const pieces: { name: string; x: FileArray; y: FileArray | undefined }[] = [];
  for (const { name, x, y } of PARTS) {
    const images = pick(x);
    if (images !== undefined) pieces.push({ name, x: images, y: pick(y) });
  }
  if (pieces.length > 0) return joined(pieces, source.name, options);
  const x = pick(["x", "X"]);
  const labels = pick(["y", "labels"]);
  const rest = [...found].filter(([, array]) => array !== labels && array.shape.length > 0);
  if (rest.length === 0)
    throw new MinnowError("There are no arrays in it.", {
      code: "data/no-arrays",
      at: source.name,
      mend: "Save x and y in it.",
    });
  const inputs = x === undefined ? new Map(rest) : new Map([[options.input ?? "input", x]]);
  const data = rowsOf(inputs, labels && (await readLabels(labels, source.name)), options);
  return { data, parts: new Map(), how: `${data.size} examples${labels === undefined ? ", without labels" : ""}` };
}

/**
 * As {@link openNpz}, of a path (Node), a URL, a File or bytes; one of its parts where `split` says so.
 *
 * @example
 * const test = await npzDataset("pneumoniamnist.npz", { split: "test", preprocess: "unit" });
 */
export async function npzDataset(from: Openable, options: ArrayOptions & { split?: string } = {}): Promise<Dataset> {
  const source = await sourceOf(from);
  const { data, parts } = await openNpz(source, options);
  return options.split === undefined ? data : partOf(parts, options.split, source.name);
}

/** MNIST's idx files, gzipped or not: the pictures and, where given, their classes. Each is a path (Node), a URL, a File or bytes. */
export async function idxDataset(
  images: Openable,
  labels: Openable | undefined,
  options: ArrayOptions = {},
): Promise<Dataset> {
  const pair = { images: await sourceOf(images), labels: labels === undefined ? undefined : await sourceOf(labels) };
  return (await openIdx([{ name: "all", ...pair }], options)).data;
}

/** As {@link idxDataset}, of several pairs of files, each a part. */
export async function openIdx(
  files: readonly { name: string; images: Source; labels: Source | undefined }[],
  options: ArrayOptions = {},
): Promise<Opened> {
  const pieces = [];
  for (const { name, images, labels } of files)
    pieces.push({ name, x: await readIdx(images), y: labels && (await readIdx(labels)) });
  return joined(pieces, files[0]?.images.name ?? "idx", options);
}

/** Pieces one after the other as one dataset of which they are the parts. */
async function joined(
  pieces: readonly { name: string; x: FileArray; y: FileArray | undefined }[],
  at: string,
  options: ArrayOptions,
): Promise<Opened> {
  const labels: number[] = [];
  const starts = [0];
  for (const { x, y } of pieces) {
    if (y !== undefined) for (const label of await readLabels(y, at)) labels.push(label);
    starts.push((starts.at(-1) as number) + (x.shape[0] as number));
  }
  const size = starts.at(-1) as number;
  const first = (pieces[0] as { x: FileArray }).x;
  const rows = async (index: number): Promise<Uint8Array> => {
    const piece = starts.findIndex((start) => start > index) - 1;
    return (pieces[piece] as { x: FileArray }).x.rows(index - (starts[piece] as number), 1);
  };
  const all: FileArray = { dtype: first.dtype, shape: [size, ...first.shape.slice(1)], rows };
  const data = rowsOf(
    new Map([[options.input ?? "input", all]]),
    pieces.every(({ y }) => y) ? labels : undefined,
    options,
  );
  const parts = new Map<string, Dataset>();
  if (pieces.length > 1)
    for (const [i, { name }] of pieces.entries())
      parts.set(name, data.take(starts[i + 1] as number).skip(starts[i] as number));
  const divided = [...parts].map(([name, part]) => `${name} ${part.size}`).join(", ");
  return {
    data,
    parts,
    how: `${size} examples${divided === "" ? "" : `: ${divided}`}${data.labels ? "" : ", without labels"}`,
  };
}

/** Labels of shape [N] or [N, 1] as numbers. */
async function readLabels({ dtype, shape, rows }: FileArray, at: string): Promise<number[]> {
  const [size = 0, ...rest] = shape;
  const labels = Array.from(viewOf(dtype, await rows(0, size)), Number);
  if (labels.length !== size || !labels.every((label) => Number.isInteger(label) && label >= 0))
    throw new MinnowError(
      `The labels are of shape [${[size, ...rest]}]; one whole number from 0 on is needed for each example.`,
      {
        code: "data/labels",
        at,
        mend: "Save the number of the class of each example.",
      },
    );
  return labels;
}
