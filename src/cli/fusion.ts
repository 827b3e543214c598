import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Model, Node } from "../ir/graph.ts";
import { titleOf, usesOf } from "../ir/walk.ts";
import { load } from "../onnx/index.ts";
import { openSession } from "../runtime/index.ts";

/**
 * The nodes that stand between DequantizeLinear and QuantizeLinear and yet run in float: ONNX Runtime has no integer kernel
 * for them as they are. Found by asking the native runtime for the graph it runs.
 */
export async function unfusedNodes(model: Model | string): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), "minnow-graph-"));
  try {
    const path = join(folder, "optimized.onnx");
    await (await openSession(model, { optimizedModelPath: path })).close();
    return inFloat(await load(await readFile(path))).map(titleOf);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function inFloat({ graph }: Model): Node[] {
  const { writer, readers, outputs } = usesOf(graph);
  const leads = (name: string): boolean =>
    !outputs.has(name) &&
    (readers.get(name)?.length ?? 0) > 0 &&
    readers.get(name)!.every((r) => r.op === "QuantizeLinear");
  return graph.nodes.filter(
    ({ op, inputs, outputs: made }) =>
      !op.endsWith("QuantizeLinear") &&
      !op.endsWith("DequantizeLinear") &&
      inputs.some((name) => writer.get(name)?.op === "DequantizeLinear") &&
      made.every(leads),
  );
}
