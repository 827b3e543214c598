import { MinnowError } from "../errors.ts";
import { floatAttr, intAttr, intsAttr, stringAttr } from "../ir/attrs.ts";
import { type Dim, isKnown, normal, UNKNOWN } from "../ir/dim.ts";
import type { Graph, Model, Node, ValueInfo } from "../ir/graph.ts";
import { titleOf } from "../ir/walk.ts";
import type { Applied, Fact, OpRule } from "./define.ts";
import { factOf } from "./facts.ts";
import { ruleOf } from "./index.ts";

/** Facts by value name, of a graph and of every graph inside it. */
export type Facts = ReadonlyMap<string, Fact>;

const known = new WeakMap<Model, Facts>();

/**
 * The type of every value of a model, and the numbers of its small integer tensors, without running anything.
 * Sizes stay symbolic where the inputs are. Values behind an operator without a rule, or in a form older than its rule,
 * take what the file declares of them.
 * Computed once per model. Throws a MinnowError `shape/…` at the first node whose inputs cannot go together.
 */
export function inferModel(model: Model): Facts {
  let facts = known.get(model);
  if (facts === undefined) {
    const all = new Map<string, Fact>();
    inferGraph(model.graph, model.opsets, all, model.graph.inputs.map(declared));
    facts = all;
    known.set(model, facts);
  }
  return facts;
}

/** What a declaration says of a value; an unknown size gets a name of its own, so that it stays one size throughout. */
export function declared(info: ValueInfo): Fact | undefined {
  if (info.type?.kind !== "tensor") return undefined;
  const { dtype, shape } = info.type;
  if (shape === undefined) return { dtype };
  const own = (axis: number): Dim => `${identifier(info.name)}[${axis}]`;
  return {
    dtype,
    shape: shape.map((dim, axis) => {
      const size = normal(dim);
      // Some exporters write "-1" for a size they do not know.
      return size === UNKNOWN || (isKnown(size) && size < 0) ? own(axis) : size;
    }),
  };
}

const identifier = (name: string): string => name.replace(/[^\w.]/g, "_").replace(/^(?=\d)|^$/, "_");

function inferGraph(
  graph: Graph,
  opsets: ReadonlyMap<string, number>,
  facts: Map<string, Fact>,
  inputs: readonly (Fact | undefined)[],
  nesting = 0,
): (Fact | undefined)[] {
  graph.inputs.forEach((info, i) => {
    know(facts, info.name, inputs[i] ?? declared(info));
  });
  const overridable = new Set(graph.inputs.map((i) => i.name));
  for (const [name, { shape, values }] of graph.sparseWeights ?? []) facts.set(name, { dtype: values.dtype, shape });
  for (const [name, tensor] of graph.weights) {
    const { dtype, shape } = tensor;
    facts.set(name, overridable.has(name) ? { dtype, shape } : factOf(tensor));
  }
  for (const node of graph.nodes) inferNode(node, opsets, facts, graph, nesting);
  return graph.outputs.map((o) => facts.get(o.name));
}

/** Adds what is known of a node's outputs to `facts`, from what they say of its inputs and `graph` declares. */
export function inferNode(
  node: Node,
  opsets: ReadonlyMap<string, number>,
  facts: Map<string, Fact>,
  graph: Pick<Graph, "valueInfo" | "outputs">,
  nesting = 0,
): void {
  const found = ruleOf(node);
  // A form older than the rule is written for says as little as an operator without one.
  const rule = found !== undefined && opsetOf(node, opsets) >= found.since ? found : undefined;
  const results = rule === undefined ? [] : rule.infer(applied(node, opsets, facts, nesting));
  node.outputs.forEach((name, i) => {
    if (name === "") return;
    const info = graph.valueInfo.get(name) ?? graph.outputs.find((o) => o.name === name);
    const merged = merge(results[i], info === undefined ? undefined : declared(info), rule, node);
    know(facts, name, merged);
  });
}

/** Notes what is known of a value; what another round or branch said under its name holds no longer. */
function know(facts: Map<string, Fact>, name: string, found: Fact | undefined): void {
  if (found === undefined) facts.delete(name);
  else facts.set(name, found);
}

/** The inferred fact, sizes nobody could infer taken from the declaration. */
function merge(
  inferred: Fact | undefined,
  said: Fact | undefined,
  rule: OpRule | undefined,
  node: Node,
): Fact | undefined {
  if (inferred === undefined) return said;
  if (said?.shape === undefined || inferred.shape?.length === 0) return inferred;
  if (inferred.shape === undefined) return { ...inferred, shape: said.shape };
  if (inferred.shape.length !== said.shape.length)
    throw new MinnowError(`its output has the shape [${inferred.shape}]; the file declares [${said.shape}] for it.`, {
      code: "shape/declared",
      at: titleOf(node),
      mend: `Remove the declaration, or check the inputs of ${rule?.name}.`,
    });
  const shape = inferred.shape.map((dim, i) => (dim === UNKNOWN ? (said.shape?.[i] as Dim) : dim));
  return { ...inferred, shape };
}

/** The version of the node's domain; 1 where the model does not import it. */
const opsetOf = (node: Node, opsets: ReadonlyMap<string, number>): number =>
  opsets.get(node.domain === "ai.onnx" ? "" : node.domain) ?? 1;

/** The application of an operator to what is known of its inputs. */
export function applied(
  node: Node,
  opsets: ReadonlyMap<string, number>,
  facts: ReadonlyMap<string, Fact>,
  nesting = 0,
): Applied {
  return {
    node,
    opset: opsetOf(node, opsets),
    inputs: node.inputs.map((name) => (name === "" ? undefined : facts.get(name))),
    outputs: node.outputs.length,
    nesting,
    int: (name, fallback) => intAttr(node, name, fallback),
    float: (name, fallback) => floatAttr(node, name, fallback),
    string: (name, fallback) => stringAttr(node, name, fallback),
    ints: (name) => intsAttr(node, name),
    has: (name) => node.attrs[name] !== undefined,
    graph: (graph, inputs) => inferGraph(graph, opsets, facts as Map<string, Fact>, inputs, nesting + 1),
    fail: (what, mend) => {
      throw new MinnowError(what, { code: "shape/mismatch", at: titleOf(node), mend });
    },
  };
}
