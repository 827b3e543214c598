import type { Gradients } from "./gradient.ts";

export const controlGradients: Gradients = {};
