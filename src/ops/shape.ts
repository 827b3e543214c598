import { tensorAttr } from "../ir/attrs.ts";
import {
  addDim,
  type Dim,
  divideExactly,
  floorDiv,
  isKnown,
  lowest,
  maxDim,
  mulDim,
  productOf,
  sameDim,
  subDim,
  UNKNOWN,
} from "../ir/dim.ts";
import type { Node } from "../ir/graph.ts";
import { float32s, int64s, smallValues, type Tensor, tensorFrom } from "../ir/tensor.ts";
import { type Applied, type AxesRule, defineOp, type Fact, MAX_VALUES, type OpRule } from "./define.ts";
import { frozen, lettersFor, nameable, numbersFrom, optionalNumbers, picked, sizesIn, smallCount } from "./elements.ts";
import { axisOf, broadcast, fact, factOf, required } from "./facts.ts";
import { isInteger, negated, settle } from "./values.ts";

const transparent = { kind: "transparent" } as const;

/** All axes as one, the rest read as numbers. */
const regrouped = (n: Applied): string => `(*)${numbersFrom(n, 1)} -> (*)`;

/** The same elements in another shape. */
const reshaped = (x: Fact, shape: readonly Dim[] | undefined): Fact => fact(x.dtype, shape, shape && x.value);

const shape = defineOp({
  name: "Shape",
  since: 1,
  infer: (n) => {
    const whole = n.inputs[0]?.shape;
    if (whole === undefined) return [fact("int64", [UNKNOWN])];
    const start = clamp(n.int("start", 0), whole.length);
    const end = clamp(n.int("end", whole.length), whole.length);
    const part = whole.slice(start, Math.max(start, end));
    return [fact("int64", [part.length], part)];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || !nameable(rank + 1)) return frozen(n, "reads sizes of a tensor of unknown rank");
    const [start, end] = [clamp(n.int("start", 0), rank), clamp(n.int("end", rank), rank)];
    const read = lettersFor(rank).map((letter, i) => (i >= start && i < end ? `!${letter}` : letter));
    return `${read.join("")} -> !${lettersFor(1, rank)[0]}`;
  },
});

/** An index that may count from the end, held inside 0 … length. */
const clamp = (index: number, length: number): number =>
  Math.min(Math.max(index < 0 ? index + length : index, 0), length);

const size = defineOp({
  name: "Size",
  since: 1,
  infer: (n) => {
    const whole = n.inputs[0]?.shape;
    const count = whole === undefined ? UNKNOWN : productOf(whole);
    return [fact("int64", [], [count])];
  },
  axes: () => "!... -> ",
});

/** What a Constant node holds, whichever attribute it stands in; undefined for sparse ones and a function's own. */
export function heldBy({ attrs }: Pick<Node, "attrs">): Tensor | undefined {
  for (const [name, attr] of Object.entries(attrs)) {
    if (name === "value" && attr.type === "tensor") return attr.value;
    if (name === "value_int" && attr.type === "int") return tensorFrom("int64", [], [attr.value]);
    if (name === "value_ints" && attr.type === "ints") return int64s(attr.value);
    if (name === "value_float" && attr.type === "float") return float32s([], [attr.value]);
    if (name === "value_floats" && attr.type === "floats") return float32s([attr.value.length], attr.value);
    if (name === "value_string" && attr.type === "string") return strings([], [attr.value]);
    if (name === "value_strings" && attr.type === "strings") return strings([attr.value.length], attr.value);
  }
  return undefined;
}

const strings = (shape: readonly number[], values: readonly Uint8Array[]): Tensor => ({
  dtype: "string",
  shape,
  strings: values,
  read: async () => new Uint8Array(0),
});

const constant = defineOp({
  name: "Constant",
  since: 1,
  infer: ({ node }) => {
    const sparse = node.attrs["sparse_value"];
    if (sparse?.type === "sparse") return [fact(sparse.value.values.dtype, sparse.value.shape)];
    const held = heldBy(node);
    return [held && factOf(held)];
  },
  axes: () => ({ frozen: "a Constant node holds it, not a weight" }),
});

const constantOfShape = defineOp({
  name: "ConstantOfShape",
  since: 9,
  infer: (n) => {
    required(n, 0);
    const held = tensorAttr(n.node, "value");
    const element = held === undefined ? 0 : smallValues(held)?.[0];
    const sizes = sizesIn(n, 0);
    if (sizes?.some((d) => isKnown(d) && d < 0)) n.fail(`it is asked for the shape [${sizes}].`);
    const count = smallCount(sizes);
    const value = element === undefined || count === undefined ? undefined : new Array<Dim>(count).fill(element);
    return [fact(held?.dtype ?? "float32", sizes, value)];
  },
  axes: (n): AxesRule | ReturnType<typeof frozen> => {
    const rank = n.results[0]?.shape?.length;
    if (rank === undefined || !nameable(rank)) return frozen(n, "makes a tensor of unknown rank");
    return { map: ` -> ${lettersFor(rank).join("")}`, holds: { 0: "@0" } };
  },
});

const range = defineOp({
  name: "Range",
  since: 11,
  infer: (n) => {
    const { dtype, value } = required(n, 0);
    const [start, limit, delta] = [value, required(n, 1).value, required(n, 2).value].map((v) => v?.[0] ?? UNKNOWN);
    if (start === undefined || limit === undefined || delta === undefined) return [fact(dtype, [UNKNOWN])];
    if (delta === 0) n.fail("its delta is 0.");
    const count = rangeCount(start, limit, delta);
    if (!isKnown(count) || count > MAX_VALUES || !isInteger(dtype)) return [fact(dtype, [count])];
    const values = Array.from({ length: count }, (_, i) => settle(dtype, addDim(start, mulDim(i, delta))) ?? UNKNOWN);
    return [fact(dtype, [count], values)];
  },
  axes: () => ",, -> !a",
});

/** max(⌈(limit − start) / delta⌉, 0). */
function rangeCount(start: Dim, limit: Dim, delta: Dim): Dim {
  const span = subDim(limit, start);
  if (isKnown(span) && isKnown(delta)) {
    const count = Math.max(0, Math.ceil(span / delta));
    return Number.isSafeInteger(count) ? count : UNKNOWN;
  }
  const backwards = isKnown(delta) && delta < 0;
  if (!backwards && lowest(delta) <= 0) return UNKNOWN;
  const count = backwards ? floorDiv(span, delta) : negated(floorDiv(mulDim(span, -1), delta));
  return backwards && delta !== -1 ? UNKNOWN : maxDim(count, 0);
}

const reshape = defineOp({
  name: "Reshape",
  since: 5,
  infer: (n) => {
    const x = required(n, 0);
    required(n, 1);
    const target = sizesIn(n, 1);
    return [reshaped(x, target && reshapedTo(n, x.shape, target))];
  },
  axes: (n) => ({ map: regrouped(n), holds: { 1: "@0" } }),
  quant: transparent,
});

/**
 * The shape a Reshape target asks for: 0 takes the input's size (unless `allowzero`), the one size that is −1 or not
 * known follows from the number of elements. A symbolic number is a size.
 */
function reshapedTo(n: Applied, from: readonly Dim[] | undefined, target: readonly Dim[]): Dim[] {
  const allowZero = n.int("allowzero", 0) === 1;
  const bad = (): never => n.fail(`[${from}] cannot be reshaped to [${target}].`, "Check what computes the shape.");
  if (target.filter((d) => d === -1).length > 1 || target.some((d) => isKnown(d) && d < -1)) bad();
  const copied = (i: number): boolean => target[i] === 0 && !allowZero;
  const sizes = target.map((d, i): Dim => {
    if (d === -1) return UNKNOWN;
    if (!copied(i)) return d;
    if (from !== undefined && i >= from.length) bad();
    return from?.[i] ?? UNKNOWN;
  });
  if (from === undefined) return sizes;
  const open = sizes.flatMap((d, i) => (d === UNKNOWN && !copied(i) ? [i] : []));
  // What is copied stands on both sides, also where it is not known.
  const total = productOf(from.filter((_, i) => !copied(i)));
  const rest = productOf(sizes.filter((_, i) => !copied(i) && !open.includes(i)));
  if (open.length === 0 && isKnown(total) && isKnown(rest) && total !== rest) bad();
  if (open.length !== 1 || total === UNKNOWN) return sizes;
  const left = rest === 0 ? undefined : (divideExactly(total, rest) ?? floorDiv(total, rest));
  if (isKnown(total) && isKnown(rest) && (rest === 0 ? target.includes(-1) : total % rest !== 0)) bad();
  return left === undefined ? sizes : sizes.map((d, i) => (i === open[0] ? left : d));
}

const flatten = defineOp({
  name: "Flatten",
  since: 1,
  infer: (n) => {
    const x = required(n, 0);
    if (x.shape === undefined) return [fact(x.dtype, [UNKNOWN, UNKNOWN])];
    const axis = n.int("axis", 1);
    const at = axis < 0 ? axis + x.shape.length : axis;
    if (at < 0 || at > x.shape.length) n.fail(`axis ${axis} does not exist in a tensor of rank ${x.shape.length}.`);
    return [reshaped(x, [productOf(x.shape.slice(0, at)), productOf(x.shape.slice(at))])];
  },
  axes: regrouped,
  quant: transparent,
});

const squeeze = defineOp({
  name: "Squeeze",
  since: 13,
  infer: (n) => {
    const x = required(n, 0);
    return [reshaped(x, x.shape && squeezed(n, x.shape))];
  },
  axes: regrouped,
  quant: transparent,
});

function squeezed(n: Applied, from: readonly Dim[]): readonly Dim[] | undefined {
  const axes = optionalNumbers(n, 1);
  const count = n.inputs[1]?.shape?.[0];
  if (axes === undefined)
    return typeof count === "number" && count > 0 && count <= from.length
      ? new Array<Dim>(from.length - count).fill(UNKNOWN)
      : undefined;
  // Without axes every 1 goes; a size that is not known may be one.
  if (axes.length === 0) return from.every(isKnown) ? from.filter((d) => d !== 1) : undefined;
  const gone = new Set(axes.map((axis) => axisOf(n, axis, from.length)));
  for (const axis of gone)
    if (isKnown(from[axis] ?? 0) && from[axis] !== 1) n.fail(`axis ${axis} of [${from}] is not 1.`);
  return from.filter((_, i) => !gone.has(i));
}

const unsqueeze = defineOp({
  name: "Unsqueeze",
  since: 13,
  infer: (n) => {
    const x = required(n, 0);
    required(n, 1);
    const axes = optionalNumbers(n, 1);
    const count = axes?.length ?? n.inputs[1]?.shape?.[0];
    if (x.shape === undefined || typeof count !== "number" || !nameable(x.shape.length + count)) return [fact(x.dtype)];
    const rank = x.shape.length + count;
    if (axes === undefined) return [reshaped(x, new Array<Dim>(rank).fill(UNKNOWN))];
    const added = new Set(axes.map((axis) => axisOf(n, axis, rank)));
    if (added.size !== axes.length) n.fail(`its axes [${axes}] name one twice.`);
    const sizes = [...x.shape];
    return [
      reshaped(
        x,
        Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : (sizes.shift() ?? 1))),
      ),
    ];
  },
  axes: regrouped,
  quant: transparent,
});

const expand = defineOp({
  name: "Expand",
  since: 8,
  infer: (n) => {
    const x = required(n, 0);
    required(n, 1);
    const target = sizesIn(n, 1);
    const to = target && broadcast(n, [x.shape, target]);
    return [fact(x.dtype, to, spread(x, to))];
  },
  axes: (n) => {
    const [from, to] = [n.inputs[0]?.shape, n.results[0]?.shape];
    if (from === undefined || to === undefined || !nameable(to.length))
      return frozen(n, "gives a tensor of unknown rank");
    const right = lettersFor(to.length);
    const left = from.map((d, i) => {
      const at = i + to.length - from.length;
      return d === 1 && to[at] !== 1 ? "1" : (right[at] as string);
    });
    if (from.some((d, i) => d !== 1 && !sameDim(d, to[i + to.length - from.length] ?? UNKNOWN)))
      return frozen(n, "may repeat an axis of unknown size");
    return { map: `${left.join("")}, -> ${right.join("")}`, holds: { 1: "@0" } };
  },
  quant: transparent,
});

/** The value of a tensor repeated along its axes of size 1, and along new ones in front. */
const spread = (x: Fact, to: readonly Dim[] | undefined): Dim[] | undefined =>
  picked(to, x.value, x.shape, (at) =>
    (x.shape ?? []).map((d, i) => (d === 1 ? 0 : (at[i + at.length - (x.shape?.length ?? 0)] ?? 0))),
  );

const tile = defineOp({
  name: "Tile",
  since: 6,
  infer: (n) => {
    const x = required(n, 0);
    required(n, 1);
    if (x.shape === undefined) return [fact(x.dtype)];
    const from = x.shape;
    const repeats = sizesIn(n, 1) ?? from.map(() => UNKNOWN);
    if (repeats.length !== from.length)
      n.fail(`it repeats [${from}] by [${repeats}].`, "Give one number for each axis.");
    if (repeats.some((r) => isKnown(r) && r < 0)) n.fail(`it repeats by [${repeats}].`);
    const to = from.map((d, i) => mulDim(d, repeats[i] ?? UNKNOWN));
    const wrap = (at: readonly number[]) => at.map((c, i) => c % (from[i] as number));
    return [fact(x.dtype, to, picked(to, x.value, from, wrap))];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || !nameable(2 * rank)) return frozen(n, "repeats a tensor of unknown rank");
    const left = lettersFor(rank);
    const more = lettersFor(rank, rank);
    const right = left.map((letter, i) => `(${more[i]}${letter})`);
    return { map: `${left.join("")}, -> ${right.join("")}`, holds: { 1: more } };
  },
  quant: transparent,
});

/** Sizes, constants, and the operators that keep the elements and change the shape, or repeat them. */
export const shapes: readonly OpRule[] = [
  constant,
  constantOfShape,
  expand,
  flatten,
  range,
  reshape,
  shape,
  size,
  squeeze,
  tile,
  unsqueeze,
];
