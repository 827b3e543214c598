import { feedInputs } from "../data/bind.ts";
import { type Dataset, dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { type Dim, UNKNOWN } from "../ir/dim.ts";
import { isFloat } from "../ir/dtype.ts";
import type { Model } from "../ir/graph.ts";
import { elements, type TensorData, tensorFrom, viewOf } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { batchSizeOf } from "./evaluate.ts";

/** Sizes given to dimensions nobody knows. */
export interface FeedSizes {
  /** Of axis 0, and of what has its name elsewhere; default 1. */
  readonly batch?: number;
  /** Of the others; default 64 for the sides of pictures, else 16. */
  readonly length?: number;
  readonly seed?: number;
}

/**
 * Seeded numbers a model can be run on without data: reals from −1 to 1, whole numbers 0 and 1 (legal as indices of
 * anything with two rows), ones for whatever is called a mask.
 */
export function randomFeeds(model: Model, { batch = 1, length, seed = 0 }: FeedSizes = {}): Record<string, TensorData> {
  const next = random(seed);
  const feeds: Record<string, TensorData> = {};
  const inputs = feedInputs(model.graph);
  const batches = new Set(inputs.map(({ type }) => type?.shape?.[0]));
  for (const { name, type } of inputs) {
    if (type?.shape === undefined)
      throw new MinnowError("The model does not say its shape, so it cannot be fed without data.", {
        code: "measure/no-shape",
        at: `input "${name}"`,
        mend: "Give data with --data.",
      });
    const other = length ?? (type.shape.length === 4 ? 64 : 16);
    const isBatch = (dim: Dim, axis: number) => axis === 0 || (dim !== UNKNOWN && batches.has(dim));
    const shape = type.shape.map((dim, axis) => (typeof dim === "number" ? dim : isBatch(dim, axis) ? batch : other));
    const draw = () => (isFloat(type.dtype) ? next() * 2 - 1 : /mask/i.test(name) ? 1 : Math.floor(next() * 2));
    feeds[name] = feedOf(type.dtype, shape, draw);
  }
  return feeds;
}

/** Examples of {@link randomFeeds}: eight, or eight batches of a model whose batch is fixed. */
export function randomExamples(model: Model): Dataset {
  return dataset({
    size: 8 * batchSizeOf(model, 1),
    at: async (seed) => {
      const feeds = Object.entries(randomFeeds(model, { batch: 1, seed }));
      const first = (t: TensorData) => ({
        ...t,
        shape: t.shape.slice(1),
        data: t.data.slice(0, t.data.length / (t.shape[0] ?? 1)),
      });
      return { feeds: Object.fromEntries(feeds.map(([name, t]) => [name, first(t)])) };
    },
  });
}

function feedOf(dtype: TensorData["dtype"], shape: readonly number[], draw: () => number): TensorData {
  const count = elements(shape);
  if (dtype === "float16")
    return { dtype, shape, data: new Uint16Array(count).map(() => (draw() > 0 ? 0x3400 : 0xb400)) };
  const tensor = tensorFrom(dtype, shape, Array.from({ length: count }, draw));
  return { dtype, shape, data: viewOf(dtype, tensor.bytes!) };
}
