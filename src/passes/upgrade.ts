import { MinnowError } from "../errors.ts";
import { mapSubgraphs, tensor as tensorOfAttr } from "../ir/attrs.ts";
import { edit, type GraphEdit, type NewNode } from "../ir/edit.ts";
import type { FunctionDef, Graph, Model, Node, ValueInfo } from "../ir/graph.ts";
import { int64s, type Tensor, tensorFrom } from "../ir/tensor.ts";
import { namesOf, titleOf } from "../ir/walk.ts";
import type { Fact } from "../ops/define.ts";
import { factOf } from "../ops/facts.ts";
import { declared, inferNode } from "../ops/infer.ts";
import type { Change, Pass, PassResult } from "./pass.ts";
import { inputs } from "./upgrade/inputs.ts";
import type { Lifting, OldNode } from "./upgrade/lifting.ts";
import { norms } from "./upgrade/norms.ts";
import { resizes } from "./upgrade/resize.ts";
import { softmaxes } from "./upgrade/softmax.ts";
import { words } from "./upgrade/words.ts";
import { withoutWeightInputs } from "./weight-inputs.ts";

/** Every operator whose form changed between opset 7 and 25 in a way that old nodes must be rewritten for. */
const LIFTINGS: ReadonlyMap<string, Lifting> = new Map(
  [...inputs, ...norms, ...resizes, ...softmaxes, ...words].map((lifting) => [lifting.op, lifting]),
);

/** The oldest and the newest opset of ai.onnx this can read and reach, and the one Minnow's rules are written for. */
const OLDEST = 7;
const NEWEST = 26;
const MODERN = 18;

export interface UpgradeOptions {
  /** The opset of ai.onnx to reach, {@link MODERN} to {@link NEWEST}; default 18. A model that is there already stays as it is. */
  readonly to?: number;
}

/**
 * Lifts a model to the operators' forms of opset 18 (or `to`), subgraphs and functions included; outputs stay the same.
 * Throws a MinnowError `opset/…` for models older than opset 7 and for the few forms that no newer one can express.
 * Source: ONNX's operator changelog, and ONNX Runtime where that leaves something open.
 */
export function upgrade(options: UpgradeOptions = {}): Pass {
  const { to = MODERN } = options;
  if (!Number.isInteger(to) || to < MODERN || to > NEWEST)
    throw new MinnowError(`The opset to reach is ${to}; it can be ${MODERN} to ${NEWEST}.`, {
      code: "opset/target",
      mend: `Leave it out for ${MODERN}.`,
    });
  return {
    name: "upgrade",
    options: options.to === undefined ? {} : { to },
    run: async (model) => lifted(model, to),
  };
}

function lifted(model: Model, to: number): PassResult {
  const from = model.opsets.get("");
  const behind = model.functions.filter((f) => (f.opsets.get("") ?? to) < to);
  if ((from === undefined || from >= to) && behind.length === 0) return { model, changes: [] };
  if (from !== undefined && from < OLDEST) tooOld(from);
  const log = new Map<Lifting, { count: number; first: Node }>();
  let { graph } = model;
  if (from !== undefined && from < to) {
    const base = model.irVersion < 4 ? withoutWeightInputs(graph) : graph;
    graph = liftedGraph(base, { from, opsets: raised(model.opsets, to), names: namesOf(base), log }, new Map());
  }
  const functions = model.functions.map((f) => (behind.includes(f) ? liftedFunction(f, to, log) : f));
  const changes: Change[] = [...log].map(([lifting, { count, first }]) => ({
    what: `Rewrote ${count === 1 ? "a" : count} ${lifting.op}: ${lifting.why}.`,
    at: titleOf(first),
  }));
  const opsets = from === undefined ? model.opsets : raised(model.opsets, to);
  const irVersion = Math.max(model.irVersion, irVersionFor(to));
  if (from !== undefined && from < to)
    changes.unshift({ what: `Lifted the model from opset ${from} to ${to}.`, at: "model" });
  return { model: { ...model, graph, functions, opsets, irVersion }, changes };
}

const raised = (opsets: ReadonlyMap<string, number>, to: number) =>
  new Map([...opsets].map(([domain, version]) => [domain, domain === "" ? Math.max(version, to) : version]));

/** The IR version ONNX released with an opset; see its VERSIONS page. */
const irVersionFor = (opset: number): number =>
  opset >= 26 ? 13 : opset >= 25 ? 12 : opset >= 23 ? 11 : opset >= 21 ? 10 : opset >= 19 ? 9 : 8;

/** A function has no place for constants but Constant nodes. */
function liftedFunction(f: FunctionDef, to: number, log: Log): FunctionDef {
  const from = f.opsets.get("") ?? to;
  const opsets = raised(f.opsets, to);
  const named = (name: string): ValueInfo => ({ name });
  const { nodes, valueInfo } = f;
  const whole: Graph = {
    name: f.name,
    inputs: f.inputs.map(named),
    outputs: f.outputs.map(named),
    weights: new Map(),
    nodes,
    valueInfo,
  };
  const graph = liftedGraph(whole, { from, opsets, names: namesOf(whole), log }, new Map());
  const constants = [...graph.weights].map(
    ([name, value]): Node => ({
      name,
      op: "Constant",
      domain: "",
      inputs: [],
      outputs: [name],
      attrs: { value: tensorOfAttr(value) },
    }),
  );
  return { ...f, nodes: [...constants, ...graph.nodes], valueInfo: graph.valueInfo, opsets };
}

type Log = Map<Lifting, { count: number; first: Node }>;

/** What lifting carries through a model. */
interface Way {
  readonly from: number;
  readonly opsets: ReadonlyMap<string, number>;
  readonly names: Set<string>;
  readonly log: Log;
}

/** Lifts a graph node by node in order, so that each sees what is known of its inputs in the new forms. */
function liftedGraph(graph: Graph, way: Way, around: ReadonlyMap<string, Fact>): Graph {
  const facts = new Map(around);
  for (const info of graph.inputs) {
    const fact = declared(info);
    if (fact !== undefined) facts.set(info.name, fact);
  }
  const given = new Set(graph.inputs.map((info) => info.name));
  for (const [name, tensor] of graph.weights) if (!given.has(name)) facts.set(name, factOf(tensor));
  const e = edit(graph, way.names);
  for (const node of graph.nodes) {
    const whole = mapSubgraphs(node, (inner) => liftedGraph(inner, way, facts));
    const now = whole === node ? node : e.change(node, { attrs: whole.attrs });
    for (const made of liftedNode(now, way, e, facts)) infer(made, way, facts, graph);
  }
  return e.done();
}

function liftedNode(node: Node, way: Way, e: GraphEdit, facts: Map<string, Fact>): readonly Node[] {
  const lifting = node.domain === "" ? LIFTINGS.get(node.op) : undefined;
  const to = way.opsets.get("") ?? 0;
  if (lifting === undefined || way.from >= lifting.before || to < lifting.before) return [node];
  const extra: NewNode[] = [];
  const made = lifting.lift(oldNode(node, way.from, e, facts, extra));
  if (extra.length === 0 && made.length === 1 && sameForm(node, made[0]!)) return [node];
  const seen = way.log.get(lifting);
  if (seen === undefined) way.log.set(lifting, { count: 1, first: node });
  else seen.count++;
  const all = [...extra, ...made];
  if (all.length === 1) return [e.change(node, asFields(made[0]!))];
  const before = all.slice(0, -1).map((n) => ({ ...n, name: e.fresh(`${node.name || node.op}.${n.op}`) }));
  e.replace(node, ...before, { ...all.at(-1)!, name: node.name });
  return all.map((n) => ({ name: node.name, ...asFields(n) }));
}

function sameForm(node: Node, { op, inputs, attrs = {} }: NewNode): boolean {
  const names = Object.keys(attrs);
  return (
    op === node.op &&
    inputs.join("\n") === node.inputs.join("\n") &&
    names.length === Object.keys(node.attrs).length &&
    names.every((name) => attrs[name] === node.attrs[name])
  );
}

/** Few liftings need to know shapes, so a node that does not fit together is left to those who do. */
function infer(node: Node, way: Way, facts: Map<string, Fact>, graph: Graph): void {
  try {
    inferNode(node, way.opsets, facts, graph);
  } catch (error) {
    if (!(error instanceof MinnowError)) throw error;
  }
}

const asFields = ({ op, inputs, domain = "", attrs = {}, outputs = [] }: NewNode) => ({
  op,
  domain,
  inputs,
  attrs,
  outputs: outputs as readonly string[],
});

function oldNode(node: Node, from: number, e: GraphEdit, facts: Map<string, Fact>, extra: NewNode[]): OldNode {
  const near = (what: string) => `${node.name || node.outputs[0] || node.op}.${what}`;
  const constant = (what: string, value: Tensor): string => {
    const name = e.weight(near(what), value);
    facts.set(name, factOf(value));
    return name;
  };
  return {
    node,
    from,
    constant,
    fact: (input) => facts.get(node.inputs[input] ?? ""),
    used: (output) => {
      const name = node.outputs[output] ?? "";
      return name !== "" && (e.isOutput(name) || e.readersOf(name).length > 0);
    },
    fresh: (what) => e.fresh(near(what)),
    asInput(attribute) {
      const attr = node.attrs[attribute];
      if (attr?.type === "ints") return constant(attribute, int64s(attr.value));
      if (attr?.type === "int") return constant(attribute, tensorFrom("int64", [1], [attr.value]));
      if (attr?.type !== "ref") return "";
      const name = e.fresh(near(attribute));
      extra.push({ op: "Constant", inputs: [], attrs: { value_ints: attr }, outputs: [name] });
      return name;
    },
    refuse(what, mend) {
      throw new MinnowError(what, { code: "opset/unsupported", at: titleOf(node), mend });
    },
  };
}

function tooOld(opset: number): never {
  throw new MinnowError(`The model is of opset ${opset}; Minnow reads operators from opset ${OLDEST} on.`, {
    code: "opset/too-old",
    mend: "Export it again with a newer opset, 17 or 18 for example.",
  });
}
