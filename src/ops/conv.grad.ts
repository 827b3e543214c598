import type { Gradients } from "./gradient.ts";

export const convGradients: Gradients = {};
