import type { Node } from "../ir/graph.ts";
import { int64s, smallValues } from "../ir/tensor.ts";
import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

/** Makes one Slice of two in a row that cut along different axes. */
export const mergeSlices = (): Pass =>
  rewriting("mergeSlices", (site) => {
    const { edit, note } = site;
    for (const node of edit.nodes()) {
      const [x = ""] = node.inputs;
      const before = edit.writerOf(x);
      if (before === undefined || edit.isOutput(x) || edit.readersOf(x).length !== 1) continue;
      const first = cutsOf(site, before);
      const second = cutsOf(site, node);
      if (first === undefined || second === undefined || first.some((a) => second.some((b) => a.axis === b.axis)))
        continue;
      const cuts = [...first, ...second];
      const list = (what: keyof Cut) => edit.weight(`${node.outputs[0]}.${what}`, int64s(cuts.map((cut) => cut[what])));
      edit.change(node, {
        inputs: [before.inputs[0] ?? "", list("start"), list("end"), list("axis"), list("step")],
      });
      edit.remove(before);
      note("Merged two Slices in a row.", node);
    }
  });

interface Cut {
  readonly start: number;
  readonly end: number;
  readonly axis: number;
  readonly step: number;
}

/** What a Slice cuts along which axes, counted from 0; undefined where it is no Slice or that is not constant. */
function cutsOf(site: Site, node: Node): Cut[] | undefined {
  if (node.op !== "Slice" || node.domain !== "") return undefined;
  const rank = site.fact(node.outputs[0] ?? "")?.shape?.length;
  const list = (input: number): number[] | undefined => {
    const tensor = site.constant(node.inputs[input] ?? "");
    return tensor && smallValues(tensor);
  };
  const [starts, ends] = [list(1), list(2)];
  if (rank === undefined || starts === undefined || ends === undefined) return undefined;
  const axes = node.inputs[3] ? list(3) : starts.map((_, i) => i);
  const steps = node.inputs[4] ? list(4) : starts.map(() => 1);
  if (axes === undefined || steps === undefined) return undefined;
  return starts.map((start, i) => ({
    start,
    end: Math.max(Math.min(ends[i] as number, 2 ** 31 - 1), -(2 ** 31)),
    axis: ((axes[i] as number) + rank) % rank,
    step: steps[i] as number,
  }));
}
