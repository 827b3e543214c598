import { MinnowError } from "../errors.ts";
import { byteSize } from "../ir/dtype.ts";
import { elements, type TensorData, viewOf } from "../ir/tensor.ts";
import { type Dataset, type Example, isSkipped, type Skipped } from "./dataset.ts";

/** Examples stacked along a new axis 0. */
export interface Batch {
  readonly feeds: Record<string, TensorData>;
  /** One class for each example, where all of them have one. */
  readonly labels?: Int32Array;
  /** Where each example stands in the dataset. */
  readonly indices: Int32Array;
  /** Examples passed over since the batch before this one. */
  readonly skipped: readonly Skipped[];
}

export interface BatchOptions {
  readonly signal?: AbortSignal | undefined;
  /** How many examples are read ahead of the one that is needed; default twice the batch. Memory is bounded by it. */
  readonly prefetch?: number | undefined;
}

/**
 * All examples of a dataset in order, `size` at a time; only the last batch may be smaller, none is empty. Those that
 * cannot be read are passed over and told with the batch; if no example at all can be read that is an error.
 */
export async function* batches(data: Dataset, size: number, options: BatchOptions = {}): AsyncGenerator<Batch> {
  if (!Number.isInteger(size) || size < 1)
    throw new MinnowError(`A batch of ${size} examples cannot be made.`, { code: "data/batch-size" });
  const { signal, prefetch = 2 * size } = options;
  let examples: Example[] = [];
  let indices: number[] = [];
  let skipped: Skipped[] = [];
  let any = false;
  for await (const [index, example] of inOrder(data, Math.max(1, prefetch), signal)) {
    if (isSkipped(example)) {
      skipped.push(example);
      continue;
    }
    any = true;
    if (examples.length === size) {
      yield stack(examples, indices, skipped);
      [examples, indices, skipped] = [[], [], []];
    }
    examples.push(example);
    indices.push(index);
  }
  if (examples.length > 0) yield stack(examples, indices, skipped);
  else if (!any && data.size > 0)
    throw new MinnowError(`None of the ${data.size} examples can be read; the first: ${skipped[0]?.skipped}`, {
      code: "data/none-readable",
      at: skipped[0]?.name,
      mend: "Check that the files are what their names say.",
    });
}

/** Each index with its example, up to `ahead` of them being read at once. */
async function* inOrder(
  data: Dataset,
  ahead: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<[number, Example | Skipped]> {
  const reading: Promise<Example | Skipped>[] = [];
  for (let index = 0, next = 0; index < data.size; index++) {
    signal?.throwIfAborted();
    for (; next < data.size && next < index + ahead; next++) {
      const example = data.at(next);
      example.catch(() => {});
      reading.push(example);
    }
    yield [index, await (reading.shift() as Promise<Example | Skipped>)];
  }
}

function stack(examples: readonly Example[], indices: readonly number[], skipped: readonly Skipped[]): Batch {
  const feeds: Record<string, TensorData> = {};
  for (const key of Object.keys(examples[0]?.feeds ?? {})) feeds[key] = stackTensors(key, examples);
  const labels = examples.map((e) => e.label);
  const known = labels.every((label) => label !== undefined);
  return { feeds, indices: Int32Array.from(indices), skipped, ...(known && { labels: Int32Array.from(labels) }) };
}

function stackTensors(key: string, examples: readonly Example[]): TensorData {
  const tensors = examples.map((example) => {
    const tensor = example.feeds[key];
    if (tensor === undefined)
      throw new MinnowError(`It has no "${key}", which the examples before it have.`, {
        code: "data/feeds",
        at: example.name,
      });
    return tensor;
  });
  const { dtype, shape } = tensors[0] as TensorData;
  const differs = tensors.findIndex((t) => t.dtype !== dtype || `${t.shape}` !== `${shape}`);
  if (differs >= 0)
    throw new MinnowError(
      `"${key}" is ${tensors[differs]?.dtype} [${tensors[differs]?.shape}], and ${dtype} [${shape}] in the examples before it.`,
      { code: "data/shape", at: examples[differs]?.name, mend: "Examples of one batch must have one shape." },
    );
  const batched = [tensors.length, ...shape];
  if (dtype === "string") return { dtype, shape: batched, data: tensors.flatMap((t) => t.data as readonly string[]) };
  const each = elements(shape);
  const data = viewOf(dtype, new Uint8Array(byteSize(dtype, each * tensors.length)));
  for (const [i, t] of tensors.entries()) (data as Uint8Array).set(t.data as Uint8Array, i * each);
  return { dtype, shape: batched, data };
}
