import { subgraphs } from "../ir/attrs.ts";
import { bindDim, type Dim, isKnown, namesIn, UNKNOWN } from "../ir/dim.ts";
import { BITS } from "../ir/dtype.ts";
import type { Model, Node } from "../ir/graph.ts";
import { readsOf } from "../ir/walk.ts";
import { type AxisPattern, type AxisTerm, axesOf, lettersOf, type Mark, sizesOf, spread } from "../ops/axes.ts";
import type { AxesRule, Fact, Mapped } from "../ops/define.ts";
import { applied, type Facts, inferModel } from "../ops/infer.ts";
import { type Axis, count, freeze, ONE, unify, type Var, variable } from "./axis.ts";
import { COUNTED_ANEW, heldOf } from "./held.ts";

/** How an axis of an input is reduced: summed, averaged, or its extremum taken. */
export interface Contraction {
  readonly input: number;
  readonly axis: number;
  readonly kind: "+" | "~" | "^";
  /** The letters of the axis in the node's map, sizes of 1 left out: an axis of another operand with the same is summed against it. */
  readonly letters: string;
}

/** A node whose axes are followed. */
export interface Flow {
  readonly node: Node;
  readonly rule: AxesRule;
  /** The axes its letters stand for. */
  readonly letters: ReadonlyMap<string, Axis>;
  readonly contractions: readonly Contraction[];
}

/** The axes of all values of a model, unified as its operators say. */
export interface Derivation {
  readonly model: Model;
  readonly facts: Facts;
  /** By value name: one axis for each of its own. Values of unknown rank are not here. */
  readonly axes: ReadonlyMap<string, readonly Axis[]>;
  readonly flows: readonly Flow[];
  /** The number taken for a size that is symbolic. */
  size(dim: Dim): number | undefined;
}

export interface DeriveOptions {
  /** Goes through the nodes from the last to the first. The groups are the same; a law holds that. */
  readonly reversed?: boolean;
}

/**
 * Follows every axis of every value of a model through its operators, by nothing but the rules' axis maps. The model
 * must be prepared ({@link prepare}). Nothing is run and no weight is read.
 */
export function derive(model: Model, { reversed = false }: DeriveOptions = {}): Derivation {
  const deriver = new Deriver(model);
  deriver.ends();
  for (const node of reversed ? [...model.graph.nodes].reverse() : model.graph.nodes) deriver.node(node);
  return deriver;
}

class Deriver implements Derivation {
  readonly model: Model;
  readonly facts: Facts;
  readonly axes = new Map<string, readonly Axis[]>();
  readonly flows: Flow[] = [];
  readonly #symbols: ReadonlyMap<string, number>;
  readonly #numbers = new Map<Dim, number | undefined>();

  constructor(model: Model) {
    this.model = model;
    this.facts = inferModel(model);
    this.#symbols = numbersFor(this.facts);
    for (const [name, { shape }] of this.facts)
      if (shape !== undefined)
        this.axes.set(
          name,
          shape.map((dim) => this.#variable(dim)),
        );
    for (const [name, tensor] of model.graph.weights)
      if (tensor.strings !== undefined || BITS[tensor.dtype] < 8)
        this.#freeze(name, `its elements are ${tensor.dtype}`);
  }

  size(dim: Dim): number | undefined {
    if (isKnown(dim)) return dim > 0 && Number.isInteger(dim) ? dim : undefined;
    if (!this.#numbers.has(dim)) {
      const bound = bindDim(dim, this.#symbols);
      this.#numbers.set(dim, isKnown(bound) && bound > 0 && Number.isInteger(bound) ? bound : undefined);
    }
    return this.#numbers.get(dim);
  }

  #variable(dim: Dim): Var {
    const size = this.size(dim);
    return size === undefined ? variable(UNKNOWN_SIZE, "its size is not known") : variable(size);
  }

  /** What callers see of a model keeps its shape. */
  ends(): void {
    const { inputs, outputs, sparseWeights } = this.model.graph;
    for (const { name } of inputs) this.#freeze(name, `it is an axis of the graph input "${name}"`);
    for (const { name } of outputs) this.#freeze(name, `it is an axis of the graph output "${name}"`);
    for (const name of sparseWeights?.keys() ?? []) this.#freeze(name, "it is stored as a sparse tensor");
  }

  #freeze(name: string, reason: string): void {
    for (const axis of this.axes.get(name) ?? []) freeze(axis, reason);
  }

  #freezeNode(node: Node, reason: string): void {
    for (const name of [...readsOf(node), ...node.outputs]) this.#freeze(name, reason);
  }

  node(node: Node): void {
    const known = [...node.inputs, ...node.outputs].every((name) => name === "" || this.axes.has(name));
    if (known) this.#follow(node);
    else this.#freezeNode(node, `the rank of something at ${node.op} is not known`);
  }

  #follow(node: Node): void {
    const n: Mapped = {
      ...applied(node, this.model.opsets, this.facts),
      results: node.outputs.map((name) => this.facts.get(name)),
    };
    const said = subgraphs(node).length > 0 ? { frozen: `${node.op} carries graphs of its own` } : axesOf(n);
    if ("frozen" in said) this.#freezeNode(node, said.frozen);
    else this.flows.push(new Application(this, n, said.pattern, said.rule).flow());
  }
}

/** Larger than any axis of a weight: what is unified with an axis of unknown size is frozen for that reason. */
const UNKNOWN_SIZE = 2 ** 31 - 1;

/** A size of its own for each symbolic one: primes, each a divisor of no size there is. */
function numbersFor(facts: Facts): ReadonlyMap<string, number> {
  const [names, sizes] = [new Set<string>(), new Set<number>()];
  for (const { shape = [] } of facts.values())
    for (const dim of shape) {
      if (isKnown(dim)) sizes.add(dim);
      else for (const name of namesIn(dim)) names.add(name);
    }
  const out = new Map<string, number>();
  let candidate = 210;
  for (const name of names) {
    do candidate++;
    while (!isPrime(candidate) || [...sizes].some((size) => size % candidate === 0 && size > 0));
    out.set(name, candidate);
  }
  return out;
}

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
}

/** One application of an operator, while its axes are unified. */
class Application {
  readonly #d: Deriver;
  readonly #n: Mapped;
  readonly #pattern: AxisPattern;
  readonly #rule: AxesRule;
  readonly #sizes: ReadonlyMap<string, Dim>;
  readonly #letters = new Map<string, Axis>();
  /** Axes with the letters that stand in them by position; a mark may be anywhere inside. */
  readonly #marked: { readonly axis: Axis; readonly mark: Mark | "[" }[] = [];

  constructor(d: Deriver, n: Mapped, pattern: AxisPattern, rule: AxesRule) {
    this.#d = d;
    this.#n = n;
    this.#pattern = pattern;
    this.#rule = rule;
    this.#sizes = sizesOf(pattern, rule, n);
  }

  flow(): Flow {
    const { node, inputs, results } = this.#n;
    node.inputs.forEach((name, i) => {
      this.#operand(name, inputs[i], this.#pattern.inputs[i] ?? [], true);
    });
    node.outputs.forEach((name, i) => {
      this.#operand(name, results[i], this.#pattern.outputs[i] ?? [], false);
    });
    this.#flatten();
    for (const { axis, mark } of this.#marked) {
      if (mark === "!") freeze(axis, `${node.op} reads its positions`);
      else if (mark === "[") freeze(axis, `${node.op} slides a window along it`);
      else count(axis, `${node.op} ${mark === "~" ? "averages" : "takes an extremum"} over it`);
    }
    this.#computed();
    return { node, rule: this.#rule, letters: this.#letters, contractions: this.#contractions() };
  }

  #operand(name: string, fact: Fact | undefined, terms: readonly AxisTerm[], isInput: boolean): void {
    const axes = this.#d.axes.get(name) ?? [];
    if (terms.some((term) => term.kind === "all")) return;
    const spreadTerms = spread(terms, fact?.shape);
    for (const [i, axis] of axes.entries()) {
      const found = spreadTerms[i];
      if (found === undefined) freeze(axis, `${this.#n.node.op} reads it as numbers`);
      else this.#axis(axis, found.term, isInput && found.size === 1);
    }
  }

  #axis(axis: Axis, term: AxisTerm, one: boolean): void {
    // A size of 1 is broadcast along a longer axis, and says nothing of it.
    const broadcast = one && term.kind === "letter" && term.letter.startsWith(".");
    if (broadcast && this.#sizes.get(term.letter) !== 1) return;
    const unknown = lettersOf(term).some((letter) => this.#d.size(this.#sizes.get(letter) ?? UNKNOWN) === undefined);
    if (unknown && term.kind !== "window") this.#unknown(axis, term);
    else unify(axis, this.#build(term, axis));
  }

  /** Where a letter has no known size, nothing it takes part in can be cut. */
  #unknown(axis: Axis, term: AxisTerm): void {
    const reason = `the sizes at ${this.#n.node.op} are not known`;
    freeze(axis, reason);
    for (const letter of lettersOf(term)) freeze(this.#letter(letter), reason);
  }

  #letter(letter: string): Axis {
    let axis = this.#letters.get(letter);
    if (axis === undefined) {
      const size = this.#d.size(this.#sizes.get(letter) ?? UNKNOWN);
      axis = size === undefined ? variable(UNKNOWN_SIZE, "its size is not known") : variable(size);
      this.#letters.set(letter, axis);
    }
    return axis;
  }

  /** The axis a term stands for; that of a window is the whole axis, frozen with its letters. */
  #build(term: AxisTerm, whole: Axis): Axis {
    const axis = this.#unmarked(term, whole);
    if (term.mark !== undefined) this.#marked.push({ axis, mark: term.mark });
    return axis;
  }

  #unmarked(term: AxisTerm, whole: Axis): Axis {
    switch (term.kind) {
      case "letter":
        return this.#letter(term.letter);
      case "number":
        return term.size === 1 ? ONE : variable(term.size, `${this.#n.node.op} takes ${term.size} of it`);
      case "product":
        return { prod: term.of.map((part) => this.#build(part, whole)) };
      case "sum":
        return { cat: term.of.map((part) => this.#build(part, whole)) };
      default:
        for (const letter of lettersOf(term)) this.#marked.push({ axis: this.#letter(letter), mark: "[" });
        this.#marked.push({ axis: whole, mark: "[" });
        return whole;
    }
  }

  /** All axes of the operands that are written flattened, as one. */
  #flatten(): void {
    const { node } = this.#n;
    const flat = (names: readonly string[], side: AxisPattern["inputs"]): Axis[] =>
      names.flatMap((name, i) =>
        side[i]?.some((term) => term.kind === "all") ? [{ prod: this.#d.axes.get(name) ?? [] }] : [],
      );
    const [first, ...others] = [
      ...flat(node.inputs, this.#pattern.inputs),
      ...flat(node.outputs, this.#pattern.outputs),
    ];
    for (const other of others) unify(first as Axis, other);
  }

  /** Numbers that the node is given and that something computes cannot be made anew: what they hold stays. */
  #computed(): void {
    const { node } = this.#n;
    for (const [at, said] of Object.entries(this.#rule.holds ?? {})) {
      const name = /^\d+$/.test(at) ? node.inputs[Number(at)] : undefined;
      if (name === undefined || name === "" || this.#d.model.graph.weights.has(name)) continue;
      const dims = this.#d.facts.get(name)?.value;
      // Indices are known wherever a rule says that it counts them anew.
      if (said === COUNTED_ANEW) continue;
      for (const [i, held] of heldOf(this.#d, node, this.#letters, said).entries())
        if (typeof held !== "number" && !isKnown(dims?.[i] ?? UNKNOWN))
          freeze(held, `a size that ${node.op} is given is computed`);
    }
  }

  #lettersOf = (term: AxisTerm): string =>
    lettersOf(term)
      .filter((letter) => this.#sizes.get(letter) !== 1)
      .join("");

  #contractions(): Contraction[] {
    const { node } = this.#n;
    const { inputs, outputs } = this.#pattern;
    const right = node.outputs.flatMap((name, i) =>
      name === ""
        ? []
        : [new Set(spread(outputs[i] ?? [], this.#n.results[i]?.shape).flatMap((s) => lettersOf(s.term)))],
    );
    return node.inputs.flatMap((name, input) => {
      const seen = new Set<string>();
      if (name === "") return [];
      return spread(inputs[input] ?? [], this.#n.inputs[input]?.shape).flatMap(({ term }, axis): Contraction[] => {
        const letters = reducedLetters(term);
        const gone = letters.filter(({ letter }) => seen.has(letter) || !right.every((side) => side.has(letter)));
        for (const { letter } of letters) seen.add(letter);
        const kind = gone.find((l) => l.kind !== "+")?.kind ?? gone[0]?.kind;
        return kind === undefined ? [] : [{ input, axis, kind, letters: this.#lettersOf(term) }];
      });
    });
  }
}

function reducedLetters(term: AxisTerm, mark?: Mark): { letter: string; kind: Contraction["kind"] }[] {
  const own = term.mark ?? mark;
  if (own === "!" || term.kind === "window") return [];
  if (term.kind === "product" || term.kind === "sum") return term.of.flatMap((part) => reducedLetters(part, own));
  return term.kind === "letter" ? [{ letter: term.letter, kind: own ?? "+" }] : [];
}
