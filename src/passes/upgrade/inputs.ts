import { floatAttr, int, intAttr } from "../../ir/attrs.ts";
import { tensorFrom } from "../../ir/tensor.ts";
import { roundTo } from "../numbers.ts";
import { type Lifting, type OldNode, plain, realType, rewritten, withAttrs } from "./lifting.ts";

/** Operators whose attributes became inputs, each by its page in ONNX's changelog. */

const axesBecameInput = (op: string, before: number): Lifting => ({
  op,
  before,
  why: `its axes are an input since opset ${before}`,
  lift: (old) => [rewritten(old, [old.node.inputs[0] ?? "", old.asInput("axes")], "axes")],
});

const REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"];

/** A constant scalar of the type of the node's first input. */
const scalar = (old: OldNode, what: string, value: number): string =>
  old.constant(what, roundTo(realType(old), [], [value]));

const clip: Lifting = {
  op: "Clip",
  before: 11,
  why: "its bounds are inputs since opset 11",
  lift(old) {
    plain(old, "min", "max");
    const bound = (name: "min" | "max"): string => {
      const value = floatAttr(old.node, name);
      return value === undefined || Math.abs(value) >= 3.4028234e38 ? "" : scalar(old, name, value);
    };
    return [rewritten(old, [old.node.inputs[0] ?? "", bound("min"), bound("max")], "min", "max")];
  },
};

const pad: Lifting = {
  op: "Pad",
  before: 11,
  why: "its pads are an input since opset 11",
  lift(old) {
    const value = floatAttr(old.node, "value", 0);
    const fill = value === 0 ? "" : scalar(old, "value", value);
    return [rewritten(old, [old.node.inputs[0] ?? "", old.asInput("pads"), fill], "pads", "value")];
  },
};

const slice: Lifting = {
  op: "Slice",
  before: 10,
  why: "its bounds are inputs since opset 10",
  lift: (old) => [
    rewritten(
      old,
      [old.node.inputs[0] ?? "", old.asInput("starts"), old.asInput("ends"), old.asInput("axes")],
      "starts",
      "ends",
      "axes",
    ),
  ],
};

const split: Lifting = {
  op: "Split",
  before: 18,
  why: "its sizes are an input since opset 13, or their number an attribute since opset 18",
  lift(old) {
    const sizes = old.from < 13 ? old.asInput("split") : (old.node.inputs[1] ?? "");
    const plain = rewritten(old, [old.node.inputs[0] ?? "", sizes], "split");
    return [sizes === "" ? withAttrs(plain, { num_outputs: int(old.node.outputs.length) }) : plain];
  },
};

const topK: Lifting = {
  op: "TopK",
  before: 10,
  why: "its k is an input since opset 10",
  lift: (old) => [rewritten(old, [old.node.inputs[0] ?? "", old.asInput("k")], "k")],
};

const dropout: Lifting = {
  op: "Dropout",
  before: 12,
  why: "its ratio is an input since opset 12",
  lift(old) {
    if (old.used(1)) old.refuse("something reads its mask, which said the opposite before opset 12.");
    const ratio = floatAttr(old.node, "ratio", 0.5);
    return [
      rewritten(old, [old.node.inputs[0] ?? "", old.constant("ratio", roundTo("float32", [], [ratio]))], "ratio"),
    ];
  },
};

const dft: Lifting = {
  op: "DFT",
  before: 20,
  why: "its axis is an input since opset 20",
  lift(old) {
    const [x = "", length = ""] = old.node.inputs;
    plain(old, "axis");
    const axis = old.constant("axis", tensorFrom("int64", [], [intAttr(old.node, "axis", 1)]));
    return [rewritten(old, [x, length, axis], "axis")];
  },
};

export const inputs: readonly Lifting[] = [
  axesBecameInput("ReduceSum", 13),
  ...REDUCTIONS.map((name) => axesBecameInput(`Reduce${name}`, 18)),
  axesBecameInput("Squeeze", 13),
  axesBecameInput("Unsqueeze", 13),
  clip,
  dft,
  dropout,
  pad,
  slice,
  split,
  topK,
];
