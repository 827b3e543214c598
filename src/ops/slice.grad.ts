import type { Gradients } from "./gradient.ts";

export const sliceGradients: Gradients = {};
