import { type Attrs, intAttr, ints, intsAttr, type Node, stringAttr } from "../ir/index.ts";
import type { Emitter } from "../ops/emit.ts";

/** What a MaxPool's gradient is made of. */
export interface Scattered {
  readonly pool: Node;
  readonly dy: string;
}

/** The attributes of a max pool without dilations, rounded down, said always alike; undefined for another. */
export function plainPool(node: Node): Attrs | undefined {
  const kernel = intsAttr(node, "kernel_shape") as number[];
  const dense = (intsAttr(node, "dilations") ?? []).every((d) => d === 1);
  if (!dense || intAttr(node, "ceil_mode", 0) !== 0 || stringAttr(node, "auto_pad", "NOTSET") !== "NOTSET")
    return undefined;
  const [strides, pads] = [intsAttr(node, "strides") ?? [1, 1], intsAttr(node, "pads") ?? [0, 0, 0, 0]];
  return { kernel_shape: ints(kernel), strides: ints(strides), pads: ints(pads) };
}

/**
 * The parts of Reshape(ScatterElements(0, Reshape(places), Reshape(dy))), as the gradient of a MaxPool is written, where its
 * windows lie side by side and cover the input; undefined for any other Reshape.
 */
export function scatteredOf(g: Emitter, node: Node): Scattered | undefined {
  const writer = (value: string | undefined) => (value === undefined ? undefined : g.edit.writerOf(value));
  const scatter = writer(node.inputs[0]);
  if (scatter?.op !== "ScatterElements") return undefined;
  const [places, values] = [writer(scatter.inputs[1]), writer(scatter.inputs[2])];
  const pool = places?.op === "Reshape" ? writer(places.inputs[0]) : undefined;
  if (pool?.op !== "MaxPool" || pool.outputs[1] !== places?.inputs[0] || values?.op !== "Reshape") return undefined;
  const [x, y] = [g.shape(pool.inputs[0] as string), g.shape(pool.outputs[0] as string)];
  const [kernel, strides] = [intsAttr(pool, "kernel_shape") as number[], intsAttr(pool, "strides") ?? [1, 1]];
  const apart = kernel.every((k, i) => k === strides[i] && k * (y[i + 2] as number) === x[i + 2]);
  const plain = (intsAttr(pool, "pads") ?? []).every((pad) => pad === 0) && plainPool(pool) !== undefined;
  return kernel.length === 2 && apart && plain && x.join() === g.shape(node.outputs[0] as string).join()
    ? { pool, dy: values.inputs[0] as string }
    : undefined;
}

/**
 * That gradient on blocked channels, of blocked `x`, `y` and `dy`: tap by tap, the first that is the largest takes what its
 * window gains, and the last tap takes what is left. Some tap is the largest, so nothing is ever left of a window.
 */
export function blockedPoolGradient(
  g: Emitter,
  [x, y, dy]: readonly [string, string, string],
  kernel: readonly number[],
  block: number,
): string {
  const [batch, filled, height, width] = g.shape(y) as [number, number, number, number];
  const [down, across] = kernel as [number, number];
  const lines = (batch * filled * height) / block;
  const [windows, shape] = [g.reshape(x, [lines, down, width, across, block]), [lines, 1, width, 1, block]];
  const largest = g.reshape(y, shape);
  let left = g.reshape(dy, shape);
  const taken = (i: number, j: number): string => {
    if (i === down - 1 && j === across - 1) return left;
    const tap = g.slice(windows, [i, j], [i + 1, j + 1], [1, 3]);
    const given = g.mul(left, g.mask(g.is("Equal", tap, largest), left));
    left = g.sub(left, given);
    return given;
  };
  const rows = Array.from({ length: down }, (_, i) =>
    g.concat(
      Array.from({ length: across }, (_, j) => taken(i, j)),
      3,
    ),
  );
  return g.reshape(g.concat(rows, 1), g.shape(x));
}
