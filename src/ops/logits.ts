import { intAttr } from "../ir/attrs.ts";
import type { Node } from "../ir/graph.ts";
import type { Emitter } from "./emit.ts";

/** Operators that leave every number as it is. */
const SAME: ReadonlySet<string> = new Set(["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"]);

/**
 * What a probability was made from: the scores before the Softmax (over `axis`, counted from 0) or the Sigmoid that computes
 * `value`, in the shape of `value`; `value` itself where neither does. Reshapes of one example's scores in between are seen
 * through. A loss of logits is exact where the logarithm of a probability that rounds to 0 is not.
 */
export function logitsOf(g: Emitter, value: string, squash: "Softmax" | "Sigmoid", axis?: number): string {
  const shape = g.shape(value);
  let name = value;
  for (let node = g.edit.writerOf(name); node !== undefined; node = g.edit.writerOf(name)) {
    const [from = ""] = node.inputs;
    if (node.domain !== "" || from === "") return value;
    if (node.op === squash)
      return squash === "Sigmoid" || isOver(g, node, shape, axis) ? g.reshape(from, shape) : value;
    if (!SAME.has(node.op) || g.shape(from)[0] !== shape[0]) return value;
    name = from;
  }
  return value;
}

/** Whether a Softmax runs over the same numbers as `axis` of `shape`: the axis itself, or the only one of one example. */
function isOver(g: Emitter, node: Node, shape: readonly number[], axis = shape.length - 1): boolean {
  const own = g.shape(node.inputs[0] as string);
  const over = intAttr(node, "axis", -1);
  const at = over < 0 ? over + own.length : over;
  if (own.length === shape.length && own.every((size, i) => size === shape[i])) return at === axis;
  const alone = (sizes: readonly number[], kept: number) =>
    sizes.every((size, i) => i === 0 || i === kept || size === 1);
  return at > 0 && own[at] === shape[axis] && alone(own, at) && alone(shape, axis);
}
