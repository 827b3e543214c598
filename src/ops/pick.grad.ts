import type { Gradients } from "./gradient.ts";

export const pickGradients: Gradients = {};
