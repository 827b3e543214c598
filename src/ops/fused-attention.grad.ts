import type { Gradients } from "./gradient.ts";

export const fusedAttentionGradients: Gradients = {};
