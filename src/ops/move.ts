import { ceilDiv, type Dim, divideExactly, isKnown, mulDim, sameDim, subDim, UNKNOWN } from "../ir/dim.ts";
import {
  type Applied,
  type AxesRule,
  defineOp,
  type Fact,
  type FrozenAxes,
  type Mapped,
  type OpRule,
} from "./define.ts";
import {
  coordinates,
  flat,
  frozen,
  lettersFor,
  nameable,
  numbersFrom,
  picked,
  sizesIn,
  smallCount,
} from "./elements.ts";
import { axisOf, fact, numbersOf, required, sumOf } from "./facts.ts";

const transparent = { kind: "transparent" } as const;

const transpose = defineOp({
  name: "Transpose",
  since: 1,
  infer: (n) => {
    const x = required(n, 0);
    const perm = permOf(n, x.shape?.length);
    if (x.shape === undefined || perm === undefined) return [fact(x.dtype)];
    const shape = perm.map((axis) => x.shape?.[axis] ?? UNKNOWN);
    const source = (at: readonly number[]) => perm.map((_, axis) => at[perm.indexOf(axis)] as number);
    return [fact(x.dtype, shape, picked(shape, x.value, x.shape, source))];
  },
  axes: (n) => {
    const perm = permOf(n, n.inputs[0]?.shape?.length);
    if (perm === undefined || !nameable(perm.length)) return frozen(n, "moves axes of an unknown rank");
    const letters = lettersFor(perm.length);
    return `${letters.join("")} -> ${perm.map((axis) => letters[axis]).join("")}`;
  },
  quant: transparent,
});

/** The input axis each output axis is; reversed by default. */
function permOf(n: Applied, rank: number | undefined): readonly number[] | undefined {
  const perm = n.ints("perm");
  if (rank === undefined) return perm;
  if (perm === undefined) return Array.from({ length: rank }, (_, i) => rank - 1 - i);
  if (perm.length !== rank || perm.some((_, i) => !perm.includes(i)))
    n.fail(`its perm [${perm}] does not order the axes of a tensor of rank ${rank}.`);
  return perm;
}

const concat = defineOp({
  name: "Concat",
  since: 4,
  infer: (n) => {
    const inputs = n.node.inputs.map((_, i) => n.inputs[i]);
    const dtype = inputs.find((f) => f !== undefined)?.dtype ?? "float32";
    const rank = inputs.find((f) => f?.shape !== undefined)?.shape?.length;
    if (rank === undefined) return [fact(dtype)];
    const axis = axisOf(n, n.int("axis", 0), rank);
    const shape = Array.from({ length: rank }, (_, i) =>
      i === axis ? sumOf(inputs.map((f) => f?.shape?.[i] ?? UNKNOWN)) : commonSize(n, inputs, rank, i),
    );
    return [fact(dtype, shape, joined(shape, inputs, axis))];
  },
  axes: (n) => {
    const rank = n.results[0]?.shape?.length;
    const count = n.inputs.length;
    if (rank === undefined || !nameable(rank + count)) return frozen(n, "joins too many axes");
    const axis = axisOf(n, n.int("axis", 0), rank);
    const [letters, parts] = [lettersFor(rank), lettersFor(count, rank)];
    const at = (term: string): string => letters.map((letter, i) => (i === axis ? term : letter)).join("");
    return `${parts.map(at).join(",")} -> ${at(count === 1 ? (parts[0] as string) : `(${parts.join("+")})`)}`;
  },
  factor: () => "all",
  quant: { kind: "arithmetic" },
});

/** The size all inputs have on an axis they are not joined along. */
function commonSize(n: Applied, inputs: readonly (Fact | undefined)[], rank: number, axis: number): Dim {
  let size: Dim = UNKNOWN;
  for (const { shape } of inputs.filter((f) => f !== undefined)) {
    if (shape === undefined) continue;
    const other = shape[axis] ?? UNKNOWN;
    if (shape.length !== rank || (isKnown(size) && isKnown(other) && size !== other))
      n.fail(
        `${inputs.map((f) => `[${f?.shape ?? UNKNOWN}]`).join(" and ")} cannot be joined along axis ${n.int("axis", 0)}.`,
        "All other sizes must be equal.",
      );
    if (!isKnown(size) && other !== UNKNOWN) size = isKnown(other) || size === UNKNOWN ? other : size;
  }
  return size;
}

/** The value of joined tensors; elements of those that have none are unknown. */
function joined(shape: readonly Dim[], inputs: readonly (Fact | undefined)[], axis: number): Dim[] | undefined {
  const count = smallCount(shape);
  const sized = inputs.every((f) => f?.shape?.length === shape.length && f.shape.every(isKnown));
  if (count === undefined || !sized || inputs.every((f) => f?.value === undefined)) return undefined;
  return Array.from({ length: count }, (_, i) => {
    const at = coordinates(i, shape as number[]);
    for (const f of inputs) {
      const length = f?.shape?.[axis] as number;
      if ((at[axis] as number) < length) return f?.value?.[flat(at, f.shape as number[])] ?? UNKNOWN;
      at[axis] = (at[axis] as number) - length;
    }
    return UNKNOWN;
  });
}

/** Sizes come from the second input, or are equal, the last one smaller. */
const split = defineOp({
  name: "Split",
  since: 13,
  infer: (n) => {
    const x = required(n, 0);
    const { shape } = x;
    if (shape === undefined) return Array.from({ length: n.outputs }, () => fact(x.dtype));
    const axis = axisOf(n, n.int("axis", 0), shape.length);
    const sizes = partsOf(n, shape[axis] ?? UNKNOWN);
    return sizes.map((size, part) => {
      const own = shape.map((d, i) => (i === axis ? size : d));
      const offset = sumOf(sizes.slice(0, part));
      const source = (at: readonly number[]) => at.map((c, i) => (i === axis ? c + (offset as number) : c));
      return fact(x.dtype, own, isKnown(offset) ? picked(own, x.value, shape, source) : undefined);
    });
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || !nameable(rank + n.outputs)) return frozen(n, "cuts a tensor of unknown rank");
    const axis = axisOf(n, n.int("axis", 0), rank);
    const [letters, parts] = [lettersFor(rank), lettersFor(n.outputs, rank)];
    const at = (term: string): string => letters.map((letter, i) => (i === axis ? term : letter)).join("");
    const whole = parts.length === 1 ? (parts[0] as string) : `(${parts.join("+")})`;
    if (n.node.inputs[1]) return { map: `${at(whole)}, -> ${parts.map(at).join(",")}`, holds: { 1: parts } };
    // Without sizes all parts stay equally large: cut alike, or not at all.
    const letter = letters[axis] as string;
    const sizes = n.results.map((f) => f?.shape?.[axis] ?? UNKNOWN);
    const even = sizes.length === n.outputs && sizes.every((size) => sameDim(size, sizes[0] ?? UNKNOWN));
    const terms = parts.map((part) => (even ? letter : `!${part}`));
    return `${at(even ? `(${n.outputs}${letter})` : `!${letter}`)}${numbersFrom(n, 1)} -> ${terms.map(at).join(",")}`;
  },
  quant: transparent,
});

function partsOf(n: Applied, total: Dim): readonly Dim[] {
  if (n.node.inputs[1]) {
    const sizes = sizesIn(n, 1) ?? Array.from({ length: n.outputs }, () => UNKNOWN);
    const sum = sumOf(sizes);
    if (sizes.length !== n.outputs || (isKnown(sum) && isKnown(total) && sum !== total))
      n.fail(`it cuts an axis of ${total} into ${n.outputs} parts of [${sizes}].`);
    return sizes;
  }
  const count = n.int("num_outputs", n.outputs);
  if (count < 1 || count < n.outputs) n.fail(`it has ${n.outputs} outputs and makes ${count} parts.`);
  const each = divideExactly(total, count) ?? ceilDiv(total, count);
  const last = subDim(total, mulDim(each, count - 1));
  if (isKnown(last) && last < 0) n.fail(`an axis of ${total} cannot be cut into ${count} parts.`);
  return Array.from({ length: n.outputs }, (_, i) => (i === count - 1 ? last : each));
}

const gather = defineOp({
  name: "Gather",
  since: 1,
  infer: (n) => {
    const [x, indices] = [required(n, 0), required(n, 1)];
    if (x.shape === undefined) return [fact(x.dtype)];
    const axis = axisOf(n, n.int("axis", 0), x.shape.length);
    const size = x.shape[axis] ?? UNKNOWN;
    const list = numbersOf(indices);
    for (const index of list ?? [])
      if (isKnown(size) && (index < -size || index >= size || !Number.isInteger(index)))
        n.fail(`index ${index} lies outside axis ${axis}, of size ${size}.`);
    if (indices.shape === undefined) return [fact(x.dtype)];
    const { shape: inner } = indices;
    const shape = [...x.shape.slice(0, axis), ...inner, ...x.shape.slice(axis + 1)];
    const value =
      list &&
      isKnown(size) &&
      picked(shape, x.value, x.shape, (at) => {
        const index = list[flat(at.slice(axis, axis + inner.length), inner as number[])] ?? 0;
        return [...at.slice(0, axis), index < 0 ? index + size : index, ...at.slice(axis + inner.length)];
      });
    return [fact(x.dtype, shape, value || undefined)];
  },
  axes: (n) => gatherAxes(n),
  quant: transparent,
});

function gatherAxes(n: Mapped): AxesRule | FrozenAxes {
  const [from, inner] = [n.inputs[0]?.shape, n.inputs[1]?.shape];
  if (from === undefined || inner === undefined || !nameable(from.length + inner.length + 2))
    return frozen(n, "picks from a tensor of unknown rank");
  const axis = axisOf(n, n.int("axis", 0), from.length);
  const letters = lettersFor(from.length);
  const around = (term: string): string => letters.map((letter, i) => (i === axis ? term : letter)).join("");
  const more = lettersFor(inner.length + 2, from.length);
  const size = from[axis] ?? UNKNOWN;
  const list = isKnown(size) ? numbersOf(n.inputs[1])?.map((i) => (i < 0 ? i + size : i)) : undefined;
  const pattern = list && inner.length < 2 ? patternOf(list, size as number, inner.length === 0) : undefined;
  if (pattern === undefined) {
    const own = more.slice(0, inner.length).join("");
    return { map: `${around(`!${letters[axis]}`)},${own} -> ${around(own)}` };
  }
  const { left, right, sizes } = pattern(letters[axis] as string, more[0] as string, more[1] as string);
  return {
    map: `${around(left)}, -> ${around(right)}`,
    sizes,
    holds: { 1: inner.length > 0 ? "#" : list?.[0] === 0 ? "0" : (letters[axis] as string) },
  };
}

/** The terms of an axis on either side of a Gather, with the sizes of letters that these do not show. */
interface Picking {
  readonly left: string;
  readonly right: string;
  readonly sizes: Readonly<Record<string, number>>;
}

type Pattern = (a: string, b: string, c: string) => Picking;

/** What a list of indices does to an axis of a size: one position, a run of them, each or all of them repeated. */
function patternOf(list: readonly number[], size: number, single: boolean): Pattern | undefined {
  const [first = 0] = list;
  if (list.length > 0 && list.every((index, k) => index === first + k))
    return (a, b, c) => {
      const rest = size - first - list.length;
      const middle = single ? "1" : b;
      const parts = [...(first > 0 ? [a] : []), middle, ...(rest > 0 ? [c] : [])];
      const left = parts.length === 1 ? middle : `(${parts.join("+")})`;
      return { left, right: single ? "" : b, sizes: first > 0 ? { [a]: first } : {} };
    };
  const times = list.length / size;
  if (!Number.isInteger(times) || times < 2) return undefined;
  if (list.every((index, k) => index === Math.floor(k / times)))
    return (a, b) => ({ left: a, right: `(${a}${b})`, sizes: { [b]: times } });
  if (list.every((index, k) => index === k % size))
    return (a, b) => ({ left: a, right: `(${b}${a})`, sizes: { [b]: times } });
  return undefined;
}

/** Operators that reorder, join, cut and pick whole slices. */
export const moves: readonly OpRule[] = [concat, gather, split, transpose];
