import { type AxisPattern, type AxisTerm, lettersOf } from "../../src/ops/axes.ts";

/** A map that is wrong, and how. */
export interface Broken {
  readonly how: string;
  /** The letters the mistake is about. */
  readonly about: readonly string[];
  readonly pattern: AxisPattern;
}

/** Every map that one mistake makes of a right one. */
export const breaksOf = (pattern: AxisPattern): Broken[] => [
  ...swaps(pattern),
  ...turns(pattern),
  ...unmarked(pattern),
  ...kept(pattern),
];

/** Two axes of an output change places. */
const swaps = (pattern: AxisPattern): Broken[] =>
  pattern.outputs.flatMap((terms, k) =>
    terms.flatMap((a, i) =>
      terms.slice(i + 1).map((b, j): Broken => {
        const other = terms.map((term, at) => (at === i ? b : at === i + 1 + j ? a : term));
        return {
          how: "two axes of an output swapped",
          about: [a, b].flatMap(lettersOf),
          pattern: withOutput(pattern, k, other),
        };
      }),
    ),
  );

/** The factors of a product, or the parts of a concatenation, stand the other way round in an output. */
const turns = (pattern: AxisPattern): Broken[] =>
  pattern.outputs.flatMap((terms, k) =>
    terms.flatMap((term, i) => {
      if ((term.kind !== "product" && term.kind !== "sum") || term.of.length < 2) return [];
      const turned = { ...term, of: [...term.of].reverse() };
      const other = terms.map((t, at) => (at === i ? turned : t));
      return [
        {
          how: `a ${term.kind} of an output turned round`,
          about: lettersOf(term),
          pattern: withOutput(pattern, k, other),
        },
      ];
    }),
  );

/** A letter loses its mark, wherever it stands. */
const unmarked = (pattern: AxisPattern): Broken[] => {
  const all = [...pattern.inputs, ...pattern.outputs].flat();
  const marked = new Set(all.flatMap((term) => markedIn(term)));
  return [...marked].map((letter): Broken => {
    const drop = (terms: readonly AxisTerm[]) => terms.map((term) => without(term, letter));
    return {
      how: "a mark dropped",
      about: [letter],
      pattern: { inputs: pattern.inputs.map(drop), outputs: pattern.outputs.map(drop) },
    };
  });
};

/** Letters under a mark; `...` for the rest. */
function markedIn(term: AxisTerm, inherited = false): string[] {
  const marked = inherited || term.mark !== undefined;
  if (term.kind === "product" || term.kind === "sum") return term.of.flatMap((part) => markedIn(part, marked));
  if (!marked) return [];
  return term.kind === "rest" ? ["..."] : lettersOf(term);
}

function without(term: AxisTerm, letter: string): AxisTerm {
  const inside = term.kind === "rest" ? letter === "..." : lettersOf(term).includes(letter);
  const { mark, ...bare } = term;
  if (!inside) return term;
  return bare.kind === "product" || bare.kind === "sum"
    ? { ...bare, of: bare.of.map((part) => without(part, letter)) }
    : (bare as AxisTerm);
}

/** A letter that is summed stands in the first output as well. */
const kept = (pattern: AxisPattern): Broken[] => {
  const right = new Set(pattern.outputs.flat().flatMap(lettersOf));
  const summed = new Set(
    pattern.inputs
      .flat()
      .flatMap(lettersOf)
      .filter((letter) => !right.has(letter)),
  );
  return [...summed].map((letter) => ({
    how: "a summed letter kept",
    about: [letter],
    pattern: withOutput(pattern, 0, [...(pattern.outputs[0] ?? []), { kind: "letter", letter }]),
  }));
};

const withOutput = (pattern: AxisPattern, index: number, terms: readonly AxisTerm[]): AxisPattern => ({
  ...pattern,
  outputs: pattern.outputs.map((before, k) => (k === index ? terms : before)),
});
