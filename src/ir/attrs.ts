import type { Attr, Graph, Node } from "./graph.ts";
import type { Tensor } from "./tensor.ts";

/** Makers of attributes: `{ axis: int(1), pads: ints([0, 0]) }`. */
export const int = (value: number | bigint): Attr => ({ type: "int", value });
export const ints = (value: readonly (number | bigint)[]): Attr => ({ type: "ints", value });
export const float = (value: number): Attr => ({ type: "float", value });
export const floats = (value: readonly number[]): Attr => ({ type: "floats", value });
export const string = (value: string): Attr => ({ type: "string", value: new TextEncoder().encode(value) });
export const tensor = (value: Tensor): Attr => ({ type: "tensor", value });
export const subgraph = (value: Graph): Attr => ({ type: "graph", value });

/** Readers of attributes; the fallback stands for one that is absent or of another type. 64-bit ends are clamped to doubles. */
export function intAttr(node: Node, name: string, fallback: number): number;
export function intAttr(node: Node, name: string): number | undefined;
export function intAttr(node: Node, name: string, fallback?: number): number | undefined {
  const attr = node.attrs[name];
  return attr?.type === "int" ? Number(attr.value) : fallback;
}

export function floatAttr(node: Node, name: string, fallback: number): number;
export function floatAttr(node: Node, name: string): number | undefined;
export function floatAttr(node: Node, name: string, fallback?: number): number | undefined {
  const attr = node.attrs[name];
  return attr?.type === "float" ? attr.value : fallback;
}

export function stringAttr(node: Node, name: string, fallback: string): string;
export function stringAttr(node: Node, name: string): string | undefined;
export function stringAttr(node: Node, name: string, fallback?: string): string | undefined {
  const attr = node.attrs[name];
  return attr?.type === "string" ? new TextDecoder().decode(attr.value) : fallback;
}

export function intsAttr(node: Node, name: string): number[] | undefined {
  const attr = node.attrs[name];
  return attr?.type === "ints" ? attr.value.map(Number) : undefined;
}

export function floatsAttr(node: Node, name: string): readonly number[] | undefined {
  const attr = node.attrs[name];
  return attr?.type === "floats" ? attr.value : undefined;
}

export function tensorAttr(node: Node, name: string): Tensor | undefined {
  const attr = node.attrs[name];
  return attr?.type === "tensor" ? attr.value : undefined;
}

/** The graphs a node carries (If, Loop, Scan), with the attribute each stands in. */
export function subgraphs(node: Node): { attr: string; graph: Graph }[] {
  const out: { attr: string; graph: Graph }[] = [];
  for (const [attr, a] of Object.entries(node.attrs)) {
    if (a.type === "graph") out.push({ attr, graph: a.value });
    else if (a.type === "graphs") for (const graph of a.value) out.push({ attr, graph });
  }
  return out;
}

/** The node with every graph it carries replaced by `change` of it; the same node when none changed. */
export function mapSubgraphs(node: Node, change: (graph: Graph) => Graph): Node {
  let changed = false;
  const attrs: Record<string, Attr> = {};
  const apply = (graph: Graph): Graph => {
    const next = change(graph);
    if (next !== graph) changed = true;
    return next;
  };
  for (const [name, a] of Object.entries(node.attrs)) {
    if (a.type === "graph") attrs[name] = { ...a, value: apply(a.value) };
    else if (a.type === "graphs") attrs[name] = { ...a, value: a.value.map(apply) };
    else attrs[name] = a;
  }
  return changed ? { ...node, attrs } : node;
}
