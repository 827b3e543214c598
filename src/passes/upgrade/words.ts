import { string, stringAttr } from "../../ir/attrs.ts";
import { type Lifting, plain, rewritten, withAttrs } from "./lifting.ts";

/** Operators and attribute values that got other names or defaults. */
export const words: readonly Lifting[] = [
  {
    op: "Scatter",
    before: 11,
    why: "ScatterElements replaced it in opset 11",
    lift: (old) => [{ ...rewritten(old, old.node.inputs), op: "ScatterElements" }],
  },
  {
    op: "GridSample",
    before: 20,
    why: "its modes are called linear and cubic since opset 20",
    lift(old) {
      plain(old, "mode");
      const mode = stringAttr(old.node, "mode", "bilinear").replace(/^bi/, "");
      return [withAttrs(rewritten(old, old.node.inputs), { mode: string(mode) })];
    },
  },
  {
    op: "RoiAlign",
    before: 16,
    why: "it starts half a pixel earlier since opset 16, unless told otherwise",
    lift: (old) => [
      withAttrs(rewritten(old, old.node.inputs), { coordinate_transformation_mode: string("output_half_pixel") }),
    ],
  },
  {
    op: "Scan",
    before: 9,
    why: "it has no batch dimension since opset 9",
    lift: (old) => old.refuse("Scan of opset 8 works on batches of sequences, as no later one does."),
  },
];
