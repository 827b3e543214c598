import { floatAttr, intAttr } from "../../ir/attrs.ts";
import type { NewNode } from "../../ir/edit.ts";
import { int64s } from "../../ir/tensor.ts";
import { roundTo } from "../numbers.ts";
import { type Lifting, type OldNode, plain, realType, without } from "./lifting.ts";

const batchNormalization: Lifting = {
  op: "BatchNormalization",
  before: 14,
  why: "it has one output and no attribute spatial since opset 14",
  lift(old) {
    const { node } = old;
    if (node.outputs.some((name, i) => i > 0 && name !== "" && old.used(i)))
      old.refuse("something reads its statistics: the model was exported for training.", "Export it for inference.");
    if (intAttr(node, "spatial", 1) === 0) return perElement(old);
    const attrs = without(node.attrs, "spatial");
    return [{ op: node.op, inputs: node.inputs, attrs, outputs: node.outputs.slice(0, 1) }];
  },
};

/** y = (x − mean) / √(var + ε) · scale + bias, with a scale for every element of a sample. */
function perElement(old: OldNode): readonly NewNode[] {
  const [x = "", scale = "", bias = "", mean = "", variance = ""] = old.node.inputs;
  const epsilon = old.constant("epsilon", roundTo(realType(old), [], [floatAttr(old.node, "epsilon", 1e-5)]));
  const names = ["centred", "shifted", "deviation", "normal", "scaled"].map(old.fresh);
  const [centred, shifted, deviation, normal, scaled] = names as [string, string, string, string, string];
  const step = (op: string, inputs: readonly string[], output: string): NewNode => ({ op, inputs, outputs: [output] });
  return [
    step("Sub", [x, mean], centred),
    step("Add", [variance, epsilon], shifted),
    step("Sqrt", [shifted], deviation),
    step("Div", [centred, deviation], normal),
    step("Mul", [normal, scale], scaled),
    step("Add", [scaled, bias], old.node.outputs[0] ?? ""),
  ];
}

/** Scale and bias have one number per channel since opset 21, before that one per group. */
const groupNormalization: Lifting = {
  op: "GroupNormalization",
  before: 21,
  why: "its scale and bias are per channel since opset 21",
  lift(old) {
    const { node } = old;
    plain(old, "num_groups");
    const groups = intAttr(node, "num_groups", 1);
    const channels = old.fact(0)?.shape?.[1];
    if (typeof channels !== "number")
      return old.refuse("the number of its channels is not known.", "Fix the input's shape.");
    const column = old.constant("groups", int64s([groups, 1]));
    const spread = old.constant("channels", int64s([groups, channels / groups]));
    const flat = old.constant("flat", int64s([-1]));
    const made: NewNode[] = [];
    const perChannel = (name: string, what: string): string => {
      const [tall, wide, out] = ["tall", "wide", ""].map((s) => old.fresh(what + s)) as [string, string, string];
      made.push(
        { op: "Reshape", inputs: [name, column], outputs: [tall] },
        { op: "Expand", inputs: [tall, spread], outputs: [wide] },
        { op: "Reshape", inputs: [wide, flat], outputs: [out] },
      );
      return out;
    };
    const [x = "", scale = "", bias = ""] = node.inputs;
    const inputs = [x, perChannel(scale, "scale"), perChannel(bias, "bias")];
    return [...made, { op: node.op, inputs, attrs: node.attrs, outputs: node.outputs }];
  },
};

export const norms: readonly Lifting[] = [batchNormalization, groupNormalization];
