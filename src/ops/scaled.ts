import type { Emitter } from "./emit.ts";

/** A value that is another one times a number for each position of an axis, [C, 1, …]; no factor where it is no such product. */
export interface Scaled {
  readonly of: string;
  readonly factor?: string;
}

/**
 * A gradient without the factors along `axis` that its last step was a product with, as in the gradient of BatchNormalization.
 * What comes next is linear in it, so the factors may go to what is smaller than a gradient: a kernel, or a matrix of weights.
 */
export function unscaled(g: Emitter, dy: string, axis: number): Scaled {
  const lead = (shape: readonly number[], end: number) => shape.slice(0, end).reduce((a, b) => a * b, 1);
  let node = g.edit.writerOf(dy);
  while (node?.op === "Reshape") node = g.edit.writerOf(node.inputs[0] as string);
  if (node?.op !== "Mul") return { of: dy };
  const [value, factor] = node.inputs as [string, string];
  const [from, own] = [g.shape(value), g.shape(factor)];
  const at = from.length - own.length;
  const perPosition = at >= 0 && own[0] === from[at] && own.slice(1).every((size) => size === 1) && g.size(factor) > 1;
  const to = g.shape(dy);
  if (!perPosition || to[axis] !== own[0] || lead(to, axis) !== lead(from, at)) return { of: dy };
  return { of: g.reshape(value, to), factor };
}

/** A value times those factors, which stand along its first axis. */
export const scaledBy = (g: Emitter, value: string, factor: string | undefined): string =>
  factor === undefined
    ? value
    : g.mul(
        value,
        g.reshape(
          factor,
          g.shape(value).map((size, i) => (i === 0 ? size : 1)),
        ),
      );
