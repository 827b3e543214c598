import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Model, Node } from "../ir/graph.ts";
import { titleOf, usesOf } from "../ir/walk.ts";
import { load } from "../onnx/index.ts";
import { ruleOf } from "../ops/index.ts";
import { matcher } from "../quantize/plan.ts";
import { openSession } from "../runtime/index.ts";

/**
 * The nodes that stand between DequantizeLinear and QuantizeLinear and yet run in float: ONNX Runtime has no integer kernel
 * for them as they are. Found by asking the native runtime for the graph it runs; nodes that
 * are excluded do not count.
 */
export async function unfusedNodes(model: Model, nodesToExclude: readonly string[] = []): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), "minnow-graph-"));
  try {
    const path = join(folder, "optimized.onnx");
    await (await openSession(model, { optimizedModelPath: path })).close();
    const excluded = matcher(nodesToExclude, model);
    const { nodes } = (await load(await readFile(path))).graph;
    // Where the runtime changes the order of the axes it adds to the name.
    const integer = new Set(
      nodes.filter(({ op }) => /^Q|Integer/.test(op)).map(({ name }) => name.replace(/_token_\d+$/, "")),
    );
    return quantizedIn(model)
      .filter((node) => node.name !== "" && !integer.has(node.name) && !excluded(node))
      .map(titleOf);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The nodes that could be computed in integers and read nothing but what is dequantized. */
function quantizedIn({ graph }: Model): Node[] {
  const { writer } = usesOf(graph);
  const isRounded = (name: string): boolean => writer.get(name)?.op === "DequantizeLinear";
  return graph.nodes.filter((node) => {
    const kind = ruleOf(node)?.quant?.kind;
    return (kind === "contraction" || kind === "arithmetic") && node.inputs.slice(0, 2).every(isRounded);
  });
}
