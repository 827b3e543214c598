import { searching, sharesBetween } from "./search.ts";

/**
 * The scale with the least squared error: outliers are cut off where that rounds the others better.
 * Source: Choukroun et al., "Low-bit Quantization of Neural Networks for Efficient Inference", arXiv 1902.06822.
 */
export const leastSquaredError = searching({ refit: false, shares: sharesBetween(0.4, 1.1, 36) });
