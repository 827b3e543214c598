import type { Gradients } from "./gradient.ts";

export const shapeGradients: Gradients = {};
