import type { Model, Node } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { axesOf, channelAxis, channelTerm, lettersOf, sizesOf, spread } from "../ops/axes.ts";
import { ruleOf } from "../ops/index.ts";
import { applied, type Facts, inferModel } from "../ops/infer.ts";

/** A weight that can be adapted, and the nodes that apply it. */
export interface LoraLayer {
  /** As the modules of the net it was exported from are called: `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  /** Name of the weight. */
  readonly weight: string;
  readonly uses: readonly LoraUse[];
  /** The weight's axes in PyTorch's order, output channels first: axis i of [out, in, …] is axis `order[i]` of the weight. */
  readonly order: readonly number[];
  /** The weight's shape in that order. */
  readonly shape: readonly number[];
}

/** An application of the weight. */
export interface LoraUse {
  readonly node: Node;
  /** Which input the weight is, maybe behind nodes that only move its axes; which the bias, where the operator has one. */
  readonly input: number;
  readonly bias: number | undefined;
  /** As `order`, of the operand the node reads. */
  readonly order: readonly number[];
  /** Axis of the output's channels, from the end: −1 is the last. */
  readonly channel: number;
}

/** Every float weight that nodes contract with activations, in the order of the graph. Grouped convolutions are none. */
export function loraLayers(model: Model): readonly LoraLayer[] {
  const facts = inferModel(model);
  const writers = new Map(model.graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
  const layers = new Map<string, LoraLayer>();
  for (const node of model.graph.nodes) {
    const rule = ruleOf(node)?.quant;
    if (rule?.kind !== "contraction") continue;
    const held = heldWeight(model, facts, writers, node.inputs[rule.weight] ?? "");
    const found = held && useOf(model, facts, node, rule.weight, rule.bias, held.tensor.shape.length);
    if (held === undefined || found === undefined) continue;
    const order = found.order.map((axis) => held.axes[axis] as number);
    const known = layers.get(held.name);
    if (known !== undefined && String(known.order) !== String(order)) continue;
    const shape = order.map((axis) => held.tensor.shape[axis] as number);
    const uses = [...(known?.uses ?? []), found];
    layers.set(held.name, { module: moduleOf(held.name, node), weight: held.name, order, shape, ...known, uses });
  }
  return [...layers.values()];
}

/** The weight behind an operand, and for each axis of the operand the axis of the weight. */
interface Held {
  readonly name: string;
  readonly tensor: Tensor;
  readonly axes: readonly number[];
}

function heldWeight(model: Model, facts: Facts, writers: ReadonlyMap<string, Node>, name: string): Held | undefined {
  const tensor = model.graph.weights.get(name);
  if (tensor !== undefined)
    return tensor.dtype === "float32" ? { name, tensor, axes: [...tensor.shape.keys()] } : undefined;
  const writer = writers.get(name);
  if (writer?.inputs.length !== 1) return undefined;
  const axes = axesOf({ ...applied(writer, model.opsets, facts), results: writer.outputs.map((o) => facts.get(o)) });
  if ("frozen" in axes) return undefined;
  const [from, to] = [axes.pattern.inputs[0] ?? [], axes.pattern.outputs[0] ?? []].map((terms) =>
    terms.map((term) => (term.kind === "letter" && term.mark === undefined ? term.letter : undefined)),
  ) as [(string | undefined)[], (string | undefined)[]];
  const moved = to.map((letter) => (letter === undefined ? -1 : from.indexOf(letter)));
  if (from.length !== to.length || moved.includes(-1)) return undefined;
  const held = heldWeight(model, facts, writers, writer.inputs[0] as string);
  return held && { ...held, axes: moved.map((axis) => held.axes[axis] as number) };
}

function useOf(
  model: Model,
  facts: Facts,
  node: Node,
  input: number,
  bias: number | undefined,
  rank: number,
): LoraUse | undefined {
  const n = { ...applied(node, model.opsets, facts), results: node.outputs.map((name) => facts.get(name)) };
  const axes = axesOf(n);
  if ("frozen" in axes || node.outputs.length !== 1) return undefined;
  const { pattern, rule } = axes;
  const [at, axis] = [channelTerm(pattern, input), channelAxis(pattern, input, rank)];
  const terms = pattern.inputs[input] ?? [];
  if (at === undefined || axis === undefined || rank < 2) return undefined;
  if (terms.some((term) => term.kind === "rest") && rank >= terms.length) return undefined;
  const letters = lettersOf(terms[at] as (typeof terms)[number]);
  const shared = letters.filter((letter) => (pattern.inputs[0] ?? []).flatMap(lettersOf).includes(letter));
  const sizes = sizesOf(pattern, rule, n);
  if (shared.some((letter) => sizes.get(letter) !== 1)) return undefined;
  const output = spread(pattern.outputs[0] ?? [], n.results[0]?.shape).map(({ term }) => term);
  const channel = output.findIndex((term) => lettersOf(term).some((letter) => letters.includes(letter)));
  if (channel < 0) return undefined;
  const order = [axis, ...Array(rank).keys()].filter((a, i) => i === 0 || a !== axis);
  return { node, input, bias: node.inputs[bias ?? -1] ? bias : undefined, order, channel: channel - output.length };
}

/** From the weight's name, where exporters kept it; else from the scope in the node's: `/model/layers.0/q_proj/MatMul`. */
function moduleOf(weight: string, node: Node): string {
  const kept = /^(.+)\.weight$/.exec(weight)?.[1];
  if (kept !== undefined) return kept;
  const scope = node.name.split("/").filter((part) => part !== "");
  return scope.length > 1 ? scope.slice(0, -1).join(".") : weight;
}
