import { type Dim, isKnown, productOf, UNKNOWN } from "../ir/dim.ts";
import { type Applied, type FrozenAxes, MAX_VALUES } from "./define.ts";
import { numbersOf } from "./facts.ts";

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** Ranks beyond this are nobody's: what asks for one is refused. */
const MAX_RANK = 64;

/** Different letters for `count` axes, from the given index on. */
export const lettersFor = (count: number, from = 0): string[] => [...LETTERS.slice(from, from + count)];

/** Whether there are letters for that many axes. */
export const nameable = (count: number): boolean => count <= LETTERS.length;

/** Why axes cannot be followed, beginning with the operator's name. */
export const frozen = (n: Applied, why: string): FrozenAxes => ({ frozen: `${n.node.op} ${why}` });

/** Empty operands for the inputs from this index on: they are read as numbers. */
export const numbersFrom = (n: Applied, index: number): string => ",".repeat(Math.max(0, n.inputs.length - index));

/** That many sizes of which nothing is known; undefined where the count itself is not known. */
export function unknowns(n: Applied, count: Dim | undefined): Dim[] | undefined {
  if (count === undefined || !isKnown(count)) return undefined;
  if (!Number.isInteger(count) || count < 0 || count > MAX_RANK) n.fail(`a tensor cannot have ${count} axes.`);
  return Array.from({ length: count }, () => UNKNOWN);
}

/** The sizes an input holds as its numbers; unknown ones where only their count is known; undefined where not even that. */
export function sizesIn(n: Applied, index: number): readonly Dim[] | undefined {
  const input = n.inputs[index];
  if (input?.value === undefined) return unknowns(n, input?.shape?.[0]);
  if (input.value.some((v) => isKnown(v) && !Number.isInteger(v))) n.fail(`input ${index} holds [${input.value}].`);
  return unknowns(n, input.value.length) && input.value;
}

/** The numbers of an optional input: [] where it is left out, undefined where they are not known. */
export function optionalNumbers(n: Applied, index: number): readonly number[] | undefined {
  return n.node.inputs[index] ? numbersOf(n.inputs[index]) : [];
}

/** The number of elements, where it is known and small enough that their values are followed. */
export function smallCount(shape: readonly Dim[] | undefined): number | undefined {
  const count = shape === undefined ? UNKNOWN : productOf(shape);
  return isKnown(count) && count <= MAX_VALUES ? count : undefined;
}

/**
 * The elements of a tensor of `shape`, each the element of `value` (a tensor of shape `from`) at the coordinates that
 * `source` gives for its own. undefined where a shape or the value is not known.
 */
export function picked(
  shape: readonly Dim[] | undefined,
  value: readonly Dim[] | undefined,
  from: readonly Dim[] | undefined,
  source: (at: readonly number[]) => readonly number[],
): Dim[] | undefined {
  const count = smallCount(shape);
  if (count === undefined || value === undefined || !from?.every(isKnown)) return undefined;
  return Array.from({ length: count }, (_, i) => {
    const at = source(coordinates(i, shape as readonly number[]));
    return value[flat(at, from as readonly number[])] ?? UNKNOWN;
  });
}

/** The coordinates of a flat index. */
export function coordinates(index: number, shape: readonly number[]): number[] {
  const at = new Array<number>(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] as number;
    at[axis] = index % size;
    index = Math.floor(index / size);
  }
  return at;
}

/** The flat index of coordinates. */
export const flat = (at: readonly number[], shape: readonly number[]): number =>
  at.reduce((index, coordinate, axis) => index * (shape[axis] as number) + coordinate, 0);
