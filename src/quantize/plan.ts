import { MinnowError } from "../errors.ts";
import { subgraphs } from "../ir/attrs.ts";
import type { Graph, Model, Node } from "../ir/graph.ts";
import { elements, type Tensor } from "../ir/tensor.ts";
import { titleOf, usesOf } from "../ir/walk.ts";
import type { QuantRule } from "../ops/define.ts";
import { ruleOf } from "../ops/index.ts";
import { type Facts, inferModel } from "../ops/infer.ts";
import { type Channels, channelsOf } from "./channels.ts";

/** An activation against a constant weight, to be computed in integers. */
export interface Contraction {
  readonly node: Node;
  readonly input: string;
  readonly weight: string;
  /** Which input of the node the bias is, if the operator has one; its name is "" where the node has none. */
  readonly bias: { readonly index: number; readonly name: string } | undefined;
  /** Where the output channels lie. */
  readonly channel: Channels | undefined;
  /** Whether each output channel sees one input channel (depthwise convolution). */
  readonly depthwise: boolean;
  readonly rule: Extract<QuantRule, { kind: "contraction" }>;
}

/** A value that is rounded to 256 levels. */
export interface QuantizedValue {
  readonly name: string;
  /** The value whose levels it has: its own name, or that of what was moved or picked from to make it. */
  readonly like: string;
  /** Whether what writes it cuts it off, so that its levels must lie inside its range. */
  readonly inside: boolean;
  /** A range that follows from the operator. */
  readonly range: readonly [number, number] | undefined;
}

/** What becomes integer, and what was left in float and why. */
export interface Plan {
  readonly contractions: readonly Contraction[];
  /** Those that could be integer too, and were excluded. */
  readonly excluded: readonly Contraction[];
  /** In the order in which they are computed. */
  readonly values: ReadonlyMap<string, QuantizedValue>;
  /** Nodes that read quantized values (other nodes read the float value where there is one). */
  readonly nodes: ReadonlySet<Node>;
  /** Constants that integer nodes read as they read activations. */
  readonly constants: ReadonlySet<string>;
  readonly left: readonly { readonly node: Node; readonly why: string }[];
}

export interface PlanOptions {
  /** Names of nodes to leave in float; `*` stands for anything. */
  readonly nodesToExclude?: readonly string[] | undefined;
  /** The one contraction to quantize. */
  readonly only?: Node;
}

/**
 * Decides what to compute in integers: contractions with constant weights, and what stands between them and works on
 * integers as well. What follows the last of them stays in float. Only operators' rules are asked, never their names.
 */
export function planOf(model: Model, options: PlanOptions = {}): Plan {
  const planner = new Planner(model, options);
  planner.forward();
  planner.backward();
  return planner.plan();
}

/** How a node would be called in `nodesToExclude`. */
export const nameOf = (node: Node): string => node.name || (node.outputs[0] ?? "");

class Planner {
  readonly #model: Model;
  readonly #facts: Facts;
  readonly #named: (node: Node) => boolean;
  readonly #only: Node | undefined;
  readonly #contractions = new Map<Node, Contraction>();
  readonly #rules = new Map<Node, QuantRule>();
  /** Values that an integer node writes. */
  readonly #integer = new Set<string>();
  /** Clamps that what writes their input absorbs, and the values between, which are never rounded. */
  readonly #absorbed = new Map<Node, Node>();
  readonly #between = new Set<string>();
  readonly #kept = new Set<Node>();
  readonly #floats: Contraction[] = [];
  readonly #left: { node: Node; why: string }[] = [];

  constructor(model: Model, { nodesToExclude = [], only }: PlanOptions) {
    this.#model = model;
    this.#facts = inferModel(model);
    this.#named = matcher(nodesToExclude, model);
    this.#only = only;
  }

  /** Finds what could be integer, inputs first. */
  forward(): void {
    for (const node of this.#model.graph.nodes) {
      const rule = ruleOf(node)?.quant;
      if (rule === undefined || !this.#fits(node, rule)) continue;
      this.#rules.set(node, rule);
      for (const name of node.outputs) if (this.#isFloat(name)) this.#integer.add(name);
    }
  }

  #fits(node: Node, rule: QuantRule): boolean {
    if (rule.kind === "contraction") return this.#fitsContraction(node, rule);
    if (rule.kind === "clamp") return this.#absorb(node);
    if (this.#excluded(node) || (rule.kind === "transparent" && rule.when?.(node) === false)) return false;
    const data = node.inputs[0] ?? "";
    if (rule.kind !== "arithmetic") return this.#integer.has(data);
    return this.#operands(node, rule).some((name) => this.#integer.has(name));
  }

  #operands(node: Node, rule: Extract<QuantRule, { kind: "arithmetic" }>): string[] {
    const names = rule.inputs?.map((i) => node.inputs[i] ?? "") ?? node.inputs;
    return names.filter((name) => this.#isFloat(name));
  }

  #fitsContraction(node: Node, rule: Contraction["rule"]): boolean {
    const name = node.inputs[rule.weight] ?? "";
    const weight = this.#model.graph.weights.get(name);
    const input = node.inputs[0] ?? "";
    if (weight === undefined || !/float/.test(weight.dtype)) return false;
    const leave = (why: string): boolean => {
      this.#left.push({ node, why });
      return false;
    };
    if (weight.dtype !== "float32") return leave(`its weight is ${weight.dtype}`);
    if (this.#constant(name) === undefined) return leave("its weight is an input of the model");
    if (elements(weight.shape) === 0) return leave("its weight has no elements");
    if (!this.#isFloat(input) || this.#constant(input) !== undefined || rule.weight === 0) return false;
    const bias = rule.bias === undefined ? undefined : { index: rule.bias, name: node.inputs[rule.bias] ?? "" };
    const channel = channelsOf(this.#model, node, rule.weight, weight.shape.length);
    const depthwise =
      weight.shape.length > 2 && weight.shape.every((size, i) => i === channel?.weight || i > 1 || size === 1);
    const contraction = { node, input, weight: name, bias, rule, channel, depthwise };
    if (this.#excluded(node)) {
      this.#floats.push(contraction);
      return leave("it is excluded");
    }
    this.#contractions.set(node, contraction);
    return true;
  }

  /** A clamp goes with what writes its input where nothing else reads that. */
  #absorb(node: Node): boolean {
    const { writer, readers, outputs } = usesOf(this.#model.graph);
    const input = node.inputs[0] ?? "";
    const source = writer.get(input);
    const kind = source && this.#rules.get(source)?.kind;
    if (source === undefined || (kind !== "contraction" && kind !== "arithmetic")) return false;
    if ((readers.get(input)?.length ?? 0) !== 1 || outputs.has(input) || this.#named(node)) return false;
    this.#absorbed.set(node, source);
    this.#between.add(input);
    return true;
  }

  #excluded(node: Node): boolean {
    return this.#named(node) || (this.#only !== undefined && this.#only !== node);
  }

  /** Keeps contractions, and what leads from one to another; the rest stays in float. */
  backward(): void {
    const { readers } = usesOf(this.#model.graph);
    for (const node of [...this.#model.graph.nodes].reverse()) {
      const rule = this.#rules.get(node);
      if (rule === undefined) continue;
      const read = node.outputs.some((name) => readers.get(name)?.some((reader) => this.#kept.has(reader)));
      const source = this.#absorbed.get(node);
      const absorbed = source !== undefined && this.#contractions.has(source);
      if (rule.kind === "contraction" || read || absorbed) this.#kept.add(node);
    }
  }

  plan(): Plan {
    const values = new Map<string, QuantizedValue>();
    const constants = new Set<string>();
    const own = (name: string, more: Partial<QuantizedValue> = {}) => {
      if (!values.has(name)) values.set(name, { name, like: name, inside: false, range: undefined, ...more });
    };
    for (const node of this.#model.graph.nodes) {
      const rule = this.#rules.get(node);
      if (rule === undefined || !this.#kept.has(node)) continue;
      this.#addInputs(node, rule, own, constants);
      this.#addOutputs(node, rule, own, values);
    }
    const contractions = [...this.#contractions.values()];
    return { contractions, excluded: this.#floats, values, nodes: this.#kept, constants, left: this.#left };
  }

  #addInputs(node: Node, rule: QuantRule, own: (name: string) => void, constants: Set<string>): void {
    if (rule.kind === "arithmetic")
      for (const name of this.#operands(node, rule)) {
        if (this.#constant(name) === undefined) own(name);
        else constants.add(name);
      }
    else if (rule.kind !== "clamp") own(node.inputs[0] ?? "");
  }

  #addOutputs(
    node: Node,
    rule: QuantRule,
    own: (name: string, more?: Partial<QuantizedValue>) => void,
    values: ReadonlyMap<string, QuantizedValue>,
  ): void {
    for (const name of node.outputs) {
      if (!this.#isFloat(name) || this.#between.has(name)) continue;
      if (rule.kind === "contraction" && rule.floatOutput === true && !this.#isReadAsInteger(name)) continue;
      if (rule.kind === "transparent") own(name, { like: values.get(node.inputs[0] ?? "")?.like ?? name });
      else if (rule.kind === "clamp") own(name, { inside: true });
      else if (rule.kind === "range") own(name, { range: rule.range });
      else own(name);
    }
  }

  #isReadAsInteger(name: string): boolean {
    return (
      usesOf(this.#model.graph)
        .readers.get(name)
        ?.some((reader) => this.#kept.has(reader)) ?? false
    );
  }

  #isFloat(name: string): boolean {
    return name !== "" && this.#facts.get(name)?.dtype === "float32";
  }

  /** The constant under a name; undefined where a caller may override it. */
  #constant(name: string): Tensor | undefined {
    const { weights, inputs } = this.#model.graph;
    return inputs.some((input) => input.name === name) ? undefined : weights.get(name);
  }
}

/** The nodes of a graph and of the graphs inside it. */
export const nodesIn = (graph: Graph): Node[] =>
  graph.nodes.flatMap((node) => [node, ...subgraphs(node).flatMap((inner) => nodesIn(inner.graph))]);

/** Whether a node is named by one of the patterns; one that names nothing is an error. */
export function matcher(patterns: readonly string[], { graph }: Model): (node: Node) => boolean {
  const tests = patterns.map((pattern) => {
    const parts = pattern.split("*").map((part) => part.replace(/[\\^$.+?()[\]{}|]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`, "s");
  });
  tests.forEach((test, i) => {
    if (!nodesIn(graph).some((node) => test.test(nameOf(node))))
      throw new MinnowError(`No node is called "${patterns[i]}".`, {
        code: "quantize/no-node",
        at: "nodesToExclude",
        mend: `Nodes are called, for example, ${graph.nodes
          .slice(0, 3)
          .map((n) => `"${nameOf(n)}"`)
          .join(", ")} (${graph.nodes[0] ? titleOf(graph.nodes[0]) : ""}).`,
      });
  });
  return (node) => tests.some((test) => test.test(nameOf(node)));
}
