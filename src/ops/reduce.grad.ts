import type { Backward, Gradients } from "./gradient.ts";

/** The axes a reduction runs over, counted from 0; none named means all, unless the node says that it then does nothing. */
export function reducedAxes(g: Backward): readonly number[] {
  const rank = g.rank(g.x[0] as string);
  const axes = g.x[1] ? g.numbers(1) : undefined;
  if (axes !== undefined && axes.length > 0) return axes.map((axis) => (axis < 0 ? axis + rank : axis));
  return g.int("noop_with_empty_axes", 0) === 1 ? [] : [...Array(rank).keys()];
}

/** A gradient of what was reduced, with the reduced axes back at size 1. */
const kept = (g: Backward, value: string): string =>
  g.reshape(
    value,
    g.shape(g.x[0] as string).map((size, i) => (reducedAxes(g).includes(i) ? 1 : size)),
  );

export const reduceGradients: Gradients = {
  // d Σx = Σ dx: every element gets the gradient of its sum
  ReduceSum: (g) => [g.expand(kept(g, g.dy), g.shape(g.x[0] as string))],
};
