import type { Graph } from "../ir/graph.ts";

/** The graph with its weights taken off the list of inputs; the same graph where none stands there. */
export function withoutWeightInputs(graph: Graph): Graph {
  const inputs = graph.inputs.filter(({ name }) => !graph.weights.has(name) && !graph.sparseWeights?.has(name));
  return inputs.length === graph.inputs.length ? graph : { ...graph, inputs };
}
