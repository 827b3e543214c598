import type { Gradients } from "./gradient.ts";

export const rnnGradients: Gradients = {};
