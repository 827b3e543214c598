import type { Gradients } from "./gradient.ts";

export const resizeGradients: Gradients = {};
