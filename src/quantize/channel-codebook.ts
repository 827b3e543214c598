import { int } from "../ir/attrs.ts";
import { codeOf } from "../ir/dtype.ts";
import type { GraphEdit } from "../ir/edit.ts";
import { float32s, tensorFrom, tensorOf } from "../ir/tensor.ts";

/** The different numbers of each channel of a weight, rising. */
export interface ChannelNumbers {
  readonly axis: number;
  readonly tables: readonly Float32Array[];
}

/** The index along an axis of an element, by its place in the tensor. */
export function channelIn(shape: readonly number[], axis: number): (place: number) => number {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const size = shape[axis]!;
  return (place) => Math.floor(place / inner) % size;
}

/**
 * The numbers of each channel of a weight, along its first axis or its second; undefined where a channel has more than 256
 * or there are, together, more than a quarter of the elements.
 */
export function numbersByChannel(values: Float32Array, shape: readonly number[]): ChannelNumbers | undefined {
  for (const axis of [0, 1].filter((axis) => axis < shape.length)) {
    const channelOf = channelIn(shape, axis);
    const sets = Array.from({ length: shape[axis]! }, () => new Set<number>());
    const isFew = values.every((value, i) => sets[channelOf(i)]!.add(value).size <= 256);
    const count = sets.reduce((sum, { size }) => sum + size, 0);
    if (isFew && 4 * count <= values.length) return { axis, tables: sets.map((set) => Float32Array.from(set).sort()) };
  }
  return undefined;
}

/** Writes nodes that make a weight of an index for each element and the codebooks of its channels, one after the other. */
export function emitChannels(
  edit: GraphEdit,
  { axis, tables }: ChannelNumbers,
  { name, values, shape }: { readonly name: string; readonly values: Float32Array; readonly shape: readonly number[] },
): void {
  const most = Math.max(...tables.map(({ length }) => length));
  const books = new Float32Array(tables.length * most);
  for (const [channel, table] of tables.entries()) books.set(table, channel * most);
  const places = tables.map((table) => new Map([...table].map((value, i) => [value, i])));
  const channelOf = channelIn(shape, axis);
  const indices = Uint8Array.from(values, (value, i) => places[channelOf(i)]!.get(value)!);
  const along = shape.map((size, i) => (i === axis ? size : 1));
  const starts = tensorFrom(
    "int32",
    along,
    tables.map((_, channel) => channel * most),
  );
  const to = { to: int(codeOf("int32")) };
  const add = (op: string, inputs: readonly string[], output: string, attrs = {}): string =>
    edit.add({ op, name: "", inputs, outputs: [output], attrs })[0]!;
  const whole = add("Cast", [edit.weight("i", tensorOf("uint8", shape, indices))], edit.fresh("c"), to);
  const sums = add("Add", [whole, edit.weight("d", starts)], edit.fresh("a"));
  add("Gather", [edit.weight("k", float32s([books.length], books)), sums], name);
}
