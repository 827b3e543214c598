import type { Gradients } from "./gradient.ts";

const DRAWN = { none: "its numbers are drawn at random" };

export const randomGradients: Gradients = {
  Bernoulli: DRAWN,
  Multinomial: DRAWN,
  RandomNormal: DRAWN,
  RandomNormalLike: DRAWN,
  RandomUniform: DRAWN,
  RandomUniformLike: DRAWN,
};
