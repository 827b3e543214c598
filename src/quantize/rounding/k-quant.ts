import { searching, sharesBetween } from "./search.ts";

/**
 * Scales fitted by least squares to the levels of several candidates, errors of large numbers counting more.
 * Source: the k-quants of ggml (`make_qx_quants`, `make_qkx2_quants`), which ONNX Runtime's `k_quant` follows.
 */
export const kQuant = searching({
  importance: (value, rms) => rms + Math.abs(value),
  refit: true,
  shares: sharesBetween(0.55, 1.15, 25),
});
