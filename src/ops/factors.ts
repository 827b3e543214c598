import { isKnown } from "../ir/dim.ts";
import { type AxisPattern, type AxisTerm, axesOf, sizesOf, spread } from "./axes.ts";
import type { FactorRule, Mapped } from "./define.ts";
import { ruleOf } from "./index.ts";

/** What a position of an axis is in letters: `{ g: 1, i: 2 }` for position 1·i + 2 of `(gi)`. Sizes of 1 are left out. */
export type Place = Readonly<Record<string, number>>;

/** The places of every axis of every operand; undefined for an axis that carries nothing through. */
export interface Places {
  readonly inputs: readonly (readonly (readonly Place[] | undefined)[])[];
  readonly outputs: readonly (readonly (readonly Place[] | undefined)[])[];
}

/** Longer axes are not followed: they are positions, never channels. */
const MOST_PLACES = 2 ** 16;

/** How factors pass through an application, and where; undefined where they do not, or its axes cannot be followed. */
export function factorOf(n: Mapped): FactorRule | undefined {
  const rule = ruleOf(n.node);
  if (rule?.factor !== undefined) return rule.factor(n);
  const quant = rule?.quant;
  if (quant?.kind === "contraction") return quant.bias !== undefined && n.node.inputs[quant.bias] ? undefined : "any";
  return quant?.kind === "transparent" && (quant.when?.(n.node) ?? true) ? "first" : undefined;
}

/** The places of an application's operands, by the axes of its operator; undefined where these cannot be followed. */
export function placesOf(n: Mapped): Places | undefined {
  const axes = axesOf(n);
  if ("frozen" in axes) return undefined;
  const sizes = new Map<string, number>();
  for (const [letter, size] of sizesOf(axes.pattern, axes.rule, n)) if (isKnown(size)) sizes.set(letter, size);
  const side = (operands: AxisPattern["inputs"], facts: Mapped["inputs"]) =>
    facts.map((fact, i) =>
      spread(operands[i] ?? [], fact?.shape).map(({ term, size }) => (size === 1 ? [{}] : places(term, sizes))),
    );
  return { inputs: side(axes.pattern.inputs, n.inputs), outputs: side(axes.pattern.outputs, n.results) };
}

function places(term: AxisTerm, sizes: ReadonlyMap<string, number>): readonly Place[] | undefined {
  if (term.mark !== undefined) return undefined;
  switch (term.kind) {
    case "letter": {
      const size = sizes.get(term.letter);
      if (size === undefined || size > MOST_PLACES) return undefined;
      return size === 1 ? [{}] : Array.from({ length: size }, (_, i) => ({ [term.letter]: i }));
    }
    case "number":
      return term.size === 1 ? [{}] : undefined;
    case "product":
      return term.of.reduce<readonly Place[] | undefined>(
        (outer, part) => {
          const inner = places(part, sizes);
          if (outer === undefined || inner === undefined || outer.length * inner.length > MOST_PLACES) return undefined;
          return outer.flatMap((a) => inner.map((b) => ({ ...a, ...b })));
        },
        [{}],
      );
    case "sum": {
      const parts = term.of.map((part) => places(part, sizes));
      return parts.some((part) => part === undefined) ? undefined : parts.flatMap((part) => part ?? []);
    }
    default:
      return undefined;
  }
}

/**
 * The positions of two axes that belong together, those of `a` first: where one of them has all letters of the other, and
 * the same of each. Empty where none do.
 */
export function linked(a: readonly Place[], b: readonly Place[]): readonly (readonly [number, number])[] {
  const found = inside(a, b);
  return found.length > 0 ? found : inside(b, a).map(([p, q]) => [q, p] as const);
}

/** Pairs of places such that the second has all that the first has. */
function inside(few: readonly Place[], many: readonly Place[]): (readonly [number, number])[] {
  const kinds = new Map<string, { letters: readonly string[]; at: Map<string, number> }>();
  few.forEach((place, p) => {
    const letters = Object.keys(place);
    if (letters.length === 0) return;
    const kind = kinds.get(letters.join()) ?? { letters, at: new Map<string, number>() };
    kinds.set(letters.join(), kind);
    kind.at.set(letters.map((letter) => place[letter]).join(), p);
  });
  return many.flatMap((place, q) =>
    [...kinds.values()].flatMap(({ letters, at }) => {
      const p = at.get(letters.map((letter) => place[letter]).join());
      return p === undefined ? [] : [[p, q] as const];
    }),
  );
}
