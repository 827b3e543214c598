import type { Gradients } from "./gradient.ts";

const inner = {
  missing:
    "it runs graphs of its own, which are not differentiated; fold constants to unroll it, or train the part behind it",
};

export const controlGradients: Gradients = {
  If: inner,
  Loop: inner,
  Scan: inner,
};
