/**
 * Sizes that may be symbolic: a number, or a polynomial in named sizes written in one normal form ("N*49+1").
 *
 * Equal polynomials are equal strings, so `===` compares sizes. What is no polynomial (a rounded division, a maximum)
 * is an atom of it: `floor(N/2)`. A size nobody knows is {@link UNKNOWN}; it equals nothing.
 */
export type Dim = number | string;

/** A size of which nothing is known. Arithmetic on it gives it again. */
export const UNKNOWN = "?";

/** Monomial (atoms joined by `*`, sorted; "" is the constant) → coefficient, never 0. */
type Poly = ReadonlyMap<string, number>;

const parsed = new Map<string, Poly>();

/** Whether the size is a number. */
export const isKnown = (dim: Dim): dim is number => typeof dim === "number";

/** Whether two sizes are certainly equal; {@link UNKNOWN} equals nothing, itself included. */
export const sameDim = (a: Dim, b: Dim): boolean => a !== UNKNOWN && normal(a) === normal(b);

/** The normal form of a size as a file may write it: `"2 * N"` → `"2*N"`, `"7"` → 7. */
export const normal = (dim: Dim): Dim => (isKnown(dim) || dim === UNKNOWN ? dim : print(poly(dim)));

export const addDim = (a: Dim, b: Dim): Dim => {
  if (isKnown(a) && isKnown(b)) return a + b;
  if (a === UNKNOWN || b === UNKNOWN) return UNKNOWN;
  return print(sum(poly(a), poly(b), 1));
};

export const subDim = (a: Dim, b: Dim): Dim => {
  if (isKnown(a) && isKnown(b)) return a - b;
  if (a === UNKNOWN || b === UNKNOWN) return UNKNOWN;
  return print(sum(poly(a), poly(b), -1));
};

export const mulDim = (a: Dim, b: Dim): Dim => {
  // Adding 0 leaves no negative zero.
  if (isKnown(a) && isKnown(b)) return a * b + 0;
  if (a === 0 || b === 0) return 0;
  if (a === UNKNOWN || b === UNKNOWN) return UNKNOWN;
  return print(times(poly(a), poly(b)));
};

/** The product of sizes; 1 for none. */
export const productOf = (dims: readonly Dim[]): Dim => dims.reduce(mulDim, 1);

/** a / b where that is a polynomial without remainder (`N*49 / N = 49`), else undefined. */
export function divideExactly(a: Dim, b: Dim): Dim | undefined {
  if (isKnown(a) && isKnown(b)) return b !== 0 && a % b === 0 ? a / b + 0 : undefined;
  if (a === UNKNOWN || b === UNKNOWN || b === 0) return undefined;
  const quotient = longDivide(poly(a), poly(b));
  return quotient === undefined ? undefined : print(quotient);
}

/** ⌊a / b⌋, exact where it divides, else the atom `floor(a/b)`. */
export function floorDiv(a: Dim, b: Dim): Dim {
  if (isKnown(a) && isKnown(b)) return Math.floor(a / b) + 0;
  if (a === UNKNOWN || b === UNKNOWN) return UNKNOWN;
  return print(floorPoly(normal(a), normal(b)));
}

/** ⌈a / b⌉. */
export const ceilDiv = (a: Dim, b: Dim): Dim => floorDiv(addDim(a, subDim(b, 1)), b);

/** The larger one, also where that follows from named sizes being at least 1 ({@link lowest}); else the atom `max(a,b)`. */
export const maxDim = (a: Dim, b: Dim): Dim => extremum("max", a, b);

export const minDim = (a: Dim, b: Dim): Dim => extremum("min", a, b);

/** The size once the named sizes are given; names without a value stay. */
export function bindDim(dim: Dim, sizes: ReadonlyMap<string, number>): Dim {
  if (isKnown(dim) || dim === UNKNOWN || sizes.size === 0) return dim;
  let total: Dim = 0;
  for (const [monomial, coefficient] of poly(dim)) {
    let term: Dim = coefficient;
    for (const atom of atoms(monomial)) term = mulDim(term, bindAtom(atom, sizes));
    total = addDim(total, term);
  }
  return total;
}

/** A bound the size is certainly not below, named sizes being at least 1; −Infinity where none is known. */
export function lowest(dim: Dim): number {
  if (isKnown(dim)) return dim;
  if (dim === UNKNOWN) return -Infinity;
  let bound = 0;
  for (const [monomial, coefficient] of poly(dim)) {
    const least = atoms(monomial).map(lowestAtom);
    if (monomial !== "" && (coefficient < 0 || least.some((b) => b < 0))) return -Infinity;
    bound += least.reduce((a, b) => a * b, coefficient);
  }
  return bound;
}

function lowestAtom(atom: string): number {
  const call = /^(floor|max|min)\((.*)\)$/.exec(atom);
  if (call === null) return 1;
  const [a = 0, b = 1] = arguments_(call[2] ?? "");
  if (call[1] === "floor")
    return isKnown(b) && b > 0 ? Math.floor(lowest(a) / b) : lowest(a) >= 0 && lowest(b) > 0 ? 0 : -Infinity;
  return call[1] === "max" ? Math.max(lowest(a), lowest(b)) : Math.min(lowest(a), lowest(b));
}

/** The coefficients of a size, also inside `max` and `min`; what stands in a `floor` is a whole number whatever it is made of. */
export function coefficientsOf(dim: Dim): number[] {
  if (isKnown(dim)) return [dim];
  return [...poly(dim)].flatMap(([monomial, coefficient]) => {
    const inner = atoms(monomial).flatMap((atom) => {
      const call = /^(?:max|min)\((.*)\)$/.exec(atom);
      return call === null ? [] : arguments_(call[1] ?? "").flatMap(coefficientsOf);
    });
    return [coefficient, ...inner];
  });
}

/** The names a size depends on. */
export function namesIn(dim: Dim): string[] {
  if (isKnown(dim) || dim === UNKNOWN) return [];
  const names = new Set<string>();
  for (const monomial of poly(dim).keys()) {
    for (const atom of atoms(monomial)) {
      const call = /^(?:floor|max|min)\((.*)\)$/.exec(atom);
      if (call === null) names.add(atom);
      else for (const part of arguments_(call[1] ?? "")) for (const name of namesIn(part)) names.add(name);
    }
  }
  return [...names];
}

const atom = (text: string): Poly => new Map([[text, 1]]);

function floorPoly(a: Dim, b: Dim): Poly {
  if (isKnown(a) && isKnown(b)) return poly(Math.floor(a / b));
  const exact = divideExactly(a, b);
  return exact === undefined ? atom(`floor((${a})/(${b}))`) : poly(exact);
}

function extremum(word: "max" | "min", a: Dim, b: Dim): Dim {
  if (isKnown(a) && isKnown(b)) return Math[word](a, b);
  if (a === UNKNOWN || b === UNKNOWN) return UNKNOWN;
  return print(extremumPoly(word, normal(a), normal(b)));
}

function extremumPoly(word: "max" | "min", a: Dim, b: Dim): Poly {
  if (lowest(subDim(a, b)) >= 0) return poly(word === "max" ? a : b);
  if (lowest(subDim(b, a)) >= 0) return poly(word === "max" ? b : a);
  return atom(`${word}(${[a, b].sort().join(",")})`);
}

function bindAtom(atom: string, sizes: ReadonlyMap<string, number>): Dim {
  const call = /^(floor|max|min)\((.*)\)$/.exec(atom);
  if (call === null) return sizes.get(atom) ?? atom;
  const [a = 0, b = 1] = arguments_(call[2] ?? "").map((part) => bindDim(part, sizes));
  return call[1] === "floor" ? floorDiv(a, b) : extremum(call[1] as "max" | "min", a, b);
}

/** `(a)/(b)` or `a,b` → its two parts, outer level only. */
function arguments_(inside: string): Dim[] {
  let depth = 0;
  for (let i = 0; i < inside.length; i++) {
    const c = inside[i];
    if (c === "(") depth++;
    else if (c === ")") depth--;
    else if (depth === 0 && (c === "," || c === "/")) return [inside.slice(0, i), inside.slice(i + 1)].map(normal);
  }
  return [normal(inside)];
}

function poly(dim: Dim): Poly {
  if (typeof dim === "number") return dim === 0 ? new Map() : new Map([["", dim]]);
  let found = parsed.get(dim);
  if (found === undefined) {
    if (parsed.size > 50_000) parsed.clear();
    found = parse(dim) ?? new Map([[dim, 1]]);
    parsed.set(dim, found);
  }
  return found;
}

function sum(a: Poly, b: Poly, sign: 1 | -1): Poly {
  const out = new Map(a);
  for (const [monomial, coefficient] of b) {
    const total = (out.get(monomial) ?? 0) + sign * coefficient;
    if (total === 0) out.delete(monomial);
    else out.set(monomial, total);
  }
  return out;
}

function times(a: Poly, b: Poly): Poly {
  const out = new Map<string, number>();
  for (const [m, c] of a) {
    for (const [n, d] of b) {
      const monomial = [...atoms(m), ...atoms(n)].sort().join("*");
      const total = (out.get(monomial) ?? 0) + c * d;
      if (total === 0) out.delete(monomial);
      else out.set(monomial, total);
    }
  }
  return out;
}

/** Polynomial long division by the leading term, or undefined when a remainder stays. */
function longDivide(a: Poly, b: Poly): Poly | undefined {
  const lead = leading(b);
  if (lead === undefined) return undefined;
  let rest = a;
  let quotient: Poly = new Map();
  for (let step = 0; rest.size > 0 && step < 64; step++) {
    const top = leading(rest);
    if (top === undefined) return undefined;
    const monomial = divideMonomial(top[0], lead[0]);
    const coefficient = top[1] / lead[1];
    if (monomial === undefined || !Number.isInteger(coefficient)) return undefined;
    const term: Poly = new Map([[monomial, coefficient]]);
    quotient = sum(quotient, term, 1);
    rest = sum(rest, times(term, b), -1);
  }
  return rest.size === 0 ? quotient : undefined;
}

const leading = (p: Poly): [string, number] | undefined => sorted(p)[0];

function divideMonomial(a: string, b: string): string | undefined {
  const left = atoms(a);
  for (const atom of atoms(b)) {
    const at = left.indexOf(atom);
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  return left.join("*");
}

/** Splits a monomial at the `*` of its outer level. */
function atoms(monomial: string): string[] {
  if (monomial === "") return [];
  const out: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < monomial.length; i++) {
    const c = monomial[i];
    if (c === "(") depth++;
    else if (c === ")") depth--;
    else if (c === "*" && depth === 0) {
      out.push(monomial.slice(start, i));
      start = i + 1;
    }
  }
  out.push(monomial.slice(start));
  return out;
}

/** Highest degree first, then by name: the order terms are written in. */
const sorted = (p: Poly): [string, number][] =>
  [...p].sort(([a], [b]) => atoms(b).length - atoms(a).length || (a < b ? -1 : a > b ? 1 : 0));

function print(p: Poly): Dim {
  if (p.size === 0) return 0;
  const constant = p.get("");
  if (p.size === 1 && constant !== undefined) return constant;
  let out = "";
  for (const [monomial, coefficient] of sorted(p)) {
    const size = Math.abs(coefficient);
    // Without spaces, a minus between names would read as the hyphen of one name.
    const minus = out === "" || monomial === "" ? "-" : " - ";
    const sign = coefficient < 0 ? minus : out === "" ? "" : "+";
    out += sign + (monomial === "" ? `${size}` : size === 1 ? monomial : `${monomial}*${size}`);
  }
  return out;
}

/** Reads `expr := term (± term)*; term := factor (* factor)*`, `seq-len` as one name; undefined for what is no such thing. */
function parse(text: string): Poly | undefined {
  let at = 0;
  const skip = () => {
    while (text[at] === " ") at++;
  };
  const take = (c: string): boolean => {
    skip();
    if (text[at] !== c) return false;
    at++;
    return true;
  };
  const expression = (): Poly | undefined => {
    let total: Poly | undefined = take("-") ? negative(term()) : term();
    while (total !== undefined) {
      if (take("+")) {
        const right = term();
        total = right && sum(total, right, 1);
      } else if (take("-")) {
        const right = term();
        total = right && sum(total, right, -1);
      } else break;
    }
    return total;
  };
  const term = (): Poly | undefined => {
    let total = factor();
    while (total !== undefined && take("*")) {
      const right = factor();
      total = right && times(total, right);
    }
    return total;
  };
  const factor = (): Poly | undefined => {
    if (take("(")) {
      const inner = expression();
      return inner !== undefined && take(")") ? inner : undefined;
    }
    skip();
    const number = /^\d+(?:\.\d+)?(?:e[+-]?\d+)?/.exec(text.slice(at));
    if (number !== null) {
      at += number[0].length;
      return poly(Number(number[0]));
    }
    const name = /^[A-Za-z_$](?:[\w.$:[\]]|-(?=[A-Za-z_$]))*/.exec(text.slice(at));
    if (name === null) return undefined;
    at += name[0].length;
    return text[at] === "(" ? call(name[0]) : new Map([[name[0], 1]]);
  };
  const call = (word: string): Poly | undefined => {
    at++;
    const left = expression();
    const separator = word === "floor" ? "/" : ",";
    const right = left !== undefined && take(separator) ? (separator === "/" ? factor() : expression()) : undefined;
    if (left === undefined || right === undefined || !take(")")) return undefined;
    if (word === "floor") return floorPoly(print(left), print(right));
    return word === "max" || word === "min" ? extremumPoly(word, print(left), print(right)) : undefined;
  };
  const result = expression();
  skip();
  return at === text.length ? result : undefined;
}

const negative = (p: Poly | undefined): Poly | undefined => p && sum(new Map(), p, -1);
