import { subgraphs } from "./attrs.ts";
import type { Graph, Node } from "./graph.ts";

/** Who writes and who reads each name of a graph. */
export interface Uses {
  /** The node that computes a name; inputs and weights have none. */
  readonly writer: ReadonlyMap<string, Node>;
  /** The nodes that read a name, each once, in graph order; a read inside a node's subgraphs counts as the node's. */
  readonly readers: ReadonlyMap<string, readonly Node[]>;
  readonly outputs: ReadonlySet<string>;
}

const known = new WeakMap<Graph, Uses>();

/** The uses of a graph's names, computed once per graph. */
export function usesOf(graph: Graph): Uses {
  let uses = known.get(graph);
  if (uses === undefined) {
    const writer = new Map<string, Node>();
    const readers = new Map<string, Node[]>();
    for (const node of graph.nodes) {
      for (const name of node.outputs) if (name !== "") writer.set(name, node);
      for (const name of readsOf(node)) {
        const list = readers.get(name);
        if (list === undefined) readers.set(name, [node]);
        else list.push(node);
      }
    }
    uses = { writer, readers, outputs: new Set(graph.outputs.map((o) => o.name)) };
    known.set(graph, uses);
  }
  return uses;
}

/** Every name the node reads: its inputs, and what its subgraphs take from outside. */
export function readsOf(node: Node): Set<string> {
  const reads = new Set<string>();
  for (const name of node.inputs) if (name !== "") reads.add(name);
  for (const { graph } of subgraphs(node)) for (const name of capturedBy(graph)) reads.add(name);
  return reads;
}

/** The names a graph reads without defining them. */
export function capturedBy(graph: Graph): Set<string> {
  const defined = new Set<string>([...graph.inputs.map((i) => i.name), ...graph.weights.keys()]);
  for (const name of graph.sparseWeights?.keys() ?? []) defined.add(name);
  for (const node of graph.nodes) for (const name of node.outputs) defined.add(name);
  const captured = new Set<string>();
  for (const node of graph.nodes) for (const name of readsOf(node)) if (!defined.has(name)) captured.add(name);
  for (const { name } of graph.outputs) if (!defined.has(name)) captured.add(name);
  return captured;
}

/** Every name that stands anywhere in the graph, subgraphs included. */
export function namesOf(graph: Graph, into = new Set<string>()): Set<string> {
  for (const { name } of [...graph.inputs, ...graph.outputs]) into.add(name);
  for (const name of graph.weights.keys()) into.add(name);
  for (const name of graph.sparseWeights?.keys() ?? []) into.add(name);
  for (const node of graph.nodes) {
    for (const name of node.inputs) into.add(name);
    for (const name of node.outputs) into.add(name);
    for (const { graph: inner } of subgraphs(node)) namesOf(inner, into);
  }
  return into;
}

/** How a node is called in messages: `Concat "cat_3"`. */
export const titleOf = (node: Node): string => `${node.op} "${node.name || node.outputs[0] || "?"}"`;
