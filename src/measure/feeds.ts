import { feedInputs } from "../data/bind.ts";
import { MinnowError } from "../errors.ts";
import { isFloat } from "../ir/dtype.ts";
import type { Model } from "../ir/graph.ts";
import { elements, type TensorData, tensorFrom, viewOf } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";

/** Sizes given to named dimensions nobody knows: of axis 0, the batch, and of the others. */
export interface FeedSizes {
  readonly batch?: number;
  readonly length?: number;
  readonly seed?: number;
}

/**
 * Seeded numbers a model can be run on without data: reals from −1 to 1, whole numbers 0 and 1 (legal as indices of
 * anything with two rows), ones for whatever is called a mask.
 */
export function randomFeeds(
  model: Model,
  { batch = 1, length = 16, seed = 0 }: FeedSizes = {},
): Record<string, TensorData> {
  const next = random(seed);
  const feeds: Record<string, TensorData> = {};
  for (const { name, type } of feedInputs(model.graph)) {
    if (type?.shape === undefined)
      throw new MinnowError("The model does not say its shape, so it cannot be fed without data.", {
        code: "measure/no-shape",
        at: `input "${name}"`,
        mend: "Give data with --data.",
      });
    const shape = type.shape.map((dim, axis) => (typeof dim === "number" ? dim : axis === 0 ? batch : length));
    const draw = () => (isFloat(type.dtype) ? next() * 2 - 1 : /mask/i.test(name) ? 1 : Math.floor(next() * 2));
    feeds[name] = feedOf(type.dtype, shape, draw);
  }
  return feeds;
}

function feedOf(dtype: TensorData["dtype"], shape: readonly number[], draw: () => number): TensorData {
  const count = elements(shape);
  if (dtype === "float16")
    return { dtype, shape, data: new Uint16Array(count).map(() => (draw() > 0 ? 0x3400 : 0xb400)) };
  const tensor = tensorFrom(dtype, shape, Array.from({ length: count }, draw));
  return { dtype, shape, data: viewOf(dtype, tensor.bytes!) };
}
