import { MinnowError } from "../errors.ts";
import { type Dim, divideExactly, isKnown, mulDim, productOf, subDim } from "../ir/dim.ts";
import type { AxesRule, FrozenAxes, Mapped } from "./define.ts";
import { ruleOf } from "./index.ts";

/** `!` positions are read, `~` the count matters, `^` an extremum is taken. */
export type Mark = "!" | "~" | "^";

/** One axis of an operand, as the notation writes it (docs/axes.md). */
export type AxisTerm = { readonly mark?: Mark } & (
  | { readonly kind: "letter"; readonly letter: string }
  | { readonly kind: "number"; readonly size: number }
  | { readonly kind: "product"; readonly of: readonly AxisTerm[] }
  | { readonly kind: "sum"; readonly of: readonly AxisTerm[] }
  | { readonly kind: "window"; readonly over: string; readonly kernel: string }
  | { readonly kind: "all" }
  | { readonly kind: "rest" }
);

/** The axes of every operand of one application, left and right of the arrow. */
export interface AxisPattern {
  readonly inputs: readonly (readonly AxisTerm[])[];
  readonly outputs: readonly (readonly AxisTerm[])[];
}

const patterns = new Map<string, AxisPattern>();

/** Reads a map such as `n(gi)[xk][yl], (go)ikl, (go) -> n(go)xy`. A wrong one is a MinnowError `axes/notation`. */
export function parseAxes(map: string): AxisPattern {
  let pattern = patterns.get(map);
  if (pattern === undefined) {
    const [left, right, more] = map.split("->");
    if (left === undefined || right === undefined || more !== undefined) throw unreadable(map, map.length);
    pattern = { inputs: operands(left, map), outputs: operands(right, map) };
    patterns.set(map, pattern);
  }
  return pattern;
}

const operands = (side: string, map: string): AxisTerm[][] =>
  side.split(",").map((text) => new Reader(text.trim(), map).axes());

const unreadable = (map: string, at: number): MinnowError =>
  new MinnowError(`"${map}" cannot be read at character ${at}.`, { code: "axes/notation", mend: "See docs/axes.md." });

class Reader {
  readonly #text: string;
  readonly #map: string;
  #at = 0;
  #depth = 0;

  constructor(text: string, map: string) {
    this.#text = text;
    this.#map = map;
  }

  axes(): AxisTerm[] {
    const out: AxisTerm[] = [];
    while (this.#at < this.#text.length) {
      if (this.#text[this.#at] === " ") this.#at++;
      else out.push(this.#axis());
    }
    return out;
  }

  #axis(): AxisTerm {
    const mark = /[!~^]/.exec(this.#text[this.#at] ?? "")?.[0] as Mark | undefined;
    if (mark !== undefined) this.#at++;
    const term = this.#unmarked();
    return mark === undefined ? term : { ...term, mark };
  }

  #unmarked(): AxisTerm {
    const rest = this.#text.slice(this.#at);
    const take = <T extends AxisTerm>(length: number, term: T): T => {
      this.#at += length;
      return term;
    };
    if (rest.startsWith("...")) return take(3, { kind: "rest" });
    if (rest.startsWith("(*)")) return take(3, { kind: "all" });
    const window = /^\[([a-z])([a-z])\]/i.exec(rest);
    if (window !== null) return take(4, { kind: "window", over: window[1] as string, kernel: window[2] as string });
    const number = (this.#depth > 0 ? /^\d+/ : /^\d/).exec(rest);
    if (number !== null) return take(number[0].length, { kind: "number", size: Number(number[0]) });
    if (/^[a-z]/i.test(rest)) return take(1, { kind: "letter", letter: rest[0] as string });
    if (rest.startsWith("(")) return this.#group();
    throw unreadable(this.#map, this.#at);
  }

  /** `(ab)` is a product, `(a+b)` a concatenation; each part of one may be a product without parentheses. */
  #group(): AxisTerm {
    this.#at++;
    this.#depth++;
    const parts: AxisTerm[][] = [[]];
    for (;;) {
      const c = this.#text[this.#at];
      if (c === undefined) throw unreadable(this.#map, this.#at);
      if (c === ")") break;
      if (c === "+") parts.push([]);
      else if (c !== " ") {
        parts.at(-1)?.push(this.#axis());
        continue;
      }
      this.#at++;
    }
    this.#at++;
    this.#depth--;
    const joined = parts.map((of): AxisTerm => (of.length === 1 ? (of[0] as AxisTerm) : { kind: "product", of }));
    return joined.length === 1 ? { kind: "product", of: parts[0] ?? [] } : { kind: "sum", of: joined };
  }
}

/** How the axes of one application flow, or why that cannot be followed. */
export function axesOf(n: Mapped): { readonly pattern: AxisPattern; readonly rule: AxesRule } | FrozenAxes {
  const rule = ruleOf(n.node);
  const said = rule?.axes?.(n);
  if (said === undefined) return { frozen: `no rule for ${n.node.op}` };
  if (typeof said !== "string" && "frozen" in said) return said;
  const full = typeof said === "string" ? { map: said } : said;
  return { pattern: parseAxes(full.map), rule: full };
}

/** The letters of a term, those of windows included. */
export function lettersOf(term: AxisTerm): string[] {
  if (term.kind === "letter") return [term.letter];
  if (term.kind === "window") return [term.over, term.kernel];
  return term.kind === "product" || term.kind === "sum" ? term.of.flatMap(lettersOf) : [];
}

/** The letters of a term that are summed where no output has them: all whose positions are not read. */
function summable(term: AxisTerm): string[] {
  if (term.mark === "!") return [];
  return term.kind === "product" || term.kind === "sum" ? term.of.flatMap(summable) : lettersOf(term);
}

/** The sizes of letters that the shapes of an application show; axes of `...` are called `.1` (the last), `.2` … */
export function sizesOf(pattern: AxisPattern, rule: AxesRule, n: Mapped): Map<string, Dim> {
  const sizes = new Map<string, Dim>(Object.entries(rule.sizes ?? {}));
  const facts = [...n.inputs, ...n.results];
  const axes = [...pad(pattern.inputs, n.inputs.length), ...pattern.outputs].flatMap((terms, i) =>
    spread(terms, facts[i]?.shape),
  );
  for (let changed = true; changed; ) {
    changed = false;
    for (const { term, size } of axes) if (solve(term, size, sizes)) changed = true;
  }
  return sizes;
}

const pad = (terms: AxisPattern["inputs"], length: number): AxisPattern["inputs"] =>
  Array.from({ length }, (_, i) => terms[i] ?? []);

/** An axis of an operand. */
export interface SizedTerm {
  readonly term: AxisTerm;
  readonly size: Dim;
}

const spreads = new WeakMap<readonly AxisTerm[], WeakMap<readonly Dim[], readonly SizedTerm[]>>();
const NONE: readonly SizedTerm[] = [];

/** Each term of an operand with the size of its axis, `...` as letters of its own; the same list for the same operand. */
export function spread(terms: readonly AxisTerm[], shape: readonly Dim[] | undefined): readonly SizedTerm[] {
  if (shape === undefined || terms.length === 0) return NONE;
  const byShape = spreads.get(terms) ?? new WeakMap<readonly Dim[], readonly SizedTerm[]>();
  const found = byShape.get(shape) ?? spreadOut(terms, shape);
  spreads.set(terms, byShape.set(shape, found));
  return found;
}

function spreadOut(terms: readonly AxisTerm[], shape: readonly Dim[]): SizedTerm[] {
  if (terms.some((t) => t.kind === "all")) return [];
  const more = shape.length - terms.length + 1;
  const flat = terms.flatMap((term): AxisTerm[] => {
    if (term.kind !== "rest") return [term];
    return Array.from({ length: more }, (_, k) => ({ ...term, kind: "letter", letter: `.${more - k}` }));
  });
  return flat.length === shape.length ? flat.map((term, i) => ({ term, size: shape[i] as Dim })) : [];
}

/** Learns a letter from an axis of known size; true when something new was learned. */
function solve(term: AxisTerm, size: Dim, sizes: Map<string, Dim>): boolean {
  if (term.kind === "letter") {
    const known = sizes.get(term.letter);
    if (known !== undefined && !(term.letter.startsWith(".") && known === 1 && size !== 1)) return false;
    sizes.set(term.letter, size);
    return true;
  }
  if (term.kind !== "product" && term.kind !== "sum") return false;
  const unknown = term.of.filter((part) => sizeOf(part, sizes) === undefined);
  if (unknown.length !== 1) return false;
  const known = term.of.filter((part) => part !== unknown[0]).map((part) => sizeOf(part, sizes) as Dim);
  const left = term.kind === "sum" ? known.reduce(subDim, size) : divideExactly(size, productOf(known));
  return left !== undefined && solve(unknown[0] as AxisTerm, left, sizes);
}

/** The size of a term, undefined while a letter of it is unknown. */
export function sizeOf(term: AxisTerm, sizes: ReadonlyMap<string, Dim>): Dim | undefined {
  if (term.kind === "letter") return sizes.get(term.letter);
  if (term.kind === "number") return term.size;
  if (term.kind !== "product" && term.kind !== "sum") return undefined;
  const parts = term.of.map((part) => sizeOf(part, sizes));
  if (parts.some((p) => p === undefined)) return undefined;
  return term.kind === "product"
    ? productOf(parts as Dim[])
    : (parts as Dim[]).reduce((a, b) => (isKnown(a) && isKnown(b) ? a + b : subDim(a, subDim(0, b))), 0);
}

/**
 * Multiply-adds of an application: what its rule says, else for a contraction (a letter that two operands share and no
 * output has, and whose positions are not read) the product of all letters' sizes, else 0. Undefined where the operator has no rule, or a size is unknown.
 */
export function macsOf(n: Mapped): Dim | undefined {
  const rule = ruleOf(n.node);
  if (rule === undefined) return undefined;
  if (rule.macs !== undefined) return rule.macs(n);
  const axes = axesOf(n);
  if ("frozen" in axes) return 0;
  const { pattern } = axes;
  const right = new Set(pattern.outputs.flat().flatMap(lettersOf));
  const operands = pattern.inputs.map((terms) => [...new Set(terms.flatMap(summable))]);
  const shared = operands.flat().filter((letter, i, all) => all.indexOf(letter) < i);
  if (!shared.some((letter) => !isOutput(letter, pattern, right))) return 0;
  const sizes = sizesOf(pattern, axes.rule, n);
  const letters = new Set([...pattern.inputs.flat().flatMap(lettersOf), ...right]);
  const all = [
    ...[...letters].map((letter) => sizes.get(letter)),
    ...[...sizes].filter(([name]) => name.startsWith(".")).map(([, size]) => size),
  ];
  return all.some((size) => size === undefined) ? undefined : (all as Dim[]).reduce(mulDim, 1);
}

/** A kernel letter of a window on the right is summed into it, not one of its axes. */
function isOutput(letter: string, pattern: AxisPattern, right: ReadonlySet<string>): boolean {
  if (!right.has(letter)) return false;
  return !pattern.outputs.flat().some((term) => term.kind === "window" && term.kernel === letter);
}

/**
 * The place, among the terms of a weight, of the axis along which its scales lie when it is quantized per channel: the one
 * with a letter that reaches the output and that the activation (`data`) has not.
 */
export function channelTerm(pattern: AxisPattern, weight: number, data = 0): number | undefined {
  const outputs = new Set(pattern.outputs.flat().flatMap(lettersOf));
  const other = new Set((pattern.inputs[data] ?? []).flatMap(lettersOf));
  const terms = pattern.inputs[weight] ?? [];
  const at = terms.findIndex((term) => lettersOf(term).some((letter) => outputs.has(letter) && !other.has(letter)));
  return at < 0 ? undefined : at;
}

/** As {@link channelTerm}, as an axis of a weight of this rank: 0 for Conv, 1 for ConvTranspose, the last for MatMul. */
export function channelAxis(pattern: AxisPattern, weight: number, rank: number): number | undefined {
  const at = channelTerm(pattern, weight);
  const terms = pattern.inputs[weight] ?? [];
  if (at === undefined) return undefined;
  return terms.slice(0, at).some((term) => term.kind === "rest") ? rank - (terms.length - at) : at;
}
