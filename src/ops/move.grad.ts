import type { Gradients } from "./gradient.ts";

export const moveGradients: Gradients = {};
