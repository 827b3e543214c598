import { type GraphEdit, inOrder } from "../ir/edit.ts";

/** Takes out nodes whose outputs nobody reads, those of `results` apart: ONNX Runtime would compute them all the same. */
export function removeUnread(e: GraphEdit, results: ReadonlySet<string | undefined>): void {
  for (const node of inOrder([...e.nodes()]).toReversed())
    if (node.outputs.every((name) => !results.has(name) && e.readersOf(name).length === 0)) e.remove(node);
}
