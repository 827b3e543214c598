import { MinnowError } from "../errors.ts";
import { subgraphs } from "../ir/attrs.ts";
import { edit, inOrder } from "../ir/edit.ts";
import type { Model, Node } from "../ir/graph.ts";
import { readsOf, titleOf } from "../ir/walk.ts";
import type { Fact } from "../ops/define.ts";
import { Emitter } from "../ops/emit.ts";
import { Backward } from "../ops/gradient.ts";
import { gradientOf } from "../ops/gradients.ts";
import { inferModel } from "../ops/infer.ts";
import { removeUnread } from "../passes/unread.ts";
import { Recompute } from "./recompute.ts";

export interface DifferentiateOptions {
  /** The value to differentiate: float, one element. */
  readonly loss: string;
  /** Names of the weights, inputs or inner values whose gradients are wanted. */
  readonly wrt: readonly string[];
  /** Computes activations again in the backward pass rather than keeping them (gradient checkpointing). Default false. */
  readonly recompute?: boolean;
  /** Emits only what ONNX Runtime computes rightly on WebGPU too; a little slower elsewhere. Default false. */
  readonly portable?: boolean;
}

/**
 * Appends the backward pass to a model: the result computes, besides what it did, the gradient of `loss` by every name in
 * `wrt` (reverse mode, one node's rule after the other). All sizes on the way must be numbers.
 * Throws `train/no-gradient` where an operator on the way to the loss has none, with the way; `train/unreached` where the
 * loss does not depend on something in `wrt`.
 *
 * @example
 * const { model: step, gradients } = differentiate(model, { loss: "loss", wrt: ["fc.weight"] });
 * gradients.get("fc.weight");   // name of an output of `step`, of the weight's shape
 */
export function differentiate(
  model: Model,
  { loss, wrt, recompute = false, portable = false }: DifferentiateOptions,
): { readonly model: Model; readonly gradients: ReadonlyMap<string, string> } {
  const e = edit(model.graph);
  const opsets = new Map([...model.opsets, ["com.microsoft", model.opsets.get("com.microsoft") ?? 1] as const]);
  const facts = new Map<string, Fact>(inferModel(model));
  const g = new Emitter(e, facts, opsets);
  g.portable = portable;
  const gradients = backward(g, facts, loss, wrt, { recompute });
  const named = [...new Set(gradients.values())].filter((name) => !e.isOutput(name));
  e.setOutputs([...model.graph.outputs, ...named.map((name) => ({ name }))]);
  removeUnread(e, new Set([...model.graph.outputs.map(({ name }) => name), ...named]));
  return { model: { ...model, graph: e.done(), opsets }, gradients };
}

/**
 * Appends the backward pass of everything the edit holds; gives the name of each gradient. With `recompute` the values it needs
 * of the forward pass are computed again rather than kept.
 */
export function backward(
  emitter: Emitter,
  facts: Map<string, Fact>,
  loss: string,
  wrt: readonly string[],
  { recompute = false }: { readonly recompute?: boolean } = {},
): ReadonlyMap<string, string> {
  const nodes = inOrder([...emitter.edit.nodes()]);
  const moved = dependents(nodes, new Set(wrt));
  checkWay(nodes, moved, loss);
  if (emitter.size(loss) !== 1)
    throw new MinnowError(`The loss "${loss}" has the shape [${emitter.shape(loss)}].`, {
      code: "train/loss-shape",
      mend: "A loss is one number: take the mean or the sum.",
    });
  const collected = new Map<string, string[]>([
    [loss, [emitter.expand(emitter.scalar(1, emitter.dtype(loss)), emitter.shape(loss))]],
  ]);
  const again = recompute ? { again: new Recompute(emitter, nodes) } : {};
  pass({ emitter, facts, loss, all: nodes, collected, ...again, wrt: new Set(wrt) }, nodes, moved);
  return new Map(wrt.map((name) => [name, total(emitter, collected, name) ?? unreached(name, loss)]));
}

/** Throws where an operator between what is moved and the loss has no gradient. */
function checkWay(nodes: readonly Node[], moved: ReadonlySet<string>, loss: string): void {
  const needed = new Set([loss]);
  for (const node of nodes.toReversed()) {
    const reads = [...readsOf(node)];
    if (!node.outputs.some((name) => needed.has(name)) || !reads.some((name) => moved.has(name))) continue;
    const rule = gradientOf(node);
    if (rule === undefined || "missing" in rule) throw noGradient(node, rule?.missing, nodes, loss);
    if (!("none" in rule)) for (const name of reads) needed.add(name);
  }
}

interface Sweep {
  readonly emitter: Emitter;
  readonly facts: Map<string, Fact>;
  readonly loss: string;
  /** All nodes of the forward pass, for messages. */
  readonly all: readonly Node[];
  /** The gradients each value was given so far. */
  readonly collected: Map<string, string[]>;
  readonly again?: Recompute;
  /** The values whose gradients are asked for. */
  readonly wrt: ReadonlySet<string>;
}

/** Sweeps some nodes from the last to the first. */
function pass(sweep: Sweep, nodes: readonly Node[], moved: ReadonlySet<string>): void {
  const { emitter, facts, loss, all, collected, again, wrt } = sweep;
  const give = (name: string, gradient: string) => {
    const found = collected.get(name);
    if (found === undefined) collected.set(name, [gradient]);
    else found.push(gradient);
  };
  for (const node of nodes.toReversed()) {
    const wanted = node.inputs.map((name) => moved.has(name));
    if (!wanted.includes(true) || !node.outputs.some((name) => collected.has(name))) continue;
    const rule = gradientOf(node);
    if (rule === undefined || "missing" in rule) throw noGradient(node, rule?.missing, all, loss);
    if ("none" in rule) continue;
    const dys = node.outputs.map((name) => total(emitter, collected, name));
    if ("as" in rule) {
      const before = new Set(emitter.edit.nodes());
      // An emitter of its own: a node shared with what was swept already would not be swept again.
      const own = new Emitter(emitter.edit, facts, emitter.opsets);
      own.portable = emitter.portable;
      const outputs = rule.as(new Backward(node, dys, wanted, own, facts));
      const made = [...emitter.edit.nodes()].filter((other) => !before.has(other));
      dys.forEach((gradient, i) => {
        if (gradient !== undefined) give(outputs[i] as string, gradient);
      });
      pass(sweep, made, dependents(made, moved));
      continue;
    }
    const seen = again?.seen(node, dys.find((dy) => dy !== undefined) as string) ?? node;
    const asked = node.inputs.map((name) => wrt.has(name));
    const g = new Backward(seen, dys, wanted, emitter, facts, asked);
    rule(g).forEach((gradient, i) => {
      const name = node.inputs[i];
      if (gradient === undefined || !name || !wanted[i]) return;
      checkShape(g, node, i, gradient);
      give(name, gradient);
    });
  }
}

/** The sum of all gradients a value was given, made once. */
function total(emitter: Emitter, collected: Map<string, string[]>, name: string): string | undefined {
  const parts = collected.get(name);
  if (parts === undefined) return undefined;
  const sum = emitter.total(parts);
  collected.set(name, [sum]);
  return sum;
}

/** Every value that moves when one of these does. A node whose rule says that nothing flows ends the way. */
export function dependents(nodes: readonly Node[], of: ReadonlySet<string>): ReadonlySet<string> {
  const moved = new Set(of);
  for (const node of nodes) {
    const rule = gradientOf(node);
    const ends = rule !== undefined && "none" in rule;
    if (ends || ![...readsOf(node)].some((name) => moved.has(name))) continue;
    for (const name of node.outputs) if (name !== "") moved.add(name);
  }
  return moved;
}

function checkShape(g: Backward, node: Node, input: number, gradient: string): void {
  const [own, given] = [g.shape(node.inputs[input] as string), g.shape(gradient)];
  if (own.length === given.length && own.every((size, i) => size === given[i])) return;
  throw new MinnowError(`The gradient of input ${input} has the shape [${given}], the input [${own}].`, {
    code: "train/gradient-shape",
    at: titleOf(node),
    mend: "This is a fault of the operator's gradient rule; please report it.",
  });
}

function noGradient(node: Node, why: string | undefined, nodes: readonly Node[], loss: string): MinnowError {
  const inside = subgraphs(node).length > 0 ? " It holds graphs of its own." : "";
  return new MinnowError(
    `It has no gradient${why ? `: ${why}` : ""}.${inside} It lies on the way to the loss: ${wayTo(node, nodes, loss)}.`,
    {
      code: "train/no-gradient",
      at: titleOf(node),
      mend: "Freeze the weights before it, or replace the operator by ones that have gradients.",
    },
  );
}

/** The nodes from one to the loss, the first few and the last. */
function wayTo(from: Node, nodes: readonly Node[], loss: string): string {
  const before = new Map<string, Node>();
  const reached = new Set(from.outputs);
  const way = new Map<Node, Node>();
  for (const name of from.outputs) before.set(name, from);
  for (const node of nodes) {
    const via = node.inputs.find((name) => reached.has(name) && before.has(name));
    if (node === from || via === undefined) continue;
    way.set(node, before.get(via) as Node);
    for (const name of node.outputs) {
      reached.add(name);
      before.set(name, node);
    }
  }
  const titles: string[] = [];
  for (let node = before.get(loss); node !== undefined; node = way.get(node)) titles.unshift(titleOf(node));
  const shown = titles.length > 5 ? [...titles.slice(0, 3), "…", titles.at(-1)] : titles;
  return [...shown, `"${loss}"`].join(" → ");
}

function unreached(name: string, loss: string): never {
  throw new MinnowError(`The loss "${loss}" does not depend on "${name}" in a way that has a gradient.`, {
    code: "train/unreached",
    mend: "Leave it out of what is trained, or check that it is a float value on the way to the loss, with no rounding or integer operator between.",
  });
}
