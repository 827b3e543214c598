import { ints, intsAttr, type Node } from "../ir/index.ts";
import type { Emitter } from "../ops/emit.ts";
import { blockedKernels, type Emit } from "./block-kernels.ts";

/**
 * A convolution with at most half a block of filters, of a blocked `x`, two neighbouring positions at a time: the kernel stands
 * in the block twice, one position apart, and strides go on by two. Beside a block that is filled up with zeros that takes
 * (k + 1) / 2k of the multiplications, k being the kernel's width. undefined where it cannot be, or k is too small to gain.
 */
export function inPairs(
  g: Emitter,
  emit: Emit,
  node: Node,
  x: string,
  filled: readonly number[],
  block: number,
): string | undefined {
  const [, w, bias] = node.inputs as [string, string, string?];
  const [filters, , height, width] = g.shape(w) as [number, number, number, number];
  const [batch, , rows, columns] = filled as [number, number, number, number];
  const [strides, dilations] = [intsAttr(node, "strides") ?? [1, 1], intsAttr(node, "dilations") ?? [1, 1]];
  const half = block / 2;
  if (bias || filters > half || width < 3 || strides[1] !== 1 || dilations[1] !== 1 || columns % 2 !== 0)
    return undefined;
  const more = half - filters;
  const twice = [g.pad(w, [0, 0, 0, 0, more, 0, 0, 1]), g.pad(w, [0, 0, 0, 1, more, 0, 0, 0])];
  const kernels = blockedKernels(g, g.concat(twice, 0), block, block);
  const y = emit("Conv", [x, kernels], [batch, block, rows, columns / 2], {
    ...node.attrs,
    kernel_shape: ints([height, width + 1]),
    strides: ints([strides[0] as number, 2]),
  });
  const apart = g.pad(g.reshape(y, [batch * rows * columns, half]), [0, 0, 0, half]);
  return g.reshape(apart, filled);
}
