import { isFloat } from "../ir/dtype.ts";
import type { Backward, Gradient, Gradients } from "./gradient.ts";

/** Gradients of operands that were broadcast: each is summed to its own shape. */
const broadcast =
  (...slopes: ((g: Backward) => string)[]): Gradient =>
  (g) =>
    g.x.map((name, i) => (g.wants(i) ? g.sumTo((slopes[i] ?? slopes[0])?.(g) as string, g.shape(name)) : undefined));

const [a, b] = [(g: Backward) => g.x[0] as string, (g: Backward) => g.x[1] as string];

/** The extremum passes the gradient to the operand it came from; of equal ones to the first. */
const extremum: Gradient = (g) => {
  let rest = g.dy;
  return g.x.map((name, i) => {
    if (i === g.x.length - 1) return g.wants(i) ? g.sumTo(rest, g.shape(name)) : undefined;
    const own = g.mul(rest, g.mask(g.is("Equal", g.y, name), g.dy));
    if (g.x.some((_, j) => j > i && g.wants(j))) rest = g.sub(rest, own);
    return g.wants(i) ? g.sumTo(own, g.shape(name)) : undefined;
  });
};

/** d aᵇ/da = b aᵇ⁻¹ in the form that is finite wherever it can be, and cheap for the usual exponents. */
function powerSlope(g: Backward, x: string): string {
  const known = g.numbers(1);
  const p = known?.length === 1 ? (known[0] as number) : undefined;
  if (p === 0) return g.zerosLike(x);
  if (p === 0.5) return g.div(0.5, g.y);
  if (p !== undefined && p < 0) return g.mul(p, g.div(g.y, x));
  if (p !== undefined) return g.mul(p, g.pow(x, p - 1));
  const exponent = g.cast(b(g), g.dtype(x));
  // An exponent of 0 has the slope 0 even at a = 0: 0 · a⁰ rather than 0 · a⁻¹.
  const less = g.where(g.is("Equal", exponent, 0), 0, g.sub(exponent, 1));
  return g.mul(exponent, g.pow(x, less));
}

/** d aᵇ/db = aᵇ ln a, which is taken as 0 at a = 0. */
function exponentSlope(g: Backward, x: string): string {
  return g.mul(g.y, g.op("Log", [g.where(g.is("Equal", x, 0), 1, x)]));
}

const pow: Gradient = (g) => {
  if (!isFloat(g.dtype(g.y))) return [];
  const slopes = [powerSlope, exponentSlope];
  return g.x.map((name, i) =>
    g.wants(i) && isFloat(g.dtype(name))
      ? g.cast(g.sumTo(g.mul(g.dy, (slopes[i] as typeof powerSlope)(g, a(g))), g.shape(name)), g.dtype(name))
      : undefined,
  );
};

/** d a/b = (da − y db) / b */
const div: Gradient = (g) => {
  const first = g.div(g.dy, b(g));
  return [
    g.wants(0) ? g.sumTo(first, g.shape(a(g))) : undefined,
    g.wants(1) ? g.sumTo(g.neg(g.mul(first, g.y)), g.shape(b(g))) : undefined,
  ];
};

/** Which operand is σ of the other one, where nobody asks for its own gradient: the product is then x σ(x), SiLU. */
function gateOf(g: Backward): number | undefined {
  const at = g.x.findIndex((name, i) => {
    const sigmoid = g.edit.writerOf(name);
    return sigmoid?.op === "Sigmoid" && sigmoid.domain === "" && sigmoid.inputs[0] === g.x[1 - i];
  });
  return at < 0 || g.asks(at) ? undefined : at;
}

/** d(a · b) = b da + a db; with s = σ(x), d xs = (s + y(1 − s)) dx, which spares a pass for each of the two ways. */
const mul: Gradient = (g) => {
  const gate = gateOf(g);
  if (gate === undefined)
    return broadcast(
      () => g.mul(g.dy, b(g)),
      () => g.mul(g.dy, a(g)),
    )(g);
  const s = g.x[gate] as string;
  const whole = g.mul(g.dy, g.add(s, g.mul(g.y, g.sub(1, s))));
  return gate === 1 ? [whole] : [undefined, whole];
};

/** Each element has one of two sources, which gets all of its gradient. */
const where: Gradient = (g) => {
  const [condition, yes, no] = g.x as [string, string, string];
  const part = (input: string, of: () => string) => g.sumTo(g.mul(g.dy, g.mask(of(), g.dy)), g.shape(input));
  return [
    undefined,
    g.wants(1) ? part(yes, () => condition) : undefined,
    g.wants(2) ? part(no, () => g.op("Not", [condition])) : undefined,
  ];
};

const BITS = { none: "it works on bits" };
const FLAGS = { none: "its output is true or false" };

export const binaryGradients: Gradients = {
  // d(a + b) = da + db
  Add: broadcast((g) => g.dy),
  And: FLAGS,
  BitShift: BITS,
  BitwiseAnd: BITS,
  BitwiseOr: BITS,
  BitwiseXor: BITS,
  Div: div,
  Equal: FLAGS,
  Greater: FLAGS,
  GreaterOrEqual: FLAGS,
  Less: FLAGS,
  LessOrEqual: FLAGS,
  Max: extremum,
  // d mean xᵢ = Σ dxᵢ / n
  Mean: broadcast((g) => g.mul(1 / g.x.length, g.dy)),
  Min: extremum,
  // d(a − b·k) = da − k db, where k = (a − y) / b is the whole number of times that b goes into a
  Mod: broadcast(
    (g) => g.dy,
    (g) => g.mul(g.dy, g.div(g.sub(g.y, a(g)), b(g))),
  ),
  Mul: mul,
  Or: FLAGS,
  Pow: pow,
  // d(a − b) = da − db
  Sub: broadcast(
    (g) => g.dy,
    (g) => g.neg(g.dy),
  ),
  // d Σ xᵢ = Σ dxᵢ
  Sum: broadcast((g) => g.dy),
  Where: where,
  Xor: FLAGS,
};
