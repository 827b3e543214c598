import { mapSubgraphs, subgraphs } from "../ir/attrs.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Graph, Node } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { namesOf } from "../ir/walk.ts";

/** A graph while it is changed, and the one around it. */
export interface Scope {
  readonly graph: Graph;
  readonly edit: GraphEdit;
  readonly around: Scope | undefined;
}

/**
 * Visits every node of a graph and of the graphs inside it, each before those that read it; the visit edits through the
 * scope. Gives the changed graph, without the weights that nothing reads any more; no edits give the very same one.
 */
export async function visitScopes(graph: Graph, visit: (node: Node, scope: Scope) => Promise<void>): Promise<Graph> {
  const names = namesOf(graph);
  const within = async (graph: Graph, around: Scope | undefined): Promise<Graph> => {
    const scope: Scope = { graph, edit: edit(graph, names), around };
    for (const node of graph.nodes) {
      const inside = subgraphs(node);
      if (inside.length === 0) {
        await visit(node, scope);
        continue;
      }
      const visited = new Map<Graph, Graph>();
      for (const inner of inside) visited.set(inner.graph, await within(inner.graph, scope));
      const next = mapSubgraphs(node, (inner) => visited.get(inner) ?? inner);
      if (next !== node) scope.edit.change(node, { attrs: next.attrs });
    }
    if (scope.edit.done() !== graph)
      for (const name of graph.weights.keys()) if (isUnread(scope, name)) scope.edit.removeWeight(name);
    return scope.edit.done();
  };
  return within(graph, undefined);
}

const isUnread = ({ graph, edit }: Scope, name: string): boolean =>
  edit.readersOf(name).length === 0 && !edit.isOutput(name) && !graph.inputs.some((input) => input.name === name);

/** The innermost graph that defines a constant; undefined where the name is something else, or a caller may override it. */
export function ownerOf(scope: Scope, name: string): Scope | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.around) {
    const { graph } = at;
    if (graph.inputs.some((input) => input.name === name)) return undefined;
    if (graph.weights.has(name)) return at;
    if (graph.nodes.some((node) => node.outputs.includes(name))) return undefined;
  }
  return undefined;
}

/** The constant that a node in this scope reads under a name. */
export const constantIn = (scope: Scope, name: string): Tensor | undefined => ownerOf(scope, name)?.edit.constant(name);
