import type { Backward, Gradients } from "./gradient.ts";

/** Gradients of operands that were broadcast: each is summed to its own shape. */
const broadcast =
  (...slopes: ((g: Backward) => string)[]) =>
  (g: Backward): readonly (string | undefined)[] =>
    g.x.map((name, i) => (g.wants(i) ? g.sumTo((slopes[i] ?? slopes[0])?.(g) as string, g.shape(name)) : undefined));

const [a, b] = [(g: Backward) => g.x[0] as string, (g: Backward) => g.x[1] as string];

export const binaryGradients: Gradients = {
  // d(a + b) = da + db
  Add: broadcast((g) => g.dy),
  // d(a · b) = b da + a db
  Mul: broadcast(
    (g) => g.mul(g.dy, b(g)),
    (g) => g.mul(g.dy, a(g)),
  ),
  // d Σ xᵢ = Σ dxᵢ
  Sum: broadcast((g) => g.dy),
};
