import { int, intAttr, ints, intsAttr, stringAttr } from "../ir/attrs.ts";
import type { Node } from "../ir/graph.ts";
import { smallValues } from "../ir/tensor.ts";
import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

/** Lets a Conv, or an AveragePool that counts them, make the zeros itself that a Pad before it puts around its input. */
export const foldPad = (): Pass =>
  rewriting("foldPad", (site) => {
    const { edit, note } = site;
    for (const node of edit.nodes()) {
      const pad = edit.writerOf(node.inputs[0] ?? "");
      const own = ownPads(node);
      if (pad?.op !== "Pad" || pad.domain !== "" || own === undefined) continue;
      const around = spatialZeros(site, pad);
      if (around === undefined || around.length !== own.length) continue;
      const [x = ""] = pad.outputs;
      if (edit.readersOf(x).length !== 1 || edit.isOutput(x) || node.inputs.lastIndexOf(x) !== 0) continue;
      edit.change(node, {
        inputs: [pad.inputs[0] ?? "", ...node.inputs.slice(1)],
        attrs: {
          ...node.attrs,
          pads: ints(own.map((p, i) => p + (around[i] as number))),
          ...(node.op === "AveragePool" && { count_include_pad: int(1) }),
        },
      });
      edit.remove(pad);
      note(`Let ${node.op} do what a Pad did before it.`, node);
    }
  });

/** The pads of a node that can take more of them: begins, then ends. */
function ownPads(node: Node): readonly number[] | undefined {
  if (node.domain !== "" || stringAttr(node, "auto_pad", "NOTSET") !== "NOTSET") return undefined;
  const kernel = intsAttr(node, "kernel_shape");
  const pads = intsAttr(node, "pads") ?? kernel?.flatMap(() => [0, 0]);
  if (node.op === "Conv") return pads;
  if (node.op !== "AveragePool" || intAttr(node, "ceil_mode", 0) !== 0) return undefined;
  return intAttr(node, "count_include_pad", 0) === 1 || pads?.every((p) => p === 0) ? pads : undefined;
}

/** How many zeros a Pad puts before and after each axis from the third on; undefined where it does anything else. */
function spatialZeros(site: Site, pad: Node): readonly number[] | undefined {
  const constant = (input: number) => {
    const tensor = site.constant(pad.inputs[input] ?? "");
    return tensor && smallValues(tensor);
  };
  const given = constant(1);
  const rank = pad.inputs[3] ? site.fact(pad.inputs[0] ?? "")?.shape?.length : (given?.length ?? 0) / 2;
  if (given === undefined || rank === undefined || stringAttr(pad, "mode", "constant") !== "constant") return undefined;
  if (pad.inputs[2] && constant(2)?.[0] !== 0) return undefined;
  const axes = pad.inputs[3] ? constant(3) : Array.from({ length: rank }, (_, i) => i);
  const pads = new Array<number>(2 * rank).fill(0);
  axes?.forEach((axis, i) => {
    const place = axis < 0 ? axis + rank : axis;
    pads[place] = given[i] as number;
    pads[place + rank] = given[i + axes.length] as number;
  });
  const outside = [pads[0], pads[1], pads[rank], pads[rank + 1]];
  if (axes === undefined || outside.some((p) => p !== 0) || pads.some((p) => p < 0)) return undefined;
  return [...pads.slice(2, rank), ...pads.slice(rank + 2)];
}
