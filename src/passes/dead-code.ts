import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

/** Operators whose outputs after the first may be left out. */
const OPTIONAL_OUTPUTS: ReadonlySet<string> = new Set([
  "BatchNormalization",
  "Dropout",
  "GRU",
  "LSTM",
  "LayerNormalization",
  "MaxPool",
  "RNN",
]);

/** Takes out nodes and weights that nothing reads, and optional outputs; the model's inputs stay. */
export const removeDeadCode = (): Pass =>
  rewriting("removeDeadCode", (site) => {
    const { graph, edit, note } = site;
    const read = (name: string) => name !== "" && (edit.isOutput(name) || edit.readersOf(name).length > 0);
    for (const node of [...graph.nodes].reverse()) {
      if (!node.outputs.some(read)) {
        edit.remove(node);
        note("Took out a node whose result nothing reads.", node);
      } else if (node.domain === "" && OPTIONAL_OUTPUTS.has(node.op)) {
        const outputs = node.outputs.map((name, i) => (i === 0 || read(name) ? name : ""));
        while (outputs.at(-1) === "") outputs.pop();
        if (outputs.join("\n") === node.outputs.join("\n")) continue;
        edit.change(node, { outputs });
        note("Left out an output that nothing reads.", node);
      }
    }
    removeWeights(site, read);
  });

function removeWeights({ graph, edit, note }: Site, read: (name: string) => boolean): void {
  const inputs = new Set(graph.inputs.map((i) => i.name));
  for (const name of graph.weights.keys()) {
    if (read(name) || inputs.has(name)) continue;
    edit.removeWeight(name);
    note("Took out a weight that nothing reads.", `weight "${name}"`);
  }
}
