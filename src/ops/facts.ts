import { addDim, type Dim, isKnown, maxDim, sameDim, UNKNOWN } from "../ir/dim.ts";
import { type DType, dtypeOf } from "../ir/dtype.ts";
import { smallValues, type Tensor } from "../ir/tensor.ts";
import { type Applied, type Fact, MAX_VALUES } from "./define.ts";

/** A fact; an undefined shape or value is left out. */
export const fact = (dtype: DType, shape?: readonly Dim[], value?: readonly Dim[]): Fact => ({
  dtype,
  ...(shape && { shape }),
  ...(value && value.length <= MAX_VALUES && { value }),
});

/** All that is known of a constant. */
export function factOf(tensor: Tensor): Fact {
  const { dtype, shape } = tensor;
  const value = smallValues(tensor);
  return { dtype, shape, ...(value && value.length <= MAX_VALUES && { value }) };
}

/** The fact of a required input; throws where it is left out. An input of which nothing is known counts as float32. */
export function required(n: Applied, index: number): Fact {
  const found = n.inputs[index];
  if (found !== undefined) return found;
  if (!n.node.inputs[index]) n.fail(`input ${index} is missing.`, "The operator requires it.");
  return { dtype: "float32" };
}

/** The type an attribute names by its number in ONNX, or the fallback where the attribute is absent. */
export function namedType(n: Applied, attribute: string, fallback: DType): DType {
  if (!n.has(attribute)) return fallback;
  const code = n.int(attribute, 0);
  return (
    dtypeOf(code) ??
    n.fail(`its attribute ${attribute} is ${code}, which is no data type.`, "ONNX numbers them from 1.")
  );
}

/** An axis that may count from the end, as an index from 0; throws where the rank has no such axis. */
export function axisOf(n: Applied, axis: number, rank: number): number {
  const index = axis < 0 ? axis + rank : axis;
  if (index < 0 || index >= Math.max(rank, 1)) n.fail(`axis ${axis} does not exist in a tensor of rank ${rank}.`);
  return index;
}

/** The shape two or more shapes broadcast to (numpy rules, as ONNX), undefined when a rank is unknown. */
export function broadcast(n: Applied, shapes: readonly (readonly Dim[] | undefined)[]): Dim[] | undefined {
  if (shapes.some((s) => s === undefined)) return undefined;
  const known = shapes as readonly (readonly Dim[])[];
  const rank = Math.max(0, ...known.map((s) => s.length));
  return Array.from({ length: rank }, (_, axis) => {
    let size: Dim = 1;
    for (const shape of known) {
      const other = shape[axis - rank + shape.length] ?? 1;
      if (other === 1 || sameDim(size, other)) continue;
      if (size === 1) size = other;
      else if (isKnown(size) && isKnown(other))
        n.fail(
          `shapes ${known.map((s) => `[${s}]`).join(" and ")} do not broadcast: ${size} against ${other} on axis ${axis - rank}.`,
        );
      // A known size above 1 decides: the other must be it, or 1.
      else if (!isKnown(size)) size = isKnown(other) ? other : maxOf(size, other);
    }
    return size;
  });
}

const maxOf = (a: Dim, b: Dim): Dim => (a === UNKNOWN || b === UNKNOWN ? UNKNOWN : maxDim(a, b));

/** `total` of sizes, none unknown. */
export const sumOf = (dims: readonly Dim[]): Dim => dims.reduce(addDim, 0);

/** The value of an input as plain numbers, or undefined where any of them is symbolic or unknown. */
export function numbersOf(f: Fact | undefined): readonly number[] | undefined {
  return f?.value?.every((v): v is number => isKnown(v)) ? (f.value as readonly number[]) : undefined;
}

/** Elementwise on values, broadcasting a single element; undefined where a value is missing. */
export function mapValues(
  shape: readonly Dim[] | undefined,
  inputs: readonly (Fact | undefined)[],
  compute: (...values: Dim[]) => Dim | undefined,
): Dim[] | undefined {
  if (shape === undefined || !shape.every(isKnown)) return undefined;
  const count = (shape as number[]).reduce((a, b) => a * b, 1);
  if (count > MAX_VALUES) return undefined;
  const out: Dim[] = [];
  for (let i = 0; i < count; i++) {
    const values: Dim[] = [];
    for (const f of inputs) {
      const value = f?.value?.[f.value.length === 1 ? 0 : sourceIndex(i, shape as number[], f.shape ?? [])];
      if (value === undefined || value === UNKNOWN) return undefined;
      values.push(value);
    }
    const result = compute(...values);
    if (result === undefined || result === UNKNOWN || (isKnown(result) && Number.isNaN(result))) return undefined;
    out.push(result);
  }
  return out;
}

/** The flat index in an operand of `from` shape that element `index` of the broadcast `shape` reads. */
function sourceIndex(index: number, shape: readonly number[], from: readonly Dim[]): number {
  let stride = 1;
  let at = 0;
  for (let axis = shape.length - 1, own = from.length - 1; axis >= 0; axis--, own--) {
    const size = shape[axis] as number;
    const coordinate = index % size;
    index = Math.floor(index / size);
    const length = (from[own] as number | undefined) ?? 1;
    if (own >= 0) {
      if (length !== 1) at += coordinate * stride;
      stride *= length;
    }
  }
  return at;
}
