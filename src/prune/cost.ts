import { bindDim, isKnown } from "../ir/dim.ts";
import { byteSize } from "../ir/dtype.ts";
import { costOf } from "../measure/index.ts";
import { contractedWeights, parameterWeights } from "../measure/parameters.ts";
import { macsOf } from "../ops/axes.ts";
import type { Fact, Mapped } from "../ops/define.ts";
import { applied } from "../ops/infer.ts";
import { type Axis, type Masks, sizeAfter } from "./axis.ts";
import type { Derivation, Flow } from "./derive.ts";
import { attrsAfter } from "./held.ts";

/** What a model costs, for one example. */
export interface PrunedCost {
  readonly parameters: number;
  readonly macs: number;
  readonly weightBytes: number;
}

/** What a model costs once indices are cut, without cutting: it is that of the model `cut` gives. */
export type CostAfter = (masks: Masks) => PrunedCost;

/** Prepares {@link CostAfter} for a model. */
export function costAfter(d: Derivation): CostAfter {
  const { sizes } = costOf(d.model);
  const [learned, contracted] = [parameterWeights(d.model), contractedWeights(d.model)];
  const macs = (flow: Flow, masks: Masks): number => {
    const found = bindDim(macsOf(mappedAfter(d, flow, masks)) ?? 0, sizes);
    return isKnown(found) ? found : 0;
  };
  const none: Masks = new Map();
  const working = d.flows.map((flow) => ({ flow, before: macs(flow, none) })).filter(({ before }) => before > 0);
  const total = costOf(d.model).macs - working.reduce((sum, { before }) => sum + before, 0);
  return (masks) => {
    let [parameters, weightBytes] = [0, 0];
    for (const [name, { dtype, shape }] of d.model.graph.weights) {
      const count = (d.axes.get(name) ?? []).reduce((size, axis) => size * sizeAfter(axis, masks), 1);
      const held = d.axes.has(name) ? count : shape.reduce((a, b) => a * b, 1);
      weightBytes += byteSize(dtype, held);
      if (learned.has(name) && (held > 1 || contracted.has(name))) parameters += held;
    }
    return { parameters, macs: working.reduce((sum, { flow }) => sum + macs(flow, masks), total), weightBytes };
  };
}

/** An application as it is once indices are cut. */
function mappedAfter(d: Derivation, flow: Flow, masks: Masks): Mapped {
  const { node } = flow;
  const facts = new Map<string, Fact>();
  for (const name of [...node.inputs, ...node.outputs]) {
    const fact = d.facts.get(name);
    if (fact !== undefined) facts.set(name, factAfter(fact, d.axes.get(name), masks));
  }
  const after = { ...node, attrs: attrsAfter(d, flow, masks) };
  return { ...applied(after, d.model.opsets, facts), results: node.outputs.map((name) => facts.get(name)) };
}

function factAfter(fact: Fact, axes: readonly Axis[] | undefined, masks: Masks): Fact {
  if (fact.shape === undefined || axes === undefined) return fact;
  return { ...fact, shape: fact.shape.map((dim, i) => (isKnown(dim) ? sizeAfter(axes[i] as Axis, masks) : dim)) };
}
