import { bindDim, type Dim, isKnown, mulDim, namesIn, productOf } from "../ir/dim.ts";
import { BITS, byteSize, type DType } from "../ir/dtype.ts";
import type { Model, Node } from "../ir/graph.ts";
import { elements } from "../ir/tensor.ts";
import { usesOf } from "../ir/walk.ts";
import { macsOf } from "../ops/axes.ts";
import type { Fact } from "../ops/define.ts";
import { applied, inferModel } from "../ops/infer.ts";
import { parametersOf, parameterWeights } from "./parameters.ts";
import { weightBytes } from "./size.ts";

/** What one node costs. */
export interface LayerCost {
  readonly name: string;
  readonly op: string;
  /** Learned numbers it reads first of all nodes. */
  readonly parameters: number;
  /** Multiply-adds of one example. */
  readonly macs: number;
  /** Bytes of the weights it reads first, packed types packed. */
  readonly bytes: number;
}

/** What a model costs, for one example; nothing is run. */
export interface Cost {
  readonly parameters: number;
  readonly macs: number;
  /** Bytes of all weights. */
  readonly weightBytes: number;
  /** Bytes of the weights by element type, largest first. */
  readonly dtypes: Readonly<Partial<Record<DType, number>>>;
  /** Most bytes of activations alive at once, in the order of the nodes; in-place reuse is not counted on. */
  readonly peakActivationBytes: number;
  readonly layers: readonly LayerCost[];
  /** The sizes taken for symbolic dimensions. */
  readonly sizes: ReadonlyMap<string, number>;
  /** Operators without a rule: their cost is not in here. */
  readonly unknownOps: readonly string[];
}

/** Length taken for symbolic dimensions other than the batch. */
const LENGTH = 128;

/**
 * Adds up parameters, multiply-adds and memory from the inferred types. Symbolic sizes are the batch (1), or 128, or what
 * `sizes` says. Upgrade the model first: rules are written for the forms of opset 18.
 */
export function costOf(model: Model, given: Readonly<Record<string, number>> = {}): Cost {
  const facts = inferModel(model);
  const sizes = sizesOf(model, given);
  const number = (dim: Dim): number => {
    const bound = bindDim(dim, sizes);
    return isKnown(bound) ? bound : 0;
  };
  const origins = originsOf(model);
  const learned = parameterWeights(model);
  const charged = new Set<string>();
  const layers: LayerCost[] = [];
  const unknownOps = new Set<string>();
  for (const node of model.graph.nodes) {
    const own = node.outputs.some((o) => origins.has(o)) ? [] : weightsReadBy(node, origins, charged, model);
    const macs = number(nodeMacs(node, model, facts, unknownOps));
    const parameters = own.reduce((sum, name) => sum + (learned.get(name) ?? 0), 0);
    const bytes = own.reduce((sum, name) => sum + tensorBytes(model, name), 0);
    if (macs + parameters + bytes > 0)
      layers.push({ name: node.name || (node.outputs[0] ?? ""), op: node.op, parameters, macs, bytes });
  }
  return {
    parameters: parametersOf(model),
    macs: layers.reduce((sum, layer) => sum + layer.macs, 0),
    weightBytes: weightBytes(model),
    dtypes: bytesByDtype(model),
    peakActivationBytes: peakActivations(model, facts, origins, number),
    layers,
    sizes,
    unknownOps: [...unknownOps].sort(),
  };
}

function sizesOf(model: Model, given: Readonly<Record<string, number>>): ReadonlyMap<string, number> {
  const facts = inferModel(model);
  const sizes = new Map(Object.entries(given));
  for (const { name } of model.graph.inputs)
    facts.get(name)?.shape?.forEach((dim, axis) => {
      for (const symbol of namesIn(dim)) if (!sizes.has(symbol)) sizes.set(symbol, axis === 0 ? 1 : LENGTH);
    });
  for (const fact of facts.values())
    for (const dim of fact.shape ?? [])
      for (const symbol of namesIn(dim)) if (!sizes.has(symbol)) sizes.set(symbol, LENGTH);
  return sizes;
}

function nodeMacs(node: Node, model: Model, facts: ReadonlyMap<string, Fact>, unknown: Set<string>): Dim {
  const found = macsOf({
    ...applied(node, model.opsets, facts),
    results: node.outputs.map((name) => facts.get(name)),
  });
  if (found !== undefined) return found;
  unknown.add(node.domain === "" ? node.op : `${node.domain}:${node.op}`);
  return 0;
}

/** Values computed from weights alone → the weights they come from. */
function originsOf(model: Model): ReadonlyMap<string, readonly string[]> {
  const origins = new Map<string, readonly string[]>();
  const { weights } = model.graph;
  for (const node of model.graph.nodes) {
    const inputs = node.inputs.filter((name) => name !== "");
    if (inputs.length > 0 && inputs.every((name) => weights.has(name) || origins.has(name)))
      for (const output of node.outputs)
        origins.set(
          output,
          inputs.flatMap((name) => origins.get(name) ?? [name]),
        );
  }
  return origins;
}

function weightsReadBy(
  node: Node,
  origins: ReadonlyMap<string, readonly string[]>,
  charged: Set<string>,
  model: Model,
): string[] {
  const own: string[] = [];
  for (const input of node.inputs)
    for (const name of origins.get(input) ?? [input]) {
      if (!model.graph.weights.has(name) || charged.has(name)) continue;
      charged.add(name);
      own.push(name);
    }
  return own;
}

function tensorBytes(model: Model, name: string): number {
  const tensor = model.graph.weights.get(name);
  return tensor === undefined ? 0 : byteSize(tensor.dtype, elements(tensor.shape));
}

function bytesByDtype(model: Model): Partial<Record<DType, number>> {
  const totals = new Map<DType, number>();
  for (const [name, { dtype }] of model.graph.weights)
    totals.set(dtype, (totals.get(dtype) ?? 0) + tensorBytes(model, name));
  return Object.fromEntries([...totals].sort(([, a], [, b]) => b - a));
}

function peakActivations(
  model: Model,
  facts: ReadonlyMap<string, Fact>,
  constant: ReadonlyMap<string, unknown>,
  number: (dim: Dim) => number,
): number {
  const { readers, outputs } = usesOf(model.graph);
  const bytes = (name: string): number => {
    const fact = facts.get(name);
    return fact?.shape === undefined || constant.has(name)
      ? 0
      : number(mulDim(productOf(fact.shape), BITS[fact.dtype] / 8));
  };
  const left = new Map([...readers].map(([name, list]) => [name, list.length]));
  let live = 0;
  for (const { name } of model.graph.inputs) if (!model.graph.weights.has(name)) live += bytes(name);
  let peak = live;
  for (const node of model.graph.nodes) {
    for (const name of node.outputs) live += bytes(name);
    peak = Math.max(peak, live);
    for (const name of new Set(node.inputs)) {
      const remaining = (left.get(name) ?? 0) - 1;
      left.set(name, remaining);
      if (remaining === 0 && !outputs.has(name) && !model.graph.weights.has(name)) live -= bytes(name);
    }
    for (const name of node.outputs) if (!readers.has(name) && !outputs.has(name)) live -= bytes(name);
  }
  return peak;
}
