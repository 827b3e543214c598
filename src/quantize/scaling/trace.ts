import type { Model, Node } from "../../ir/graph.ts";
import { usesOf } from "../../ir/walk.ts";
import type { Mapped, OpRule } from "../../ops/define.ts";
import { factorOf, linked, type Place, type Places, placesOf } from "../../ops/factors.ts";
import { ruleOf } from "../../ops/index.ts";
import { applied, type Facts, inferModel } from "../../ops/infer.ts";

type Axes = readonly (readonly Place[] | undefined)[];

/** An axis of a value along which it is multiplied; position `i` has the number `first + i`. */
export interface Slot {
  readonly value: string;
  readonly axis: number;
  readonly places: readonly Place[];
  readonly first: number;
}

/** A constant that takes factors on: multiplied where what it makes is, divided where what it reads is. */
export interface Absorbed {
  readonly weight: string;
  readonly node: Node;
  readonly divided: boolean;
  /** Whether it is the weight of a contraction, rather than a bias, a gain or a summand. */
  readonly matrix: boolean;
  readonly axes: Axes;
  readonly slot: Slot;
  /** The slot's positions, as the node has them. */
  readonly along: readonly Place[];
}

/** A clamp that lets factors pass only while its bound is not reached. */
export interface Bound {
  readonly value: string;
  readonly most: number;
}

export interface Trace {
  readonly slots: ReadonlyMap<string, Slot>;
  readonly absorbed: readonly Absorbed[];
  readonly bounds: readonly Bound[];
  /** The number that stands for all that must have one factor. */
  rootOf(position: number): number;
}

interface Application {
  readonly n: Mapped;
  readonly rule: OpRule | undefined;
  readonly places: Places | undefined;
}

/**
 * Follows a factor for each index of an axis from the value it begins at to every constant that can take it on, by what
 * rules say of axes and factors; undefined where something on the way cannot let it pass.
 */
export function trace(model: Model, value: string, axis: number, allowBounds: boolean): Trace | undefined {
  const tracer = new Tracer(model, allowBounds);
  return tracer.run(value, axis) ? tracer : undefined;
}

const applications = new WeakMap<Facts, Map<Node, Application>>();

/** What is known of a node, kept as long as the model's facts are. */
export function applicationOf(model: Model, node: Node): Application {
  const facts = inferModel(model);
  const known = applications.get(facts) ?? new Map<Node, Application>();
  applications.set(facts, known);
  let found = known.get(node);
  if (found === undefined) {
    const n = { ...applied(node, model.opsets, facts), results: node.outputs.map((name) => facts.get(name)) };
    found = { n, rule: ruleOf(node), places: placesOf(n) };
    known.set(node, found);
  }
  return found;
}

const lettersIn = (axes: Axes): ReadonlySet<string> =>
  new Set(axes.flatMap((places) => [...(places?.[0] ? Object.keys(places[0]) : [])]));

/** Whether operand axes have every letter of some places. */
const holds = (axes: Axes | undefined, places: readonly Place[]): axes is Axes => {
  if (axes === undefined) return false;
  const letters = lettersIn(axes);
  return places.every((place) => Object.keys(place).every((letter) => letters.has(letter)));
};

class Tracer implements Trace {
  readonly slots = new Map<string, Slot>();
  readonly absorbed: Absorbed[] = [];
  readonly bounds: Bound[] = [];
  readonly #model: Model;
  readonly #allowBounds: boolean;
  readonly #parents: number[] = [];
  readonly #queue: Slot[] = [];
  readonly #seen = new Map<Node, Set<string>>();
  readonly #products = new Set<Node>();

  constructor(model: Model, allowBounds: boolean) {
    this.#model = model;
    this.#allowBounds = allowBounds;
  }

  run(value: string, axis: number): boolean {
    const writer = usesOf(this.#model.graph).writer.get(value);
    const at = writer?.outputs.indexOf(value) ?? -1;
    const places = writer && applicationOf(this.#model, writer).places?.outputs[at]?.[axis];
    if (places === undefined) return false;
    this.#open(value, axis, places);
    for (let slot = this.#queue.shift(); slot !== undefined; slot = this.#queue.shift())
      if (!this.#visit(slot)) return false;
    return [...this.#products].every((node) => this.#factorsInto(node) === 1);
  }

  rootOf(position: number): number {
    let at = position;
    while (this.#parents[at] !== at) at = this.#parents[at]!;
    return at;
  }

  /** How many operands of a product are multiplied. */
  #factorsInto(node: Node): number {
    const constants = this.absorbed.filter((a) => a.node === node && !a.divided).length;
    return constants + node.inputs.filter((name) => this.slots.has(name)).length;
  }

  #open(value: string, axis: number, places: readonly Place[]): Slot {
    const slot = { value, axis, places, first: this.#parents.length };
    for (const i of places.keys()) this.#parents.push(slot.first + i);
    this.slots.set(value, slot);
    this.#queue.push(slot);
    return slot;
  }

  #once(node: Node, role: string): boolean {
    const roles = this.#seen.get(node) ?? new Set<string>();
    this.#seen.set(node, roles);
    if (roles.has(role)) return false;
    roles.add(role);
    return true;
  }

  #visit(slot: Slot): boolean {
    const { graph } = this.#model;
    const { writer, readers, outputs } = usesOf(graph);
    const source = writer.get(slot.value);
    if (source === undefined || outputs.has(slot.value)) return false;
    if (!this.#atOutput(source, source.outputs.indexOf(slot.value), slot)) return false;
    for (const node of new Set(readers.get(slot.value))) {
      const places = node.inputs.flatMap((name, i) => (name === slot.value ? [i] : []));
      if (places.length === 0 || !places.every((i) => this.#atInput(node, i, slot))) return false;
    }
    return true;
  }

  #atInput(node: Node, index: number, slot: Slot): boolean {
    const { n, rule, places } = applicationOf(this.#model, node);
    const along = places?.inputs[index]?.[slot.axis];
    if (places === undefined || along === undefined || along.length !== slot.places.length) return false;
    const quant = rule?.quant;
    if (quant?.kind === "contraction" && index === 0 && this.#constant(node.inputs[quant.weight] ?? "")) {
      const axes = places.inputs[quant.weight];
      if (holds(axes, along))
        return !this.#once(node, "in") || this.#absorb(node, quant.weight, axes, { slot, along }, true);
    }
    const kind = factorOf(n) ?? this.#bounded(node, n, rule);
    if (kind === "all") return this.#together(node, places, slot, along);
    if (kind === "any") {
      this.#products.add(node);
      return this.#link(slot, along, node.outputs[0] ?? "", places.outputs[0] ?? []);
    }
    return kind === "first" && index === 0 && this.#link(slot, along, node.outputs[0] ?? "", places.outputs[0] ?? []);
  }

  #atOutput(node: Node, index: number, slot: Slot): boolean {
    const { n, rule, places } = applicationOf(this.#model, node);
    const along = places?.outputs[index]?.[slot.axis];
    if (places === undefined || along === undefined || index !== 0) return false;
    const quant = rule?.quant;
    if (quant?.kind === "contraction" && holds(places.inputs[quant.weight], along)) {
      const bias = quant.bias !== undefined && node.inputs[quant.bias] ? quant.bias : undefined;
      return this.#made(node, quant.weight, bias, places, { slot, along });
    }
    if (rule?.scale !== undefined && holds(places.inputs[rule.scale], along)) {
      const shift = node.inputs[rule.scale + 1] ? rule.scale + 1 : undefined;
      return this.#made(node, rule.scale, shift, places, { slot, along });
    }
    const kind = factorOf(n) ?? this.#bounded(node, n, rule);
    if (kind === "all") return this.#together(node, places, slot, along);
    if (kind === "first") return this.#link(slot, along, node.inputs[0] ?? "", places.inputs[0] ?? []);
    return kind === "any" && this.#toOne(node, places, slot, along);
  }

  /** What makes a value takes its factors on: a weight or a gain, and what is added. */
  #made(
    node: Node,
    weight: number,
    bias: number | undefined,
    { inputs }: Places,
    to: Pick<Absorbed, "slot" | "along">,
  ): boolean {
    if (!this.#once(node, "out")) return true;
    const added = bias === undefined ? undefined : inputs[bias];
    if (bias !== undefined && !(holds(added, to.along) && this.#absorb(node, bias, added, to, false))) return false;
    return this.#absorb(node, weight, inputs[weight] ?? [], to, false);
  }

  /** A clamp whose bounds are not 0 or infinite, where such are allowed. */
  #bounded(node: Node, n: Mapped, rule: OpRule | undefined): "first" | undefined {
    const [low, high] = rule?.bounds?.(n) ?? [Number.NaN, Number.NaN];
    if (!this.#allowBounds || !(high > 0) || (low !== 0 && low !== -Infinity)) return undefined;
    const value = node.inputs[0] ?? "";
    if (!this.bounds.some((bound) => bound.value === value)) this.bounds.push({ value, most: high });
    return "first";
  }

  /** Every operand that is summed or joined has the factors. */
  #together(node: Node, { inputs, outputs }: Places, slot: Slot, along: readonly Place[]): boolean {
    if (!this.#once(node, "all")) return this.#known(node, slot);
    const [result = []] = outputs;
    // Parts of a concatenation are told apart at the output, which has the letters of all.
    const axis = result.findIndex((places) => places !== undefined && linked(along, places).length > 0);
    if (axis < 0 || !this.#link(slot, along, node.outputs[0] ?? "", result)) return false;
    const [out, whole] = [this.slots.get(node.outputs[0] ?? "")!, result[axis]!];
    return node.inputs.every((name, i) => {
      if (!this.#constant(name)) return this.#link(out, whole, name, inputs[i] ?? []);
      const axes = inputs[i] ?? [];
      return holds(axes, whole) && this.#absorb(node, i, axes, { slot: out, along: whole }, false);
    });
  }

  #known = (node: Node, slot: Slot): boolean =>
    this.slots.get(slot.value) === slot &&
    [...node.inputs, ...node.outputs].every((name) => this.slots.has(name) || this.#constant(name));

  /** One operand of a product has the factors: a constant if there is one, else what a matrix makes. */
  #toOne(node: Node, { inputs }: Places, slot: Slot, along: readonly Place[]): boolean {
    this.#products.add(node);
    if (node.inputs.some((name) => this.slots.has(name))) return true;
    const fitting = node.inputs.map((_, i) => i).filter((i) => holds(inputs[i], along));
    const constant = fitting.find((i) => this.#constant(node.inputs[i] ?? ""));
    if (constant !== undefined)
      return !this.#once(node, "out") || this.#absorb(node, constant, inputs[constant]!, { slot, along }, false);
    const { writer } = usesOf(this.#model.graph);
    const made = (i: number): boolean => {
      const source = writer.get(node.inputs[i] ?? "");
      return source !== undefined && ruleOf(source)?.quant?.kind === "contraction";
    };
    const chosen = fitting.find(made) ?? fitting.at(-1);
    return chosen !== undefined && this.#link(slot, along, node.inputs[chosen] ?? "", inputs[chosen] ?? []);
  }

  /** The positions of a slot and those of another value's one axis that they belong to have the same factors. */
  #link(slot: Slot, along: readonly Place[], value: string, axes: Axes): boolean {
    const found = axes.flatMap((places, axis) => {
      const pairs = places === undefined ? [] : linked(along, places);
      return pairs.length === 0 ? [] : [{ axis, places: places!, pairs }];
    });
    const [only] = found;
    if (only === undefined || found.length > 1) return false;
    if (this.#constant(value)) return false;
    const known = this.slots.get(value);
    if (known !== undefined && (known.axis !== only.axis || known.places.length !== only.places.length)) return false;
    const other = known ?? this.#open(value, only.axis, only.places);
    for (const [p, q] of only.pairs) this.#parents[this.rootOf(other.first + q)] = this.rootOf(slot.first + p);
    return true;
  }

  #absorb(
    node: Node,
    index: number,
    axes: Axes,
    { slot, along }: Pick<Absorbed, "slot" | "along">,
    divided: boolean,
  ): boolean {
    const weight = node.inputs[index] ?? "";
    const { readers, outputs } = usesOf(this.#model.graph);
    const alone = readers.get(weight)?.length === 1 && node.inputs.filter((name) => name === weight).length === 1;
    if (!this.#constant(weight) || !alone || outputs.has(weight)) return false;
    const quant = ruleOf(node)?.quant;
    const matrix = quant?.kind === "contraction" && index === quant.weight;
    this.absorbed.push({ weight, node, divided, matrix, axes, slot, along });
    return true;
  }

  /** Whether a float constant that no caller may override stands under a name. */
  #constant(name: string): boolean {
    const { weights, inputs } = this.#model.graph;
    return weights.get(name)?.dtype === "float32" && !inputs.some((input) => input.name === name);
  }
}
