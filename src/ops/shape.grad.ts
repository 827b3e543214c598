import type { Backward, Gradients } from "./gradient.ts";

/** The gradient in the shape of the input: the elements kept their order. */
const regrouped = (g: Backward): readonly string[] => [g.reshape(g.dy, g.shape(g.x[0] as string))];

/** Repeated axes split into [repeats, size], and the repeats summed. */
function tiled(g: Backward): readonly string[] {
  const [own, all] = [g.shape(g.x[0] as string), g.shape(g.y)];
  const split = g.reshape(
    g.dy,
    own.flatMap((size, i) => [size === 0 ? 0 : (all[i] as number) / size, size]),
  );
  const repeats = own.flatMap((size, i) => (all[i] === size ? [] : [2 * i]));
  return [g.reshape(g.sum(split, repeats), own)];
}

export const shapeGradients: Gradients = {
  Shape: { none: "it reads sizes, not numbers" },
  Size: { none: "it reads sizes, not numbers" },
  Constant: { none: "it reads nothing" },
  ConstantOfShape: { none: "it reads sizes, not numbers" },
  Range: { missing: "the size of its output depends on the numbers it is given" },
  // y has the elements of x in their order
  Reshape: regrouped,
  Flatten: regrouped,
  Squeeze: regrouped,
  Unsqueeze: regrouped,
  // yᵢⱼ = xⱼ: dxⱼ = Σᵢ dyᵢⱼ
  Expand: (g) => [g.sumTo(g.dy, g.shape(g.x[0] as string))],
  // y[r·n + i] = x[i]: dxᵢ = Σᵣ dy[r·n + i]
  Tile: tiled,
};
