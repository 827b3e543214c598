import { MinnowError } from "../errors.ts";
import { float } from "../ir/attrs.ts";
import { isFloat } from "../ir/dtype.ts";
import { titleOf } from "../ir/walk.ts";
import type { Backward, Gradient, Gradients } from "./gradient.ts";

/** dx = dy · f′(x), for functions of one element. */
const chain =
  (slope: (g: Backward, x: string) => string): Gradient =>
  (g) => [g.mul(g.dy, slope(g, g.x[0] as string))];

/** dx = dy / d, for functions of one element. */
const over =
  (divisor: (g: Backward, x: string) => string): Gradient =>
  (g) => [g.div(g.dy, divisor(g, g.x[0] as string))];

/** 1 where the comparison holds, else 0. Cast and Mul take two thirds of the time of Where, in ONNX Runtime on a CPU. */
const mask = (g: Backward, comparison: string, a: string, b: string | number): string =>
  g.mask(g.is(comparison, a, b), a);

/**
 * [y > 0] of what is not negative: HardSigmoid, so steep that it is 1 from the smallest normal number on. One pass beside the
 * two of a comparison and a Cast. It overflows on the way, which WebGPU need not do well, and there is none for doubles.
 */
const jump = (g: Backward, y: string): string =>
  g.portable || g.dtype(y) !== "float32"
    ? mask(g, "Greater", y, 0)
    : g.op("HardSigmoid", [y], { alpha: float(3e38), beta: float(0) });

/** The slope of γ(α(eˣ − 1)) below 0 and γ · x above: γα eˣ, and γ. */
function elu(g: Backward, x: string, alpha: number, gamma = 1): string {
  if (alpha === 1) return g.mul(gamma, g.op("Exp", [g.op("Min", [x, 0])]));
  return g.where(g.is("Greater", x, 0), gamma, g.mul(gamma * alpha, g.op("Exp", [x])), g.dtype(x));
}

/** A change of type passes the gradient back in the type it came from; to or from integers nothing flows. */
const converted: Gradient = (g) => {
  const from = g.dtype(g.x[0] as string);
  return [isFloat(from) && isFloat(g.dtype(g.y)) ? g.cast(g.dy, from) : undefined];
};

/** d clip(x) = [low < y < high] dx + [y = low] d low + [y = high] d high; at a bound the bound has it, as in ReLU. */
const clip: Gradient = (g) => {
  const [, low, high] = g.x;
  const inside = [low && g.is("Greater", g.y, low), high && g.is("Less", g.y, high)].filter((c) => !!c) as string[];
  const both = inside.length === 2 ? [g.op("And", inside)] : inside;
  const at = (input: number, comparison: string) =>
    g.wants(input) && g.x[input]
      ? g.sumTo(g.mul(g.dy, mask(g, comparison, g.y, g.x[input] as string)), g.shape(g.x[input] as string))
      : undefined;
  return [both[0] ? g.mul(g.dy, g.mask(both[0], g.y)) : g.dy, at(1, "LessOrEqual"), at(2, "GreaterOrEqual")];
};

/** y = x · mask / (1 − ratio) in training: dx = dy · mask / (1 − ratio). */
const dropout: Gradient = (g) => {
  const training = g.x[2] ? g.numbers(2)?.[0] : 0;
  if (training === 0) return [g.dy];
  const kept = g.ys[1];
  if (!kept)
    throw new MinnowError("A Dropout in training mode gives its output only; the gradient needs its mask too.", {
      code: "train/dropout-mask",
      at: titleOf(g.node),
      mend: "Give the node its second output.",
    });
  const scale = g.x[1] ? g.div(1, g.sub(1, g.cast(g.x[1], g.dtype(g.dy)))) : g.scalar(2, g.dtype(g.dy));
  const factor = training === undefined ? g.where(g.x[2] as string, scale, 1) : scale;
  return [g.mul(g.mul(g.dy, g.mask(kept, g.dy)), factor)];
};

/**
 * With φ and Φ the density and distribution of the normal: d xΦ(x) = Φ + xφ, where with u = x/√2 Φ = ½ + ½ erf u, which
 * HardSigmoid says in one pass, and φ = exp(−x²/2)/√2π. Of the tanh form, which is xσ(u): s(1 + (x − y)u′).
 */
const gelu = chain((g, x) => {
  if (g.text("approximate", "none") === "none") {
    const erf = g.op("Erf", [g.mul(x, Math.SQRT1_2)]);
    const distribution = g.op("HardSigmoid", [erf], { alpha: float(0.5), beta: float(0.5) });
    const bell = g.op("Exp", [g.mul(x, g.mul(-0.5, x))]);
    return g.add(distribution, g.mul(1 / Math.sqrt(2 * Math.PI), g.mul(x, bell)));
  }
  const [a, b] = [2 * Math.sqrt(2 / Math.PI), 2 * Math.sqrt(2 / Math.PI) * 0.044715];
  const square = g.mul(x, x);
  const s = g.op("Sigmoid", [g.mul(x, g.add(a, g.mul(b, square)))]);
  return g.mul(s, g.add(1, g.mul(g.sub(x, g.y), g.add(a, g.mul(3 * b, square)))));
});

/** With u = eˣ and n = u(u + 2): tanh(softplus x) = n / (n + 2) = t, and d x·t = t + x σ(x)(1 − t²). From 20 on t is 1. */
const mish = chain((g, x) => {
  const u = g.op("Exp", [g.op("Min", [x, 20])]);
  const n = g.mul(u, g.add(u, 2));
  const t = g.div(n, g.add(n, 2));
  return g.add(t, g.mul(g.mul(x, g.op("Sigmoid", [x])), g.sub(1, g.mul(t, t))));
});

/** d prelu = [x > 0] dx + [x ≤ 0](slope dx + x d slope). */
const prelu: Gradient = (g) => {
  const [x, slope] = g.x as [string, string];
  return [
    g.where(g.is("Greater", x, 0), g.dy, g.mul(g.dy, slope)),
    g.wants(1) ? g.sumTo(g.mul(g.dy, g.op("Min", [x, 0])), g.shape(slope)) : undefined,
  ];
};

const STEPS = { none: "it is constant between jumps" };
const FLAGS = { none: "its output is true or false" };
const BITS = { none: "it works on bits" };

export const unaryGradients: Gradients = {
  // d|x| = sign x
  Abs: chain((g, x) => g.op("Sign", [x])),
  // −1 / √(1 − x²)
  Acos: over((g, x) => g.neg(g.op("Sqrt", [g.sub(1, g.mul(x, x))]))),
  // 1 / √(x² − 1)
  Acosh: over((g, x) => g.op("Sqrt", [g.sub(g.mul(x, x), 1)])),
  // 1 / √(1 − x²)
  Asin: over((g, x) => g.op("Sqrt", [g.sub(1, g.mul(x, x))])),
  // 1 / √(x² + 1)
  Asinh: over((g, x) => g.op("Sqrt", [g.add(g.mul(x, x), 1)])),
  // 1 / (1 + x²)
  Atan: over((g, x) => g.add(1, g.mul(x, x))),
  // 1 / (1 − x²)
  Atanh: over((g, x) => g.sub(1, g.mul(x, x))),
  BitCast: BITS,
  BitwiseNot: BITS,
  Cast: converted,
  CastLike: converted,
  Ceil: STEPS,
  // 1 above 0, e^(x/α) below
  Celu: chain((g, x) => g.op("Exp", [g.mul(1 / g.float("alpha", 1), g.op("Min", [x, 0]))])),
  Clip: clip,
  // −sin x
  Cos: chain((g, x) => g.neg(g.op("Sin", [x]))),
  // sinh x
  Cosh: chain((g, x) => g.op("Sinh", [x])),
  Dropout: dropout,
  // 1 above 0, α eˣ below
  Elu: chain((g, x) => elu(g, x, g.float("alpha", 1))),
  // 2/√π e^(−x²)
  Erf: chain((g, x) => g.mul(2 / Math.sqrt(Math.PI), g.op("Exp", [g.neg(g.mul(x, x))]))),
  // eˣ
  Exp: chain((g) => g.y),
  Floor: STEPS,
  Gelu: gelu,
  // α [0 < y < 1]
  HardSigmoid: chain((g) => {
    const inside = g.op("And", [g.is("Greater", g.y, 0), g.is("Less", g.y, 1)]);
    return g.mul(g.float("alpha", 0.2), g.mask(inside, g.y));
  }),
  // with h = clip(x/6 + ½, 0, 1): d x·h = h + x/6 [|x| < 3]
  HardSwish: chain((g, x) => {
    const h = g.op("HardSigmoid", [x], { alpha: float(1 / 6), beta: float(0.5) });
    return g.add(h, g.mul(1 / 6, g.mul(x, mask(g, "Less", g.op("Abs", [x]), 3))));
  }),
  Identity: (g) => [g.dy],
  IsInf: FLAGS,
  IsNaN: FLAGS,
  // 1 above 0, α below
  LeakyRelu: chain((g, x) => {
    const alpha = g.float("alpha", 0.01);
    return g.add(alpha, g.mul(1 - alpha, mask(g, "Greater", x, 0)));
  }),
  // 1 / x
  Log: over((_, x) => x),
  Mish: mish,
  Neg: (g) => [g.neg(g.dy)],
  Not: FLAGS,
  PRelu: prelu,
  // −1/x² = −y²
  Reciprocal: chain((g) => g.neg(g.mul(g.y, g.y))),
  // d max(x, 0) = [y > 0]
  Relu: chain((g) => jump(g, g.y)),
  Round: STEPS,
  // γ above 0, γα eˣ below
  Selu: chain((g, x) => elu(g, x, g.float("alpha", 1.6732632), g.float("gamma", 1.050701))),
  // [|x| > λ]
  Shrink: chain((g, x) => mask(g, "Greater", g.op("Abs", [x]), g.float("lambd", 0.5))),
  // σ(1 − σ)
  Sigmoid: chain((g) => g.mul(g.y, g.sub(1, g.y))),
  Sign: STEPS,
  // cos x
  Sin: chain((g, x) => g.op("Cos", [x])),
  // cosh x
  Sinh: chain((g, x) => g.op("Cosh", [x])),
  // σ(x)
  Softplus: chain((g, x) => g.op("Sigmoid", [x])),
  // 1 / (1 + |x|)²
  Softsign: over((g, x) => {
    const one = g.add(1, g.op("Abs", [x]));
    return g.mul(one, one);
  }),
  // 1 / (2√x)
  Sqrt: over((g) => g.mul(2, g.y)),
  // with s = σ(αx): d xs = s(1 + α(x − y))
  Swish: chain((g, x) => {
    const alpha = g.float("alpha", 1);
    const s = g.op("Sigmoid", [g.mul(alpha, x)]);
    return g.mul(s, g.add(1, g.mul(alpha, g.sub(x, g.y))));
  }),
  // 1 + tan² x
  Tan: chain((g) => g.add(1, g.mul(g.y, g.y))),
  // d tanh x = 1 − tanh² x
  Tanh: chain((g) => g.sub(1, g.mul(g.y, g.y))),
  // [x > α]
  ThresholdedRelu: chain((g, x) => mask(g, "Greater", x, g.float("alpha", 1))),
};
