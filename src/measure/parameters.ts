import { isFloat } from "../ir/dtype.ts";
import type { Model } from "../ir/graph.ts";
import { elements, type Tensor } from "../ir/tensor.ts";
import { ruleOf } from "../ops/index.ts";

/**
 * The learned numbers of each weight, by its name: float weights of more than one element, and of one where a contraction
 * reads it as its weight or bias. Running statistics (what rules declare as `statistics`) are none, nor are other single
 * numbers, shapes and indices. Float weights that nodes carry as
 * constants count under the names the nodes give them; quantized weights, which only a scale makes floats, count too.
 */
export function parameterWeights(model: Model): ReadonlyMap<string, number> {
  const [statistics, contracted] = [statisticsOf(model), contractedWeights(model)];
  const counts = new Map<string, number>();
  const add = (name: string, tensor: Tensor) => {
    const size = elements(tensor.shape);
    if ((size > 1 || contracted.has(name)) && !statistics.has(name)) counts.set(name, size);
  };
  const { levels, scales } = scalings(model);
  for (const [name, tensor] of model.graph.weights)
    if (levels.has(name) || (isFloat(tensor.dtype) && !scales.has(name))) add(name, tensor);
  for (const { outputs, inputs, attrs } of model.graph.nodes) {
    const value = attrs.value;
    if (inputs.length === 0 && value?.type === "tensor" && isFloat(value.value.dtype))
      add(outputs[0] ?? "", value.value);
  }
  return counts;
}

/** The number of learned numbers of a model. */
export const parametersOf = (model: Model): number => [...parameterWeights(model).values()].reduce((a, b) => a + b, 0);

/** Names that contractions read as weights or biases: parameters even where they are a single number. */
export function contractedWeights({ graph: { nodes } }: Model): ReadonlySet<string> {
  const names = nodes.flatMap((node) => {
    const quant = ruleOf(node)?.quant;
    return quant?.kind === "contraction" ? [quant.weight, quant.bias ?? -1].map((i) => node.inputs[i] ?? "") : [];
  });
  return new Set(names);
}

/** Names that are read as running statistics, through nodes of one input as well, and as nothing else. */
function statisticsOf(model: Model): ReadonlySet<string> {
  const [statistics, others] = [new Set<string>(), new Set<string>()];
  const behind = new Map(
    model.graph.nodes.filter((n) => n.inputs.length === 1).map((n) => [n.outputs[0], n.inputs[0]]),
  );
  const origin = (name: string): string => {
    let at = name;
    for (let next = behind.get(at); next !== undefined; next = behind.get(at)) at = next;
    return at;
  };
  for (const node of model.graph.nodes) {
    const indices = ruleOf(node)?.statistics;
    if (indices === undefined && behind.get(node.outputs[0] ?? "") !== undefined) continue;
    for (const [i, name] of node.inputs.entries()) (indices?.includes(i) ? statistics : others).add(origin(name));
  }
  for (const name of others) statistics.delete(name);
  return statistics;
}

/** Integer weights that become floats by a float scale, straight or behind a Cast and a Reshape, and those scales: storage and Q/DQ alike. */
function scalings({ graph: { weights, nodes } }: Model): { levels: ReadonlySet<string>; scales: ReadonlySet<string> } {
  const [levels, scales, cast] = [new Set<string>(), new Set<string>(), new Map<string, string>()];
  const isWhole = (name: string): boolean => {
    const tensor = weights.get(name);
    return tensor !== undefined && !isFloat(tensor.dtype) && tensor.strings === undefined;
  };
  for (const { inputs, outputs } of nodes) {
    const [first = "", second = ""] = inputs;
    const whole = isWhole(first) ? first : cast.get(first);
    if (whole === undefined) continue;
    if (inputs.length === 1) cast.set(outputs[0] ?? "", whole);
    else if (isFloat(weights.get(second)?.dtype ?? "string")) {
      levels.add(whole);
      scales.add(second);
    } else if (inputs.length === 2 && isWhole(second)) cast.set(outputs[0] ?? "", whole);
  }
  return { levels, scales };
}
