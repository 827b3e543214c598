import { mapSubgraphs, subgraphs } from "../ir/attrs.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Graph, Model, Node } from "../ir/graph.ts";
import { elements, type Tensor } from "../ir/tensor.ts";
import { namesOf, titleOf } from "../ir/walk.ts";
import type { Fact } from "../ops/define.ts";
import { inferModel } from "../ops/infer.ts";
import { type Change, merged, type Pass } from "./pass.ts";

/** One graph of a model while a pass changes it: the model's own, or one inside a node. */
export interface Site {
  readonly graph: Graph;
  readonly edit: GraphEdit;
  readonly model: Model;
  /** Whether the graph stands inside a node. */
  readonly inner: boolean;
  /** What was known of a value when the pass began; undefined for what was added since. */
  fact(name: string): Fact | undefined;
  /** The constant under a name, of this graph or one around it. */
  constant(name: string): Tensor | undefined;
  /** Notes a change: a sentence, the same for all changes of its kind, and the node it is about. */
  note(what: string, at: Node | string): void;
}

/** What a pass may be told that looks at what constants hold. */
export interface ConstantOptions {
  /** Whether float32 weights of more than one element are no constants to it: training changes them. Default false. */
  readonly keepWeights?: boolean;
}

/** A pass made of what it does to one graph; it is done to every graph of the model, outer ones first. */
export function rewriting(
  name: string,
  rewrite: (site: Site) => void | Promise<void>,
  options: ConstantOptions = {},
): Pass {
  const isConstant = ({ dtype, shape }: Tensor): boolean =>
    options.keepWeights !== true || dtype !== "float32" || elements(shape) < 2;
  return {
    name,
    options: { ...options },
    async run(model) {
      const changes: Change[] = [];
      const nested = model.graph.nodes.some((node) => subgraphs(node).length > 0);
      const names = nested ? namesOf(model.graph) : undefined;
      const unclear = nested ? repeatedNames(model.graph) : new Set<string>();
      const visit = async (graph: Graph, around: Site["constant"], inner: boolean): Promise<Graph> => {
        const e = edit(graph, names);
        const constant = (of: string) => {
          const found = e.constant(of) ?? around(of);
          return found !== undefined && isConstant(found) ? found : undefined;
        };
        await rewrite({
          graph,
          edit: e,
          model,
          inner,
          constant,
          fact: (of) => (unclear.has(of) ? undefined : inferModel(model).get(of)),
          note: (what, at) => changes.push({ what, at: typeof at === "string" ? at : titleOf(at) }),
        });
        const next = e.done();
        return nested ? visitInner(next, names, (inside) => visit(inside, constant, true)) : next;
      };
      const graph = await visit(model.graph, () => undefined, false);
      return { model: graph === model.graph ? model : { ...model, graph }, changes: merged(changes) };
    },
  };
}

async function visitInner(
  graph: Graph,
  names: Set<string> | undefined,
  visit: (graph: Graph) => Promise<Graph>,
): Promise<Graph> {
  const e = edit(graph, names);
  for (const node of graph.nodes) {
    const inside = subgraphs(node);
    if (inside.length === 0) continue;
    const visited = new Map<Graph, Graph>();
    for (const { graph: one } of inside) visited.set(one, await visit(one));
    const next = mapSubgraphs(node, (one) => visited.get(one) ?? one);
    if (next !== node) e.change(node, { attrs: next.attrs });
  }
  return e.done();
}

/** Names that more than one graph of the model defines: what is known of one is not true of the other. */
function repeatedNames(graph: Graph, seen = new Set<string>(), repeated = new Set<string>()): Set<string> {
  const define = (name: string) => (seen.has(name) ? repeated : seen).add(name);
  const own = new Set([...graph.inputs.map((i) => i.name), ...graph.weights.keys()]);
  for (const name of own) define(name);
  for (const node of graph.nodes) {
    for (const { graph: inner } of subgraphs(node)) repeatedNames(inner, seen, repeated);
    for (const name of node.outputs) if (name !== "") define(name);
  }
  return repeated;
}
