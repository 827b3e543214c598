import type { Node } from "../ir/graph.ts";
import { sameShape } from "./identities.ts";
import type { Pass } from "./pass.ts";
import { rewriting } from "./rewrite.ts";
import { reshapeTarget, setTarget } from "./targets.ts";

const RESHAPING: ReadonlySet<string> = new Set(["Reshape", "Flatten", "Squeeze", "Unsqueeze"]);

const reshapes = (node: Node | undefined): node is Node => node?.domain === "" && RESHAPING.has(node.op);

/** Makes one Reshape of several nodes in a row that only regroup axes, and none where they end as they began. */
export const mergeReshapes = (): Pass =>
  rewriting("mergeReshapes", (site) => {
    const { edit, note } = site;
    for (const node of edit.nodes()) {
      const before = edit.writerOf(node.inputs[0] ?? "");
      if (!reshapes(node) || !reshapes(before)) continue;
      const source = before.inputs[0] ?? "";
      const shape = site.fact(node.outputs[0] ?? "")?.shape;
      if (sameShape(site.fact(source)?.shape, shape)) {
        if (edit.bypass(node, source)) note("Took out nodes that regroup axes and back again.", node);
        continue;
      }
      const target = shape && reshapeTarget(shape, site.fact(source)?.shape);
      if (target === undefined) continue;
      setTarget(site, edit.change(node, { op: "Reshape" }), source, target);
      note("Merged two nodes in a row that regroup axes.", node);
    }
  });
