import { MinnowError } from "../errors.ts";
import { floatAttr } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Model, Node, ValueInfo } from "../ir/graph.ts";
import { titleOf } from "../ir/walk.ts";
import type { Fact } from "../ops/define.ts";
import { Emitter, type Operand } from "../ops/emit.ts";
import { inferModel } from "../ops/infer.ts";
import type { LoraLayer, LoraUse } from "./lora-layers.ts";

/** Names of what a branch is made of. */
export interface Branch {
  readonly layer: LoraLayer;
  /** [r, in, …] and [out, r, …]. */
  readonly a: string;
  readonly b: string;
  readonly scale: number;
  readonly dropout: number;
  /** A factor for each output channel: DoRA's. `length`: the lengths that are learned, of which the factor is made. */
  readonly factor?: string;
  readonly length?: string;
}

/** The model that is being given branches. */
export interface Site {
  readonly g: Emitter;
  declare(info: ValueInfo): void;
  hold(name: string, fact: Fact): void;
}

/**
 * Puts low-rank branches beside layers: y + scale · B(A(x)), where A is applied as the layer's own operator applies its weight, and B
 * along the channels of its output. `make` adds the factors to the graph and names them.
 */
export function withBranches(model: Model, make: (site: Site) => readonly Branch[]): Model {
  const e = edit(model.graph);
  const facts = new Map<string, Fact>(inferModel(model));
  const g = new Emitter(e, facts, model.opsets);
  const inputs = [...model.graph.inputs];
  const branches = make({ g, declare: (info) => inputs.push(info), hold: (name, fact) => facts.set(name, fact) });
  e.setInputs(inputs);
  const places = new Map(model.graph.nodes.map((node, i) => [node, i] as const));
  const uses = branches.flatMap((branch) => branch.layer.uses.map((use) => ({ branch, use })));
  // In the order of the graph: a branch reads what the branches before it have made of its input.
  uses.sort((p, q) => (places.get(p.use.node) ?? 0) - (places.get(q.use.node) ?? 0));
  for (const { branch, use } of uses) place(g, branch, use);
  return { ...model, graph: e.done() };
}

function place(g: Emitter, branch: Branch, use: LoraUse): void {
  const node = g.edit.current(use.node);
  if (node === undefined) throw new MinnowError("It is gone.", { code: "ir/no-node", at: titleOf(use.node) });
  g.near = `${branch.layer.module.replaceAll(".", "/")}/lora`;
  const y = node.outputs[0] as string;
  const factor = branch.length === undefined ? branch.factor : dora(g, branch, node, use, branch.length);
  const bias = factor === undefined || use.bias === undefined ? undefined : (node.inputs[use.bias] as string);
  if (bias !== undefined) g.edit.change(node, { inputs: without(node.inputs, use.bias as number) });
  let sum = g.add(y, delta(g, branch, node, use));
  if (factor !== undefined) sum = g.mul(sum, along(g, factor, use));
  if (bias !== undefined) {
    const scaled = g.mul(bias, floatAttr(node, "beta", 1));
    sum = g.add(sum, g.fact(bias).shape?.length === 1 ? along(g, scaled, use) : scaled);
  }
  g.edit.reroute(y, sum);
  g.near = "";
}

/** scale · B(A(x)) */
function delta(g: Emitter, { a, b, scale, dropout }: Branch, node: Node, use: LoraUse): string {
  const x = node.inputs[0] as string;
  const given: Operand = dropout > 0 ? g.op("Dropout", [x, g.scalar(dropout)]) : x;
  const plain = use.bias === undefined ? node.inputs : without(node.inputs, use.bias);
  const inputs = plain.map((name, i) =>
    i === 0 ? given : i === use.input ? g.transpose(a, inverse(use.order)) : name,
  );
  const inner = g.mul(g.op(node.op, inputs, node.attrs, node.domain), scale);
  if (use.channel === -1) return g.op("MatMul", [inner, g.transpose(b, [1, 0])]);
  return g.op("Conv", [inner, b]);
}

/** A number for each channel, so that it meets the channels of the output. */
const along = (g: Emitter, value: string, { channel }: LoraUse): string =>
  channel === -1 ? value : g.op("Reshape", [value, g.ints([-1, ...new Array<number>(-channel - 1).fill(1)])]);

/** m / ‖W + scale · B · A‖, norms over all that reaches one output. */
function dora(g: Emitter, { layer, a, b, scale }: Branch, node: Node, use: LoraUse, length: string): string {
  const [out = 1, ...into] = layer.shape;
  const size = into.reduce((x, y) => x * y, 1);
  const rank = g.shape(a)[0] as number;
  const weight = g.reshape(g.transpose(node.inputs[use.input] as string, use.order), [out, size]);
  const change = g.mul(g.op("MatMul", [g.reshape(b, [out, rank]), g.reshape(a, [rank, size])]), scale);
  const norm = g.op("Sqrt", [g.reduce("ReduceSumSquare", g.add(weight, change), [1], false)]);
  return g.div(g.reshape(length, [out]), norm);
}

/** The inputs with one left out. */
function without(inputs: readonly string[], index: number): string[] {
  const kept = inputs.map((name, i) => (i === index ? "" : name));
  while (kept.at(-1) === "") kept.pop();
  return kept;
}

/** The axes of a value whose axis i is to become axis `order[i]`: from PyTorch's order to an operand's. */
const inverse = (order: readonly number[]): number[] => order.map((_, axis) => order.indexOf(axis));
