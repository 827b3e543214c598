import type { Gradients } from "./gradient.ts";

export const contractionGradients: Gradients = {};
