import { MinnowError } from "../errors.ts";
import { byteSize, type DType } from "../ir/dtype.ts";
import type { Graph, TensorType } from "../ir/graph.ts";
import { elements, type TensorData, viewOf } from "../ir/tensor.ts";
import { toHalf } from "../numeric/half.ts";
import { type Dataset, type Example, mapExamples } from "./dataset.ts";
import { imageInput } from "./preprocess.ts";

/** The inputs a caller must feed: those that are no weights, with their declared types. */
export function feedInputs(graph: Graph): { name: string; type: TensorType | undefined }[] {
  return graph.inputs
    .filter(({ name }) => !graph.weights.has(name))
    .map(({ name, type }) => ({ name, type: type?.kind === "tensor" ? type : undefined }));
}

/**
 * The dataset with its feeds under the names of the graph's inputs. Feeds that have those names already are taken as they
 * are, others are left out; a single feed goes to a single input, whatever either is called. Numbers become the type the
 * input declares where that keeps them; another shape than it declares (its axis 0, the batch, apart) is an error when the
 * example is read. Pictures are preprocessed for the first input that takes pictures, and
 * sounds for the first input, where their options leave it open.
 */
export function bindInputs(data: Dataset, graph: Graph): Dataset {
  const inputs = feedInputs(graph);
  const pictures = inputs.find(({ type }) => imageInput(type?.shape) !== undefined);
  const input = data.preprocess === undefined ? inputs[0] : pictures;
  return mapExamples(data.prepare?.(undefined, input?.type?.shape) ?? data, (example) => {
    const feeds: Record<string, TensorData> = {};
    const [only, another] = Object.keys(example.feeds);
    for (const { name, type } of inputs) {
      const single = inputs.length === 1 && another === undefined ? only : undefined;
      const feed = example.feeds[name] ?? (single === undefined ? undefined : example.feeds[single]);
      if (feed === undefined)
        throw new MinnowError(`It has nothing for the model's input "${name}", only ${list(example)}.`, {
          code: "data/no-feed",
          at: example.name,
          mend: "Name the feeds of your data after the model's inputs.",
        });
      feeds[name] = type === undefined ? feed : fitted(name, type, feed, example.name);
    }
    return { ...example, feeds };
  });
}

const list = (example: Example): string =>
  Object.keys(example.feeds)
    .map((key) => `"${key}"`)
    .join(", ") || "nothing";

function fitted(name: string, type: TensorType, feed: TensorData, at: string | undefined): TensorData {
  const wanted = type.shape?.slice(1);
  const fits =
    wanted === undefined ||
    (wanted.length === feed.shape.length &&
      wanted.every((dim, axis) => typeof dim === "string" || dim === feed.shape[axis]));
  const out = fits ? converted(feed, type.dtype) : undefined;
  if (out !== undefined) return out;
  throw new MinnowError(
    `It is ${feed.dtype} [${feed.shape}], and the model's input "${name}" takes ${type.dtype}${wanted ? ` [${wanted}]` : ""} for one example.`,
    { code: "data/input-mismatch", at, mend: "Give the preprocessing the model was trained with, or other data." },
  );
}

const PLAIN = /^(?:u?int(?:8|16|32|64)|float(?:32|64)|bool)$/;

/** The numbers as another type, or undefined where it cannot hold them: fractions as integers, integers out of its range. */
function converted(feed: TensorData, dtype: DType): TensorData | undefined {
  if (feed.dtype === dtype) return feed;
  if (!PLAIN.test(feed.dtype) || !(PLAIN.test(dtype) || dtype === "float16")) return undefined;
  const { shape } = feed;
  const data = viewOf(dtype, new Uint8Array(byteSize(dtype, elements(shape))));
  for (const [i, raw] of (feed.data as Float64Array).entries()) {
    const value = Number(raw);
    if (dtype === "float16") data[i] = toHalf(value);
    else if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
      if (!Number.isSafeInteger(value)) return undefined;
      data[i] = BigInt(value);
    } else {
      data[i] = value;
      if (!dtype.startsWith("float") && data[i] !== value) return undefined;
    }
  }
  return { dtype, shape, data };
}
