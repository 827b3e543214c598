import { addDim, type Dim, isKnown, maxDim, minDim, mulDim, subDim } from "../ir/dim.ts";
import type { DType } from "../ir/dtype.ts";
import { type Applied, defineOp, type Fact, type FactorRule, type OpRule } from "./define.ts";
import { broadcast, fact, mapValues, required } from "./facts.ts";
import { atLeast, equal, exact, greater, isInteger, quotient, remainder, type Value } from "./values.ts";

/** The operator on two elements of the given type. */
type Compute = (a: Dim, b: Dim, dtype: DType, n: Applied) => Value;

interface More {
  readonly quant?: OpRule["quant"];
  readonly factor?: FactorRule;
  readonly square?: OpRule["square"];
  /** Type of the output; default that of the inputs. */
  readonly to?: DType;
  readonly value?: Compute;
}

/** The facts of two or more tensors that are broadcast against each other; a missing type is that of another input. */
const operands = (n: Applied): readonly (Fact | undefined)[] =>
  n.node.inputs.map((name, i) => (name === "" ? required(n, i) : n.inputs[i]));

/** They pass factors, and are not linear. */
const EXTREMES: ReadonlySet<string> = new Set(["Max", "Min"]);

/** Elementwise functions of several tensors, broadcast; with more than two they fold from the left. */
const broadcasting = (name: string, since: number, { quant, factor, square, to, value }: More = {}): OpRule =>
  defineOp({
    name,
    since,
    infer: (n) => {
      const inputs = operands(n);
      const dtype = inputs.find((f) => f !== undefined)?.dtype ?? "float32";
      const shape = broadcast(
        n,
        inputs.map((f) => f?.shape),
      );
      const fold = (...values: Dim[]) =>
        values
          .slice(1)
          .reduce<Value>(
            (a, b) =>
              a === undefined || value === undefined
                ? undefined
                : exact(dtype, to ?? dtype, value(a, b, dtype, n), a, b),
            values[0],
          );
      return [fact(to ?? dtype, shape, value && mapValues(shape, inputs, fold))];
    },
    axes: (n) => `${n.inputs.map(() => "...").join(",")} -> ...`,
    ...(quant && { quant }),
    ...(factor && { factor: () => factor, linear: !EXTREMES.has(name) }),
    ...(square && { square }),
  });

const arithmetic = { kind: "arithmetic" } as const;

/** On numbers only, and of whole ones only. */
const onIntegers =
  (compute: (a: bigint, b: bigint) => bigint): Compute =>
  (a, b) =>
    Number.isSafeInteger(a) && Number.isSafeInteger(b) ? Number(compute(BigInt(a), BigInt(b))) : undefined;

const onFlags =
  (compute: (a: number, b: number) => number): Compute =>
  (a, b) =>
    isKnown(a) && isKnown(b) ? compute(a, b) : undefined;

const modulo: Compute = (a, b, dtype, n) => {
  if (isInteger(dtype) && n.int("fmod", 0) === 0) return remainder(a, b);
  return isKnown(a) && isKnown(b) && b !== 0 ? (a % b) + 0 : undefined;
};

/** Powers that come out exactly: roots and fractions are left to the runtime. */
const power: Compute = (a, b) => {
  if (b === 1) return a;
  if (b === 2) return mulDim(a, a);
  if (!isKnown(a) || !isKnown(b) || b < 0) return undefined;
  const result = a ** b;
  return Number.isInteger(result) && Math.abs(result) < 2 ** 24 ? result : undefined;
};

/** Where each element comes from one of two tensors; the other one's value need not be known. */
const where = defineOp({
  name: "Where",
  since: 9,
  infer: (n) => {
    const [condition, x, y] = operands(n);
    const dtype = (x ?? y)?.dtype ?? "float32";
    const shape = broadcast(n, [condition?.shape, x?.shape, y?.shape]);
    const chosen = condition?.value?.every((v) => v === condition.value?.[0]) ? condition.value[0] : undefined;
    if (chosen !== undefined)
      return [
        fact(
          dtype,
          shape,
          mapValues(shape, [chosen === 0 ? y : x], (v) => v),
        ),
      ];
    const pick = (c: Dim, a: Dim, b: Dim): Value => (c === 1 ? a : c === 0 ? b : a === b ? a : undefined);
    return [fact(dtype, shape, mapValues(shape, [condition, x, y], pick))];
  },
  axes: () => "...,...,... -> ...",
  quant: { kind: "arithmetic", inputs: [1, 2] },
});

export const binary: readonly OpRule[] = [
  broadcasting("Add", 7, { quant: arithmetic, factor: "all", value: addDim }),
  broadcasting("And", 7, { value: onFlags((a, b) => a & b) }),
  broadcasting("BitShift", 11),
  broadcasting("BitwiseAnd", 18, { value: onIntegers((a, b) => a & b) }),
  broadcasting("BitwiseOr", 18, { value: onIntegers((a, b) => a | b) }),
  broadcasting("BitwiseXor", 18, { value: onIntegers((a, b) => a ^ b) }),
  broadcasting("Div", 7, { factor: "first", value: (a, b, dtype) => quotient(dtype, a, b) }),
  broadcasting("Equal", 7, { to: "bool", value: equal }),
  broadcasting("Greater", 7, { to: "bool", value: greater }),
  broadcasting("GreaterOrEqual", 12, { to: "bool", value: atLeast }),
  broadcasting("Less", 7, { to: "bool", value: (a, b) => greater(b, a) }),
  broadcasting("LessOrEqual", 12, { to: "bool", value: (a, b) => atLeast(b, a) }),
  broadcasting("Max", 8, { factor: "all", value: maxDim }),
  broadcasting("Mean", 8, { factor: "all" }),
  broadcasting("Min", 8, { factor: "all", value: minDim }),
  broadcasting("Mod", 10, { value: modulo }),
  broadcasting("Mul", 7, {
    quant: arithmetic,
    factor: "any",
    square: ({ node: { inputs } }) => inputs[0] === inputs[1],
    value: mulDim,
  }),
  broadcasting("Or", 7, { value: onFlags((a, b) => a | b) }),
  broadcasting("Pow", 7, { square: (n) => n.inputs[1]?.value?.every((v) => v === 2) === true, value: power }),
  broadcasting("Sub", 7, { factor: "all", value: subDim }),
  broadcasting("Sum", 8, { factor: "all", value: addDim }),
  where,
  broadcasting("Xor", 7, { value: onFlags((a, b) => a ^ b) }),
];
