import type { Gradients } from "./gradient.ts";

export const miscGradients: Gradients = {};
