import type { Gradients } from "./gradient.ts";

export const poolGradients: Gradients = {};
