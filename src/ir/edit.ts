import { MinnowError } from "../errors.ts";
import { mapSubgraphs } from "./attrs.ts";
import type { Attrs, Graph, Node, ValueInfo } from "./graph.ts";
import type { Tensor } from "./tensor.ts";
import { namesOf, readsOf, titleOf, usesOf } from "./walk.ts";

/** What a new node is made of; names that are left out are made up from `near`. */
export interface NewNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly domain?: string;
  readonly attrs?: Attrs;
  /** Output names to write, or how many fresh ones to make (1). */
  readonly outputs?: readonly string[] | number;
  readonly name?: string;
}

/**
 * Builds a changed graph: collects edits, then {@link GraphEdit.done} gives a new graph in topological order.
 * Untouched nodes and tensors are shared with the old one, which stays as it was. No edits give the very same graph.
 *
 * @example
 * const e = edit(graph);
 * const [y] = e.add({ op: "Mul", inputs: [x, e.weight("scale", float32s([], [2]))] });
 * e.reroute(x, y, { except: "added" });
 * return e.done();
 */
export function edit(graph: Graph): GraphEdit {
  return new GraphEdit(graph);
}

export class GraphEdit {
  readonly #graph: Graph;
  readonly #weights: Map<string, Tensor>;
  #nodes: (Node | undefined)[];
  readonly #added: Node[] = [];
  readonly #at = new Map<Node, number>();
  readonly #renames = new Map<string, string>();
  #names: Set<string> | undefined;
  #inputs: readonly ValueInfo[];
  #outputs: readonly ValueInfo[];
  readonly #valueInfo: Map<string, ValueInfo>;
  #changed = false;

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#weights = new Map(graph.weights);
    this.#nodes = [...graph.nodes];
    this.#inputs = graph.inputs;
    this.#outputs = graph.outputs;
    this.#valueInfo = new Map(graph.valueInfo);
    for (const [i, node] of graph.nodes.entries()) this.#at.set(node, i);
  }

  /** A name nothing has yet: `base`, else `base_1`, `base_2` … */
  fresh(base: string): string {
    this.#names ??= namesOf(this.#graph);
    let name = base;
    for (let i = 1; name === "" || this.#names.has(name); i++) name = `${base}_${i}`;
    this.#names.add(name);
    return name;
  }

  /** Adds a constant under a fresh name near `base` and returns the name. */
  weight(base: string, tensor: Tensor): string {
    const name = this.fresh(base);
    this.#weights.set(name, tensor);
    this.#changed = true;
    return name;
  }

  /** Puts another tensor under a name that is a weight already. */
  setWeight(name: string, tensor: Tensor): void {
    if (!this.#weights.has(name)) throw new MinnowError(`There is no weight "${name}".`, { code: "ir/no-weight" });
    this.#weights.set(name, tensor);
    this.#valueInfo.delete(name);
    this.#changed = true;
  }

  removeWeight(name: string): void {
    if (this.#weights.delete(name)) this.#changed = true;
  }

  /** Adds a node; its place follows from what it reads. Returns the names of its outputs. */
  add(node: NewNode): string[] {
    const made = this.#make(node);
    this.#added.push(made);
    this.#changed = true;
    return [...made.outputs];
  }

  /** Takes a node out. Whoever reads its outputs has to be given something else. */
  remove(node: Node): void {
    this.#nodes[this.#place(node)] = undefined;
    this.#changed = true;
  }

  /** Puts nodes in the place of one; they may write the same names. */
  replace(node: Node, ...by: NewNode[]): string[][] {
    this.remove(node);
    return by.map((n) => this.add(n.name === undefined ? { ...n, name: this.fresh(node.name || n.op) } : n));
  }

  /** Changes attributes, inputs or the operator of one node and keeps the rest; `undefined` attributes are dropped. */
  change(node: Node, by: Partial<Pick<Node, "op" | "domain" | "inputs" | "outputs" | "name" | "attrs">>): Node {
    const place = this.#place(node);
    const next: Node = { ...node, ...by };
    this.#nodes[place] = next;
    this.#at.set(next, place);
    this.#changed = true;
    return next;
  }

  /** The node as earlier edits of this session left it, or undefined once removed. */
  current(node: Node): Node | undefined {
    const place = this.#at.get(node);
    return place === undefined ? undefined : this.#nodes[place];
  }

  /**
   * Everything that reads `from` reads `to` instead, subgraphs included; of a graph output, the name stays and what
   * computes `to` is renamed to it. Nodes added by this edit keep what they were given.
   * Returns false, having changed nothing, where that cannot be: `from` is a graph output and `to` is an input, a weight or an output.
   */
  reroute(from: string, to: string): boolean {
    const uses = usesOf(this.#graph);
    to = this.#resolve(to);
    const isOutput = this.#outputs.some((o) => o.name === from);
    if (isOutput) {
      const fixed =
        this.#weights.has(to) || this.#inputs.some((i) => i.name === to) || this.#outputs.some((o) => o.name === to);
      const writer =
        this.#nodes.find((n) => n?.outputs.includes(to)) ?? this.#added.find((n) => n.outputs.includes(to));
      if (fixed || writer === undefined) return false;
      this.#renameWrite(writer, to, from);
      for (const reader of uses.readers.get(to) ?? []) this.#renameRead(reader, to, from);
      for (let i = 0; i < this.#added.length; i++) this.#added[i] = renameReads(this.#added[i]!, to, from);
      this.#renames.set(to, from);
    } else {
      for (let i = 0; i < this.#nodes.length; i++) {
        const node = this.#nodes[i];
        if (node !== undefined && readsOf(node).has(from)) this.#renameRead(node, from, to);
      }
      this.#renames.set(from, to);
    }
    this.#changed = true;
    return true;
  }

  /** Replaces the list of inputs or outputs. */
  setInputs(inputs: readonly ValueInfo[]): void {
    this.#inputs = inputs;
    this.#changed = true;
  }

  setOutputs(outputs: readonly ValueInfo[]): void {
    this.#outputs = outputs;
    this.#changed = true;
  }

  /** The new graph. Weights that only removed nodes read stay: dead code is a pass of its own. */
  done(): Graph {
    if (!this.#changed) return this.#graph;
    const nodes = inOrder([...this.#nodes.filter((n): n is Node => n !== undefined), ...this.#added]);
    const live = new Set(nodes.flatMap((n) => n.outputs));
    const valueInfo = new Map([...this.#valueInfo].filter(([name]) => live.has(name)));
    return { ...this.#graph, inputs: this.#inputs, outputs: this.#outputs, weights: this.#weights, nodes, valueInfo };
  }

  #resolve(name: string): string {
    for (let hops = 0; this.#renames.has(name) && hops < 10_000; hops++) name = this.#renames.get(name) ?? name;
    return name;
  }

  #place(node: Node): number {
    const place = this.#at.get(node);
    if (place === undefined || this.#nodes[place] === undefined)
      throw new MinnowError(`${titleOf(node)} is not in the graph that is being edited.`, { code: "ir/no-node" });
    return place;
  }

  #make({ op, inputs, domain = "", attrs = {}, outputs = 1, name }: NewNode): Node {
    const base = name ?? `${inputs.find((i) => i !== "") ?? ""}_${op}`;
    const names =
      typeof outputs === "number" ? Array.from({ length: outputs }, () => this.fresh(`${base}_out`)) : [...outputs];
    return { name: name ?? this.fresh(base), op, domain, inputs: [...inputs], outputs: names, attrs };
  }

  #renameRead(node: Node, from: string, to: string): void {
    const now = this.current(node);
    if (now === undefined) return;
    this.change(now, renameReads(now, from, to));
  }

  #renameWrite(node: Node, from: string, to: string): void {
    const outputs = node.outputs.map((o) => (o === from ? to : o));
    const added = this.#added.indexOf(node);
    if (added >= 0) this.#added[added] = { ...node, outputs };
    else this.change(node, { outputs });
    // What wrote `to` before must be removed by the caller; give it a name of its own meanwhile.
    const old = this.#nodes.find((n) => n !== undefined && n.outputs.includes(to) && !(n.outputs === outputs));
    if (old !== undefined) this.change(old, { outputs: old.outputs.map((o) => (o === to ? this.fresh(to) : o)) });
  }
}

/** The node with one name it reads replaced, inside its subgraphs too. */
export function renameReads(node: Node, from: string, to: string): Node {
  const inner = mapSubgraphs(node, (graph) => renameInGraph(graph, from, to));
  return inner.inputs.includes(from) ? { ...inner, inputs: inner.inputs.map((i) => (i === from ? to : i)) } : inner;
}

function renameInGraph(graph: Graph, from: string, to: string): Graph {
  if (graph.inputs.some((i) => i.name === from) || graph.weights.has(from)) return graph;
  const nodes = graph.nodes.map((n) => renameReads(n, from, to));
  const outputs = graph.outputs.map((o) => (o.name === from ? { ...o, name: to } : o));
  const same = nodes.every((n, i) => n === graph.nodes[i]) && outputs.every((o, i) => o === graph.outputs[i]);
  return same ? graph : { ...graph, nodes, outputs };
}

/** Topological order that keeps the given order wherever it may; a cycle is an error that names one of its nodes. */
export function inOrder(nodes: readonly Node[]): Node[] {
  const writer = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const name of node.outputs) if (name !== "") writer.set(name, i);
  });
  const out: Node[] = [];
  const state = new Uint8Array(nodes.length);
  const reads = nodes.map((node) => [...readsOf(node)].map((n) => writer.get(n)).filter((i) => i !== undefined));
  for (let root = 0; root < nodes.length; root++) {
    const stack: { at: number; next: number }[] = [{ at: root, next: 0 }];
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      if (state[top.at] === 2) {
        stack.pop();
        continue;
      }
      state[top.at] = 1;
      const needed = reads[top.at]![top.next++];
      if (needed === undefined) {
        state[top.at] = 2;
        out.push(nodes[top.at]!);
        stack.pop();
      } else if (state[needed] === 1) {
        throw new MinnowError("The node reads, through others, what it writes itself.", {
          code: "graph/cycle",
          at: titleOf(nodes[needed]!),
          mend: "A graph must have no cycles; export the model again.",
        });
      } else if (state[needed] === 0) stack.push({ at: needed, next: 0 });
    }
  }
  return out;
}
