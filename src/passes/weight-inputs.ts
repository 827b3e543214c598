import type { Graph } from "../ir/graph.ts";
import type { Pass } from "./pass.ts";

/**
 * Takes weights off the list of the model's inputs. A weight that is listed there is a default a caller may override,
 * so ONNX Runtime (from IR version 4 on) does not treat it as a constant: nothing is folded into it or packed.
 */
export function takeWeightsOffInputs(): Pass {
  return {
    name: "takeWeightsOffInputs",
    options: {},
    async run(model) {
      const graph = withoutWeightInputs(model.graph);
      if (graph === model.graph) return { model, changes: [] };
      const irVersion = Math.max(model.irVersion, 4);
      const times = model.graph.inputs.length - graph.inputs.length;
      const what = "Took a weight off the model's inputs, so that it is a constant.";
      return { model: { ...model, graph, irVersion }, changes: [{ what, at: "model", ...(times > 1 && { times }) }] };
    },
  };
}

/** The graph with its weights taken off the list of inputs; the same graph where none stands there. */
export function withoutWeightInputs(graph: Graph): Graph {
  const inputs = graph.inputs.filter(({ name }) => !graph.weights.has(name) && !graph.sparseWeights?.has(name));
  return inputs.length === graph.inputs.length ? graph : { ...graph, inputs };
}
