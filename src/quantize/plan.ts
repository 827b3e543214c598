import { subgraphs } from "../ir/attrs.ts";
import { isKnown } from "../ir/dim.ts";
import type { Model, Node } from "../ir/graph.ts";
import { elements, type Tensor } from "../ir/tensor.ts";
import { type Uses, usesOf } from "../ir/walk.ts";
import { axesOf, channelAxis, lettersOf, sizesOf } from "../ops/axes.ts";
import type { Mapped, QuantRule } from "../ops/define.ts";
import { ruleOf } from "../ops/index.ts";
import { applied, type Facts, inferModel } from "../ops/infer.ts";
import type { Range } from "./types.ts";

/** A contraction of an activation (input 0) with a constant weight. */
export interface Layer {
  readonly node: Node;
  readonly weight: number;
  /** The input that is added to every output channel, where the operator has such. */
  readonly bias?: number | undefined;
  /** The axis of the weight that becomes the output's channels. */
  readonly axis: number | undefined;
  /** The axis of the output they lie on. */
  readonly outputAxis: number | undefined;
  readonly outputRank: number;
  /** Every output channel sees one input channel only. */
  readonly depthwise: boolean;
}

/** Values that have one scale and zero point in common. */
export interface Group {
  readonly members: string[];
  /** What writes it cuts it off: no level may lie outside the range. */
  inside: boolean;
  /** The range, where the operator determines it. */
  fixed?: Range;
}

/** What of a graph is quantized. */
export interface Plan {
  readonly layers: readonly Layer[];
  /** The nodes that run in integers, each with the places of the inputs it reads as integers. */
  readonly nodes: ReadonlyMap<Node, readonly number[]>;
  /** The quantized activations. */
  readonly values: ReadonlyMap<string, Group>;
  /** Those of them whose writer runs in integers, a clamp behind it included. */
  readonly written: ReadonlySet<string>;
}

/** How a node is called in options and results: its name, or what it writes where it has none. */
export const nameOf = (node: Node): string => node.name || (node.outputs[0] ?? "");

/**
 * Finds what can run in integers: every contraction with a constant weight, and the operators around that compute on
 * integers too where a quantized value reaches them. Ends that only float readers follow stay float.
 */
export function planOf(model: Model, included: (node: Node) => boolean = () => true): Plan {
  const facts = inferModel(model);
  const uses = usesOf(model.graph);
  const constants = constantsOf(model);
  const isFloat32 = (name: string) => facts.get(name)?.dtype === "float32";
  const layers: Layer[] = [];
  const nodes = new Map<Node, readonly number[]>();
  const supplied = new Set<string>();
  for (const node of model.graph.nodes) {
    const quant = quantOf(node, model);
    if (quant === undefined || subgraphs(node).length > 0) continue;
    if (quant.kind === "clamp") {
      if (clampOf(node.inputs[0] ?? "", nodes, uses) === node) supplied.add(node.outputs[0] ?? "");
      continue;
    }
    if (!included(node)) continue;
    const layer = quant.kind === "contraction" ? layerOf(node, quant, model, facts, constants) : undefined;
    const reads = layer === undefined ? readsOf(node, quant).filter((i) => isFloat32(node.inputs[i] ?? "")) : [0];
    const variable = reads.filter((i) => !constants.has(node.inputs[i] ?? ""));
    if (layer !== undefined) layers.push(layer);
    else if (reads.length === 0 || !variable.some((i) => supplied.has(node.inputs[i] ?? ""))) continue;
    nodes.set(node, reads);
    for (const name of node.outputs) if (isFloat32(name)) supplied.add(name);
  }
  dropEnds(model, nodes, uses);
  return { layers, nodes, ...valuesOf(model, nodes, uses, isFloat32, constants) };
}

const constantsOf = ({ graph }: Model): ReadonlyMap<string, Tensor> => {
  const inputs = new Set(graph.inputs.map((i) => i.name));
  return new Map([...graph.weights].filter(([name]) => !inputs.has(name)));
};

function quantOf(node: Node, { opsets }: Model): QuantRule | undefined {
  const rule = ruleOf(node);
  const domain = node.domain === "ai.onnx" ? "" : node.domain;
  return rule !== undefined && (opsets.get(domain) ?? 1) >= rule.since ? rule.quant : undefined;
}

/** The inputs a node takes as integers, before it is known whether they are real numbers. */
function readsOf(node: Node, quant: QuantRule): number[] {
  if (quant.kind === "contraction") return [0, quant.weight];
  if (quant.kind === "arithmetic") return [...(quant.inputs ?? node.inputs.keys())];
  return [0];
}

function layerOf(
  node: Node,
  quant: QuantRule & { kind: "contraction" },
  { opsets }: Model,
  facts: Facts,
  constants: ReadonlyMap<string, Tensor>,
): Layer | undefined {
  const weight = constants.get(node.inputs[quant.weight] ?? "");
  const data = node.inputs[0] ?? "";
  if (weight?.dtype !== "float32" || elements(weight.shape) === 0) return undefined;
  if (constants.has(data) || facts.get(data)?.dtype !== "float32") return undefined;
  const results = node.outputs.map((name) => facts.get(name));
  const n: Mapped = { ...applied(node, opsets, facts), results };
  const outputRank = results[0]?.shape?.length ?? 0;
  return {
    node,
    weight: quant.weight,
    bias: quant.bias,
    outputRank,
    ...channelsOf(n, quant.weight, weight.shape.length, outputRank),
  };
}

/** Where the channels lie in the weight and in the output, counted from 0. */
function channelsOf(n: Mapped, weight: number, rank: number, outputRank: number) {
  const none = { axis: undefined, outputAxis: undefined, depthwise: false };
  const axes = axesOf(n);
  if ("frozen" in axes) return none;
  const { pattern, rule } = axes;
  const terms = pattern.inputs[weight] ?? [];
  const output = pattern.outputs[0] ?? [];
  const at = channelAxis(pattern, weight);
  if (at === undefined) return none;
  const letters = lettersOf(terms[at]!);
  const to = output.findIndex((term) => lettersOf(term).some((letter) => letters.includes(letter)));
  const behind = (list: readonly { kind: string }[], index: number) =>
    list.slice(0, index).some((term) => term.kind === "rest");
  const sizes = sizesOf(pattern, rule, n);
  const windows = pattern.inputs.flat().flatMap((term) => (term.kind === "window" ? [term.kernel] : []));
  const written = output.flatMap(lettersOf);
  const summed = terms.flatMap(lettersOf).filter((l) => !windows.includes(l) && !written.includes(l));
  return {
    axis: behind(terms, at) ? at - terms.length + rank : at,
    outputAxis: to < 0 ? undefined : behind(output, to) ? to - output.length + outputRank : to,
    depthwise: summed.every((letter) => {
      const size = sizes.get(letter);
      return size !== undefined && isKnown(size) && size === 1;
    }),
  };
}

/** The clamp that is all that reads a value which a node of the plan computes. */
function clampOf(name: string, nodes: ReadonlyMap<Node, unknown>, uses: Uses): Node | undefined {
  const writer = uses.writer.get(name);
  const [reader, another] = uses.readers.get(name) ?? [];
  if (writer === undefined || reader === undefined || another !== undefined || uses.outputs.has(name)) return undefined;
  const kind = ruleOf(writer)?.quant?.kind;
  if (!nodes.has(writer) || (kind !== "contraction" && kind !== "arithmetic")) return undefined;
  return ruleOf(reader)?.quant?.kind === "clamp" && reader.inputs[0] === name ? reader : undefined;
}

/** The value a node of the plan gives to the others: its output, or that of the clamp behind it. */
const finalOf = (name: string, nodes: ReadonlyMap<Node, unknown>, uses: Uses): string =>
  clampOf(name, nodes, uses)?.outputs[0] ?? name;

const isRead = (name: string, nodes: ReadonlyMap<Node, readonly number[]>, uses: Uses): boolean =>
  (uses.readers.get(name) ?? []).some((node) => nodes.get(node)?.some((i) => node.inputs[i] === name));

/** Takes out what moves numbers or has a known range and is followed by float alone: it would only lose precision. */
function dropEnds({ graph }: Model, nodes: Map<Node, readonly number[]>, uses: Uses): void {
  for (const node of graph.nodes.toReversed()) {
    const kind = nodes.has(node) ? ruleOf(node)?.quant?.kind : undefined;
    if (kind !== "transparent" && kind !== "range") continue;
    if (!node.outputs.some((name) => isRead(name, nodes, uses))) nodes.delete(node);
  }
}

function valuesOf(
  { graph }: Model,
  nodes: ReadonlyMap<Node, readonly number[]>,
  uses: Uses,
  isFloat32: (name: string) => boolean,
  constants: ReadonlyMap<string, Tensor>,
): Pick<Plan, "values" | "written"> {
  const values = new Map<string, Group>();
  const written = new Set<string>();
  const groupOf = (name: string): Group => {
    const group = values.get(name) ?? { members: [name], inside: false };
    values.set(name, group);
    return group;
  };
  for (const node of graph.nodes) {
    const reads = nodes.get(node);
    const quant = ruleOf(node)?.quant;
    if (reads === undefined || quant === undefined) continue;
    for (const i of reads) if (!constants.has(node.inputs[i] ?? "")) groupOf(node.inputs[i] ?? "");
    for (const output of node.outputs.filter(isFloat32)) {
      const name = finalOf(output, nodes, uses);
      if (quant.kind === "contraction" && quant.floatResult && !isRead(name, nodes, uses)) continue;
      const group = groupOf(name);
      written.add(name);
      if (name !== output) group.inside = true;
      if (quant.kind === "range") group.fixed = quant.range;
      if (quant.kind === "transparent") join(values, groupOf(node.inputs[0] ?? ""), group);
    }
  }
  return { values, written };
}

function join(values: Map<string, Group>, into: Group, from: Group): void {
  if (into === from) return;
  into.members.push(...from.members);
  into.inside ||= from.inside;
  for (const name of from.members) values.set(name, into);
}
