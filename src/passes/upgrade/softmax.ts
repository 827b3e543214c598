import { int, intAttr } from "../../ir/attrs.ts";
import type { NewNode } from "../../ir/edit.ts";
import { type Lifting, type OldNode, withAttrs, without } from "./lifting.ts";

/** Before opset 13 the input was flattened to two dimensions at `axis`, and the rows of that were normalized. */
function lift(old: OldNode): readonly NewNode[] {
  const { node } = old;
  const at = intAttr(node, "axis", 1);
  const [x = ""] = node.inputs;
  const plain: NewNode = { op: node.op, inputs: [x], attrs: without(node.attrs, "axis"), outputs: node.outputs };
  const shape = old.fact(0)?.shape;
  if (
    at === -1 ||
    shape
      ?.slice((at + shape.length) % shape.length || 0)
      .slice(1)
      .every((d) => d === 1)
  )
    return [withAttrs(plain, { axis: int(at) })];
  const [flat, rows, sizes] = ["flat", "rows", "shape"].map(old.fresh) as [string, string, string];
  return [
    { op: "Flatten", inputs: [x], attrs: { axis: int(at) }, outputs: [flat] },
    { ...withAttrs(plain, { axis: int(-1) }), inputs: [flat], outputs: [rows] },
    { op: "Shape", inputs: [x], outputs: [sizes] },
    { op: "Reshape", inputs: [rows, sizes], outputs: node.outputs },
  ];
}

export const softmaxes: readonly Lifting[] = ["Softmax", "LogSoftmax", "Hardmax"].map((op) => ({
  op,
  before: 13,
  why: "it runs along one axis since opset 13, no longer along all from there on",
  lift,
}));
