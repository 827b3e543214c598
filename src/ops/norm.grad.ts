import type { Gradients } from "./gradient.ts";

export const normGradients: Gradients = {};
