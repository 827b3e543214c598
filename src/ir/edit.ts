import { MinnowError } from "../errors.ts";
import { mapSubgraphs } from "./attrs.ts";
import type { Attrs, Graph, Node, ValueInfo } from "./graph.ts";
import type { Tensor } from "./tensor.ts";
import { namesOf, readsOf, titleOf } from "./walk.ts";

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
 * For a graph inside another, `names` are those taken anywhere in the model; fresh ones are added to it.
 *
 * @example
 * const e = edit(graph);
 * const [y] = e.add({ op: "Mul", inputs: [x, e.weight("scale", float32s([], [2]))] });
 * e.reroute(x, y);
 * return e.done();
 */
export function edit(graph: Graph, names?: Set<string>): GraphEdit {
  return new GraphEdit(graph, names);
}

/** Places of nodes that read or write a name. */
interface Index {
  readonly readers: Map<string, Set<number>>;
  readonly writer: Map<string, number>;
}

export class GraphEdit {
  readonly #graph: Graph;
  readonly #weights: Map<string, Tensor>;
  /** The graph's own nodes at their places, undefined once removed; after them those added. */
  readonly #nodes: (Node | undefined)[];
  /** Where a node that was put in the place of another belongs in the order. */
  readonly #instead = new Map<number, number>();
  readonly #at = new Map<Node, number>();
  readonly #renames = new Map<string, string>();
  #index: Index | undefined;
  #names: Set<string> | undefined;
  #inputs: readonly ValueInfo[];
  #outputs: readonly ValueInfo[];
  readonly #valueInfo: Map<string, ValueInfo>;
  #changed = false;

  constructor(graph: Graph, names?: Set<string>) {
    this.#graph = graph;
    this.#names = names;
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
    this.#put(this.#nodes.length, made);
    return [...made.outputs];
  }

  /** Takes a node out. Whoever reads its outputs has to be given something else. */
  remove(node: Node): void {
    this.#put(this.#place(node), undefined);
  }

  /** Puts nodes in the place of one; they may write the same names. */
  replace(node: Node, ...by: NewNode[]): string[][] {
    const place = this.#place(node);
    this.remove(node);
    return by.map((n) => {
      this.#instead.set(this.#nodes.length, this.#instead.get(place) ?? place);
      return this.add(n.name === undefined ? { ...n, name: this.fresh(node.name || n.op) } : n);
    });
  }

  /** Puts constants in the place of a node, under the names it wrote: one for every output that is not left out. */
  harden(node: Node, values: readonly Tensor[]): void {
    this.remove(node);
    node.outputs.forEach((name, i) => {
      const value = values[i];
      if (name !== "" && value !== undefined) this.#weights.set(name, value);
    });
  }

  /** Changes some fields of a node, as earlier edits left it, and keeps the rest. */
  change(node: Node, by: Partial<Pick<Node, "op" | "domain" | "inputs" | "outputs" | "name" | "attrs">>): Node {
    const place = this.#place(node);
    const next: Node = { ...this.#nodes[place]!, ...by };
    this.#put(place, next);
    return next;
  }

  /** The node as earlier edits of this session left it, or undefined once removed. */
  current(node: Node): Node | undefined {
    const place = this.#at.get(node);
    return place === undefined ? undefined : this.#nodes[place];
  }

  /** The graph's nodes as they are now, each asked for when its turn comes; those added meanwhile come last. */
  *nodes(): IterableIterator<Node> {
    for (let i = 0; i < this.#nodes.length; i++) {
      const node = this.#nodes[i];
      if (node !== undefined) yield node;
    }
  }

  /** The node that computes a name now. */
  writerOf(name: string): Node | undefined {
    const place = this.#uses().writer.get(name);
    return place === undefined ? undefined : this.#nodes[place];
  }

  /** The nodes that read a name now, each once; a read inside a node's subgraphs counts as the node's. */
  readersOf(name: string): Node[] {
    return [...(this.#uses().readers.get(name) ?? [])].map((i) => this.#nodes[i]!);
  }

  isOutput(name: string): boolean {
    return this.#outputs.some((o) => o.name === name);
  }

  /** The constant under a name now; undefined where a caller may override it. */
  constant(name: string): Tensor | undefined {
    const tensor = this.#weights.get(name);
    return tensor === undefined || this.#inputs.some((i) => i.name === name) ? undefined : tensor;
  }

  /**
   * Everything that reads `from` reads `to` instead, subgraphs included; of a graph output, the name stays and what
   * computes `to` is renamed to it. Nodes added by this edit keep reading the value they were given.
   * Returns false, having changed nothing, where that cannot be: `from` is a graph output and nothing in this graph
   * computes `to`, or `to` is an output as well.
   */
  reroute(from: string, to: string): boolean {
    to = this.#resolve(to);
    const own = (place: number) => place < this.#graph.nodes.length;
    if (!this.isOutput(from)) {
      this.#renameReads(from, to, own);
      this.#renames.set(from, to);
      return true;
    }
    const old = this.writerOf(from);
    if (!this.#mayBecomeOutput(to) || this.#inputs.some((i) => i.name === from)) return false;
    if (old !== undefined) {
      const kept = this.fresh(from);
      this.change(old, { outputs: old.outputs.map((o) => (o === from ? kept : o)) });
      this.#renameReads(from, kept, (place) => !own(place));
    }
    this.#renameValue(to, from);
    return true;
  }

  /**
   * Takes out a node whose one output always equals `to`: whoever read it reads `to`, added nodes included.
   * Returns false, having changed nothing, where the output is one of the graph and `to` cannot take its name.
   */
  bypass(node: Node, to: string): boolean {
    const from = node.outputs[0] ?? "";
    if (this.isOutput(from)) {
      if (!this.#mayBecomeOutput(to)) return false;
      this.remove(node);
      this.#renameValue(to, from);
    } else {
      this.remove(node);
      this.#renameReads(from, to, () => true);
      this.#renames.set(from, to);
    }
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
    const turn = (place: number) => this.#instead.get(place) ?? place;
    const places = [...this.#nodes.keys()].sort((a, b) => turn(a) - turn(b) || a - b);
    const nodes = inOrder(places.map((place) => this.#nodes[place]).filter((n) => n !== undefined));
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

  #uses(): Index {
    if (this.#index === undefined) {
      this.#index = { readers: new Map(), writer: new Map() };
      for (const [place, node] of this.#nodes.entries()) this.#note(place, node);
    }
    return this.#index;
  }

  #put(place: number, node: Node | undefined): void {
    const { readers, writer } = this.#uses();
    const old = this.#nodes[place];
    if (old !== undefined) {
      for (const name of readsOf(old)) readers.get(name)?.delete(place);
      for (const name of old.outputs) if (writer.get(name) === place) writer.delete(name);
    }
    this.#nodes[place] = node;
    if (node !== undefined) this.#at.set(node, place);
    this.#note(place, node);
    this.#changed = true;
  }

  #note(place: number, node: Node | undefined): void {
    if (node === undefined || this.#index === undefined) return;
    const { readers, writer } = this.#index;
    for (const name of readsOf(node)) {
      const places = readers.get(name);
      if (places === undefined) readers.set(name, new Set([place]));
      else places.add(place);
    }
    for (const name of node.outputs) if (name !== "") writer.set(name, place);
  }

  #mayBecomeOutput(name: string): boolean {
    return this.writerOf(name) !== undefined && !this.isOutput(name);
  }

  #renameReads(from: string, to: string, where: (place: number) => boolean): void {
    for (const place of [...(this.#uses().readers.get(from) ?? [])])
      if (where(place)) this.#put(place, renameReads(this.#nodes[place]!, from, to));
  }

  /** Another name for what computes a value and for all who read it. */
  #renameValue(from: string, to: string): void {
    const writer = this.writerOf(from);
    if (writer !== undefined) this.change(writer, { outputs: writer.outputs.map((o) => (o === from ? to : o)) });
    this.#renameReads(from, to, () => true);
    this.#renames.set(from, to);
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
