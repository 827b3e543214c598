import { coefficientsOf, type Dim, divideExactly, floorDiv, isKnown, lowest, mulDim, subDim } from "../ir/dim.ts";
import type { DType } from "../ir/dtype.ts";

/** The result of arithmetic on values, or undefined where it is not certain. */
export type Value = Dim | undefined;

const INTEGERS: Readonly<Partial<Record<DType, readonly [number, number]>>> = {
  uint8: [0, 2 ** 8 - 1],
  int8: [-(2 ** 7), 2 ** 7 - 1],
  uint16: [0, 2 ** 16 - 1],
  int16: [-(2 ** 15), 2 ** 15 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [-(2 ** 63), 2 ** 63 - 1],
  uint64: [0, 2 ** 64 - 1],
  bool: [0, 1],
};

/** Whether the type counts in whole numbers (bool not among them). */
export const isInteger = (dtype: DType): boolean => dtype !== "bool" && INTEGERS[dtype] !== undefined;

/**
 * A value as its type holds it: float32 rounds. undefined where it would overflow or lose digits, where a polynomial
 * has coefficients that rounding could touch, and for types nobody computes sizes in.
 */
export function settle(dtype: DType, value: Value): Value {
  if (value === undefined) return undefined;
  if (!isKnown(value)) return settleSymbolic(dtype, value);
  const range = INTEGERS[dtype];
  if (range !== undefined) return Number.isInteger(value) && value >= range[0] && value <= range[1] ? value : undefined;
  if (dtype === "float32") return Math.fround(value);
  if (dtype === "float64") return value;
  const exact = dtype === "float16" ? 2 ** 11 : dtype === "bfloat16" ? 2 ** 8 : -1;
  return Number.isInteger(value) && Math.abs(value) <= exact ? value : undefined;
}

function settleSymbolic(dtype: DType, value: string): Value {
  const coefficients = coefficientsOf(value);
  if (dtype === "int64" || dtype === "int32" || dtype === "uint64" || dtype === "uint32")
    return coefficients.every(Number.isInteger) ? value : undefined;
  if (dtype === "float32" || dtype === "float64")
    return coefficients.every((c) => Number.isInteger(c * 4096)) ? value : undefined;
  return undefined;
}

/** Whether arithmetic on these values is arithmetic on what the type holds: integers beyond 2⁵³ have lost digits. */
const isExact = (dtype: DType, ...values: readonly Value[]): boolean =>
  !isInteger(dtype) || values.every((v) => typeof v !== "number" || Number.isSafeInteger(v));

/** The result of arithmetic on `from`, values of a type, as the type of the result holds it ({@link settle}). */
export function exact(from: DType, to: DType, value: Value, ...values: readonly Dim[]): Value {
  return isExact(from, ...values) && isExact(to, value) ? settle(to, value) : undefined;
}

/** ⌊a⌋ of a value that may have a fraction. */
export const floorOf = (a: Dim): Value => (isKnown(a) ? Math.floor(a) : floorDiv(a, 1));

/** ⌈a⌉. */
export const ceilOf = (a: Dim): Value => {
  const floor = floorOf(mulDim(a, -1));
  return floor === undefined ? undefined : negated(floor);
};

/** −a, without a negative zero. */
export const negated = (a: Dim): Dim => (isKnown(a) ? 0 - a : mulDim(a, -1));

/** Rounds half to even, as ONNX's Round. */
export const roundOf = (a: Dim): Value => {
  if (!isKnown(a)) return undefined;
  const floor = Math.floor(a);
  const rest = a - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
};

/** Towards zero, as a conversion to an integer. */
export const truncated = (a: Dim): Value =>
  isKnown(a) ? Math.trunc(a) + 0 : lowest(a) >= 0 ? floorOf(a) : settle("int64", a);

/** a / b: integers are truncated towards zero. */
export function quotient(dtype: DType, a: Dim, b: Dim): Value {
  if (isKnown(a) && isKnown(b)) {
    if (!isInteger(dtype)) return a / b;
    return b === 0 ? undefined : Math.trunc(a / b) + 0;
  }
  const even = divideExactly(a, b);
  if (even !== undefined) return even;
  if (isInteger(dtype)) return lowest(a) >= 0 && lowest(b) > 0 ? floorDiv(a, b) : undefined;
  return isKnown(b) && b !== 0 ? mulDim(a, 1 / b) : undefined;
}

/** The remainder with the sign of the divisor. */
export function remainder(a: Dim, b: Dim): Value {
  if (isKnown(a) && isKnown(b)) return b === 0 ? undefined : (((a % b) + b) % b) + 0;
  const even = divideExactly(a, b);
  if (even !== undefined) return 0;
  return lowest(b) > 0 ? subDim(a, mulDim(b, floorDiv(a, b))) : undefined;
}

/** 1 where a > b for certain, 0 where certainly not, else undefined. */
export function greater(a: Dim, b: Dim): Value {
  if (isKnown(a) && isKnown(b)) return a > b ? 1 : 0;
  if (lowest(subDim(a, b)) > 0) return 1;
  return lowest(subDim(b, a)) >= 0 ? 0 : undefined;
}

/** As {@link greater}, for a ≥ b. */
export function atLeast(a: Dim, b: Dim): Value {
  if (isKnown(a) && isKnown(b)) return a >= b ? 1 : 0;
  const less = greater(b, a);
  return less === undefined ? undefined : less === 1 ? 0 : 1;
}

/** 1 where certainly equal, 0 where certainly not (a size is at least 1, so it is not −1), else undefined. */
export function equal(a: Dim, b: Dim): Value {
  if (isKnown(a) && isKnown(b)) return a === b ? 1 : 0;
  const difference = subDim(a, b);
  if (isKnown(difference)) return difference === 0 ? 1 : 0;
  return lowest(difference) > 0 || lowest(mulDim(difference, -1)) > 0 ? 0 : undefined;
}
