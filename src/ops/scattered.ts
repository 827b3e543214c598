import { int, string } from "../ir/attrs.ts";
import type { Emitter } from "./emit.ts";

/** Values that belong to positions along an axis. */
export interface Addressed {
  /** The shape to add them up in. */
  readonly shape: readonly number[];
  readonly axis: number;
  /** Integers of any shape; negative ones count from the end, and one position may come up again and again. */
  readonly indices: string;
  /** [before the axis…, shape of the indices…, after the axis…] */
  readonly values: string;
}

/**
 * Zeros of a shape, with every value added at its position: what undoes a Gather.
 *
 * By what is fastest in ONNX Runtime's CPU kernels and gives the same result in every run: known positions in a row are
 * padded, a small table is one product with one-hot rows, and a large one a ScatterElements, which never makes them.
 * ScatterND would be quicker than either, but its threads add to the same position at once and lose some of the sums.
 */
export function addedAt(g: Emitter, { shape, axis, indices, values }: Addressed): string {
  const [size, count] = [shape[axis] as number, g.size(indices)];
  const [before, after] = [product(shape.slice(0, axis)), product(shape.slice(axis + 1))];
  const run = startOfRun(g, indices, size);
  if (run !== undefined) {
    const along = [...shape.slice(0, axis), count, ...shape.slice(axis + 1)];
    const pads = [
      ...along.map((_, i) => (i === axis ? run : 0)),
      ...along.map((_, i) => (i === axis ? size - run - count : 0)),
    ];
    return g.pad(g.reshape(values, along), pads);
  }
  const known = repeated(g, indices, size);
  if (known !== undefined) return g.reshape(known({ before, size, count, after, values }), shape);
  if (before > 1) {
    const along = [...shape.slice(0, axis), count, ...shape.slice(axis + 1)];
    const places = g.reshape(indices, [count, ...shape.slice(axis + 1).map(() => 1)]);
    return scatterElements(g, shape, axis, g.expand(places, along), g.reshape(values, along));
  }
  // Measured: one-hot rows cost about 2 ns a number and 0.02 ns a multiply-add, scattering 5 ns a number.
  if (size * (100 + after) < 250 * after) {
    const hot = oneHot(g, g.reshape(g.cast(indices, "int64"), [count]), size, g.dtype(values));
    return g.reshape(g.op("Gemm", [hot, g.reshape(values, [count, after])], { transA: int(1) }), shape);
  }
  const rows = g.mul(g.reshape(g.cast(indices, "int64"), [count, 1]), after);
  const places = g.reshape(g.add(rows, g.ints([...Array(after).keys()])), [count * after]);
  return g.reshape(scatterElements(g, [size * after], 0, places, g.reshape(values, [count * after])), shape);
}

/** Zeros of a shape, with values of the indices' shape added along an axis. */
export function scatterElements(
  g: Emitter,
  shape: readonly number[],
  axis: number,
  indices: string,
  values: string,
): string {
  const zeros = g.expand(g.scalar(0, g.dtype(values)), shape);
  return g.op("ScatterElements", [zeros, indices, values], { axis: int(axis), reduction: string("add") });
}

/** Rows of zeros with a 1 at each index: [count, size]. */
export const oneHot = (g: Emitter, indices: string, size: number, dtype: ReturnType<Emitter["dtype"]>): string =>
  g.op("OneHot", [indices, g.constant("int64", [], [size]), g.constant(dtype, [2], [0, 1])]);

/** Σ over the positions of an axis, with a matrix [from, to]: the axis then has size `to`. */
export function alongAxis(g: Emitter, a: string, axis: number, matrix: string): string {
  const shape = g.shape(a);
  const [from, to] = g.shape(matrix) as [number, number];
  const after = shape.slice(axis + 1).reduce((x, y) => x * y, 1);
  const before = shape.slice(0, axis).reduce((x, y) => x * y, 1);
  const product =
    after === 1
      ? g.matMul(g.reshape(a, [before, from]), matrix)
      : g.matMul(g.transposeLast(matrix), g.reshape(a, [before, from, after]));
  return g.reshape(
    product,
    shape.map((d, i) => (i === axis ? to : d)),
  );
}

/** A one-hot matrix of known indices may have this many numbers. */
const MAX_WEIGHTS = 1 << 16;

interface Flat {
  readonly before: number;
  readonly size: number;
  readonly count: number;
  readonly after: number;
  readonly values: string;
}

/** How known positions that are not in a row are summed: as groups where they repeat evenly, else by their one-hot matrix. */
function repeated(g: Emitter, indices: string, size: number): ((flat: Flat) => string) | undefined {
  const list = knownList(g, indices, size);
  if (list === undefined || list.length * size > MAX_WEIGHTS) return undefined;
  const times = list.length / size;
  const grouped =
    (axis: number, ...middle: number[]) =>
    ({ before, after, values }: Flat) =>
      g.sum(g.reshape(values, [before, ...middle, after]), [axis], false);
  const evenly = Number.isInteger(times) && times > 0;
  if (evenly && list.every((index, k) => index === Math.floor(k / times))) return grouped(2, size, times);
  if (evenly && list.every((index, k) => index === k % size)) return grouped(1, times, size);
  const matrix = new Float32Array(list.length * size);
  for (const [k, index] of list.entries()) matrix[k * size + index] = 1;
  return ({ before, count, after, values }) =>
    alongAxis(g, g.reshape(values, [before, count, after]), 1, g.constant(g.dtype(values), [count, size], matrix));
}

/** Positions where they are known, all counted from 0. */
function knownList(g: Emitter, indices: string, size: number): readonly number[] | undefined {
  const list = g.fact(indices).value?.map((i) => (typeof i === "number" && i < 0 ? i + size : i));
  return list?.every((i) => typeof i === "number") ? (list as readonly number[]) : undefined;
}

/** Where positions that are known and follow one another begin. */
function startOfRun(g: Emitter, indices: string, size: number): number | undefined {
  const list = knownList(g, indices, size);
  const [first] = list ?? [];
  return first !== undefined && list?.every((index, k) => index === first + k) ? first : undefined;
}

const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
