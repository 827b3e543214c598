import type { Gradients } from "./gradient.ts";

export const quantGradients: Gradients = {};
