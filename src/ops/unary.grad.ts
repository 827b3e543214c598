import type { Backward, Gradients } from "./gradient.ts";

/** dx = dy · f′(x), for functions of one element. */
const chain =
  (slope: (g: Backward, x: string) => string) =>
  (g: Backward): readonly string[] => [g.mul(g.dy, slope(g, g.x[0] as string))];

export const unaryGradients: Gradients = {
  // d tanh x = 1 − tanh² x
  Tanh: chain((g) => g.sub(1, g.mul(g.y, g.y))),
  // d max(x, 0) = [y > 0]
  Relu: chain((g) => g.mask(g.is("Greater", g.y, 0), g.y)),
};
