import type { Model } from "../ir/graph.ts";
import { elements } from "../ir/tensor.ts";
import {
  constantsToWeights,
  fixTargets,
  foldShapes,
  narrowShapes,
  type Pass,
  removeDeadCode,
  removeIdentities,
  sequence,
  takeWeightsOffInputs,
  untilStable,
  upgrade,
} from "../passes/index.ts";
import { rewriting } from "../passes/rewrite.ts";

/** Constants of more elements than this that several nodes read are one on purpose: tied weights. */
const MOST_SHARED = 4096;

/**
 * Brings a model into the form whose axes can be followed: computed shapes are constants wherever the model alone decides
 * them, and no small constant is read by two nodes. Outputs stay the same, and so does normalization.
 */
export const prepare = (): Pass => {
  const passes = [
    constantsToWeights(),
    foldShapes(),
    fixTargets(),
    narrowShapes(),
    removeIdentities(),
    removeDeadCode(),
  ];
  return sequence([upgrade(), takeWeightsOffInputs(), untilStable(passes, "clean"), unshare()], "prepare");
};

/**
 * Gives every reader of a small constant one of its own: exporters write equal constants once (tables of positions, fresh
 * biases), which ties axes together that have nothing to do with each other. Cutting makes equal ones one again.
 */
const unshare = (): Pass =>
  rewriting("unshare", ({ graph, edit, inner }) => {
    if (inner) return;
    for (const [name, tensor] of graph.weights) {
      if (elements(tensor.shape) > MOST_SHARED || edit.isOutput(name)) continue;
      for (const node of edit.readersOf(name).slice(1)) {
        if (!node.inputs.includes(name)) continue;
        const own = edit.weight(name, tensor);
        edit.change(node, { inputs: node.inputs.map((input) => (input === name ? own : input)) });
      }
    }
  });

/** A model whose axes can be followed, and what was done to bring it there. */
export const prepared = (model: Model) => prepare().run(model);
