import { type Attrs, floats, type Node, string } from "../ir/index.ts";
import type { Emitter } from "../ops/emit.ts";

/** Operators of one element at a time that give a finite number for 0: the channels that fill up a block hold zeros. */
export const ELEMENTWISE: ReadonlySet<string> = new Set([
  "Abs",
  "Add",
  "And",
  "Cast",
  "Clip",
  "Elu",
  "Equal",
  "Erf",
  "Exp",
  "Gelu",
  "Greater",
  "GreaterOrEqual",
  "HardSigmoid",
  "HardSwish",
  "Identity",
  "LeakyRelu",
  "Less",
  "LessOrEqual",
  "Max",
  "Min",
  "Mul",
  "Neg",
  "Not",
  "Or",
  "Relu",
  "Sigmoid",
  "Sign",
  "Softplus",
  "Sub",
  "Sum",
  "Swish",
  "Tanh",
  "Where",
]);

/** What a blocked convolution is told to do this operator on its way; undefined where it cannot. */
export function activationOf(g: Emitter, node: Node): Attrs | undefined {
  if (node.op === "Relu") return { activation: string("Relu") };
  if (node.op !== "Clip") return undefined;
  const bounds = node.inputs.slice(1).map((name) => (name ? g.fact(name).value?.[0] : undefined));
  return bounds.length === 2 && bounds.every((bound) => typeof bound === "number")
    ? { activation: string("Clip"), activation_params: floats(bounds as number[]) }
    : undefined;
}
