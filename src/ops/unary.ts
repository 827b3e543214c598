import { type Dim, isKnown, lowest } from "../ir/dim.ts";
import type { DType } from "../ir/dtype.ts";
import { type Applied, defineOp, type Fact, type FactorRule, type OpRule } from "./define.ts";
import { broadcast, fact, mapValues, namedType, required } from "./facts.ts";
import { ceilOf, exact, floorOf, negated, roundOf, settle, truncated, type Value } from "./values.ts";

interface More {
  readonly quant?: OpRule["quant"];
  readonly factor?: FactorRule;
  /** Type of the output; default the input's. */
  readonly to?: DType;
  /** The operator on one element, where sizes are computed with it. */
  readonly value?: (a: Dim) => Value;
}

/** Elementwise functions of one tensor: same shape out as in. Inputs after the first are read as numbers. */
const elementwise = (name: string, since: number, { quant, factor, to, value }: More = {}): OpRule =>
  defineOp({
    name,
    since,
    infer: (n) => {
      const x = required(n, 0);
      const dtype = to ?? x.dtype;
      return [fact(dtype, x.shape, value && mapValues(x.shape, [x], (a) => exact(x.dtype, dtype, value(a), a)))];
    },
    axes: (n) => `...${",".repeat(Math.max(0, n.inputs.length - 1))} -> ...`,
    ...(quant && { quant }),
    ...(factor && { factor: () => factor }),
  });

/** A conversion of the first input to `to`; opset 19 and later may saturate, which only matters to 8-bit floats. */
const converted = (n: Applied, to: DType): Fact => {
  const x = required(n, 0);
  return fact(
    to,
    x.shape,
    mapValues(x.shape, [x], (a) => convert(a, to)),
  );
};

function convert(a: Dim, to: DType): Value {
  if (to === "bool") return isKnown(a) ? (a === 0 ? 0 : 1) : lowest(a) > 0 ? 1 : undefined;
  if (to.startsWith("float") || to === "bfloat16") return settle(to, a);
  const whole = truncated(a);
  return whole === undefined ? undefined : settle(to, whole);
}

const identity = (n: Applied): Fact | undefined => (n.inputs[0] === undefined ? undefined : required(n, 0));

/** The bounds of Clip, infinite where there are none; NaN where they are not known. */
const boundsOf = (n: Applied): [number, number] => {
  const bound = (index: number, none: number): number => {
    if (!n.node.inputs[index]) return none;
    const value = n.inputs[index]?.value?.[0];
    return isNumber(value) ? value : Number.NaN;
  };
  return [bound(1, -Infinity), bound(2, Infinity)];
};

const clamped = (n: Applied): Fact => {
  const x = required(n, 0);
  const [low, high] = [n.inputs[1]?.value?.[0], n.inputs[2]?.value?.[0]];
  const unbounded = (index: number) => !n.node.inputs[index];
  const known = (unbounded(1) || isNumber(low)) && (unbounded(2) || isNumber(high));
  const clip = (a: Dim): Value => {
    if (isKnown(a)) return Math.min(Math.max(a, isNumber(low) ? low : a), isNumber(high) ? high : Infinity);
    return (isNumber(low) && lowest(a) < low) || isNumber(high) ? undefined : a;
  };
  return fact(
    x.dtype,
    x.shape,
    known ? mapValues(x.shape, [x], (a) => exact(x.dtype, x.dtype, clip(a), a)) : undefined,
  );
};

const isNumber = (v: Dim | undefined): v is number => typeof v === "number";

export const unary: readonly OpRule[] = [
  elementwise("Abs", 6, { value: (a) => (isKnown(a) ? Math.abs(a) : lowest(a) >= 0 ? a : undefined) }),
  elementwise("Acos", 7),
  elementwise("Acosh", 9),
  elementwise("Asin", 7),
  elementwise("Asinh", 9),
  elementwise("Atan", 7),
  elementwise("Atanh", 9),
  defineOp({
    name: "BitCast",
    since: 26,
    infer: (n) => [fact(namedType(n, "to", "float32"), required(n, 0).shape)],
    axes: () => "... -> ...",
  }),
  elementwise("BitwiseNot", 18),
  defineOp({
    name: "Cast",
    since: 6,
    infer: (n) => [converted(n, namedType(n, "to", "float32"))],
    axes: () => "... -> ...",
  }),
  defineOp({
    name: "CastLike",
    since: 15,
    infer: (n) => [converted(n, required(n, 1).dtype)],
    axes: () => "..., -> ...",
  }),
  elementwise("Ceil", 6, { value: ceilOf }),
  elementwise("Celu", 12),
  defineOp({
    name: "Clip",
    since: 11,
    infer: (n) => [clamped(n)],
    axes: (n) => `...${",".repeat(n.inputs.length - 1)} -> ...`,
    quant: { kind: "clamp" },
    bounds: boundsOf,
    factor: (n) => (boundsOf(n).every((bound) => bound === 0 || Math.abs(bound) === Infinity) ? "first" : undefined),
  }),
  elementwise("Cos", 7),
  elementwise("Cosh", 9),
  defineOp({
    name: "Dropout",
    since: 12,
    infer: (n) => {
      const x = required(n, 0);
      const training = n.inputs[2]?.value?.[0] ?? (n.node.inputs[2] ? undefined : 0);
      return [training === 0 ? x : fact(x.dtype, x.shape), fact("bool", x.shape)];
    },
    axes: (n) => `...${",".repeat(n.inputs.length - 1)} -> ...${",...".repeat(n.outputs - 1)}`,
    quant: { kind: "transparent" },
    deterministic: false,
  }),
  elementwise("Elu", 6),
  elementwise("Erf", 9),
  elementwise("Exp", 6),
  elementwise("Floor", 6, { value: floorOf }),
  elementwise("Gelu", 20),
  elementwise("HardSigmoid", 6),
  elementwise("HardSwish", 14),
  defineOp({
    name: "Identity",
    since: 1,
    infer: (n) => [identity(n)],
    axes: () => "... -> ...",
    quant: { kind: "transparent" },
  }),
  elementwise("IsInf", 10, { to: "bool" }),
  elementwise("IsNaN", 9, { to: "bool" }),
  elementwise("LeakyRelu", 6, { quant: { kind: "arithmetic" }, factor: "first" }),
  elementwise("Log", 6),
  elementwise("Mish", 18),
  elementwise("Neg", 6, { value: negated, factor: "first" }),
  elementwise("Not", 1, { value: (a) => (isKnown(a) ? 1 - a : undefined) }),
  defineOp({
    name: "PRelu",
    since: 7,
    infer: (n) => {
      const x = required(n, 0);
      const shape = x.shape && n.inputs[1]?.shape ? broadcast(n, [x.shape, n.inputs[1].shape]) : undefined;
      if (shape && x.shape && shape.length > x.shape.length)
        n.fail(
          `the slope has rank ${shape.length}, the input rank ${x.shape.length}.`,
          "A slope is broadcast to the input.",
        );
      return [fact(x.dtype, x.shape)];
    },
    axes: () => "...,... -> ...",
    factor: () => "first",
  }),
  elementwise("Reciprocal", 6, { value: (a) => (isKnown(a) && a !== 0 ? 1 / a : undefined) }),
  elementwise("Relu", 6, {
    factor: "first",
    quant: { kind: "clamp" },
    value: (a) => (isKnown(a) ? Math.max(a, 0) : lowest(a) >= 0 ? a : undefined),
  }),
  elementwise("Round", 11, { value: roundOf }),
  elementwise("Selu", 6),
  elementwise("Shrink", 9),
  elementwise("Sigmoid", 6, { quant: { kind: "range", range: [0, 1] } }),
  elementwise("Sign", 9, { value: (a) => (isKnown(a) ? Math.sign(a) + 0 : lowest(a) > 0 ? 1 : undefined) }),
  elementwise("Sin", 7),
  elementwise("Sinh", 9),
  elementwise("Softplus", 1),
  elementwise("Softsign", 1),
  elementwise("Sqrt", 6, { value: (a) => (isKnown(a) && a >= 0 ? Math.sqrt(a) : undefined) }),
  elementwise("Swish", 24),
  elementwise("Tan", 7),
  elementwise("Tanh", 6),
  elementwise("ThresholdedRelu", 10),
];
