import type { Gradients } from "./gradient.ts";

export const attentionGradients: Gradients = {};
