import type { Gradients } from "./gradient.ts";

export const randomGradients: Gradients = {};
