import { floatsAttr, string, stringAttr } from "../../ir/attrs.ts";
import type { NewNode } from "../../ir/edit.ts";
import type { Attrs } from "../../ir/graph.ts";
import { float32s } from "../../ir/tensor.ts";
import { type Lifting, type OldNode, without } from "./lifting.ts";

/**
 * Before opset 11 a pixel at x reads from x / scale. Nearest takes the pixel below where the axis grows and the one
 * above where it shrinks (as ONNX Runtime does; ONNX left it open), so a Resize that does both becomes two.
 */
function lift(old: OldNode): readonly NewNode[] {
  const { node } = old;
  const scales = floatsAttr(node, "scales") ?? (old.fact(1)?.value as readonly number[] | undefined);
  const given = node.inputs[1] || old.constant("scales", float32s([scales?.length ?? 0], scales ?? []));
  const linear = stringAttr(node, "mode", "nearest") !== "nearest";
  const resize = (from: string, by: string, to: readonly string[], nearest: "floor" | "ceil"): NewNode => ({
    op: "Resize",
    inputs: [from, "", by],
    attrs: { ...without(node.attrs, "scales"), ...sampling(linear, nearest) },
    outputs: to,
  });
  const x = node.inputs[0] ?? "";
  const grows = scales === undefined || scales.some((s) => s > 1);
  const shrinks = scales?.some((s) => s < 1) ?? false;
  if (linear || !(grows && shrinks)) return [resize(x, given, node.outputs, shrinks ? "ceil" : "floor")];
  const part = (what: string, bound: (a: number, b: number) => number) =>
    old.constant(what, float32s([scales?.length ?? 0], scales?.map((s) => bound(s, 1)) ?? []));
  const between = old.fresh("grown");
  return [
    resize(x, part("up", Math.max), [between], "floor"),
    resize(between, part("down", Math.min), node.outputs, "ceil"),
  ];
}

const sampling = (linear: boolean, nearest: string): Attrs => ({
  mode: string(linear ? "linear" : "nearest"),
  coordinate_transformation_mode: string("asymmetric"),
  ...(!linear && { nearest_mode: string(nearest) }),
});

export const resizes: readonly Lifting[] = [
  { op: "Upsample", before: 10, why: "Resize replaced it in opset 10", lift },
  { op: "Resize", before: 11, why: "where a pixel reads from is an attribute since opset 11", lift },
];
