import { int } from "../ir/attrs.ts";
import type { GraphEdit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, int64s } from "../ir/tensor.ts";
import { inferModel } from "../ops/infer.ts";

/** Adds the cosine between two values [N, …] of one shape, over each example; the mean over the batch. */
export function cosine(model: Model, e: GraphEdit, a: string, b: string): string {
  const rank = inferModel(model).get(a)?.shape?.length ?? 1;
  const one = (op: string, inputs: string[], attrs = {}) => e.add({ op, inputs, attrs })[0] as string;
  const over = Array.from({ length: rank - 1 }, (_, i) => i + 1);
  const dot = (x: string, y: string) =>
    one("ReduceSum", [one("Mul", [x, y]), e.weight("axes", int64s(over))], { keepdims: int(0) });
  const lengths = one("Sqrt", [one("Mul", [dot(a, a), dot(b, b)])]);
  const safe = one("Add", [lengths, e.weight("tiny", float32s([], [1e-20]))]);
  return one("ReduceMean", [one("Div", [dot(a, b), safe])], { keepdims: int(0) });
}
