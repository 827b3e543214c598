import type { Gradients } from "./gradient.ts";

const FUSED = {
  missing: "it is fused for inference; train the model as it was before the fusion and fuse it afterwards",
};

export const fusedAttentionGradients: Gradients = {
  "com.microsoft:GroupQueryAttention": FUSED,
  "com.microsoft:MultiHeadAttention": FUSED,
};
