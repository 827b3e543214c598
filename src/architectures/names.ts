import type { InvertedResidualNames } from "./blocks.ts";

/** What timm calls the layers of its blocks. */
export const TIMM = {
  stem: ["conv_stem", "bn1"],
  conv: ["conv", "bn1"],
  head: ["conv_head", "bn2"],
  separable: { depthwise: ["conv_dw", "bn1"], pointwise: ["conv_pw", "bn2"] },
  inverted: {
    expand: ["conv_pw", "bn1"],
    depthwise: ["conv_dw", "bn2"],
    squeeze: ["se", "conv_reduce", "conv_expand"],
    project: ["conv_pwl", "bn3"],
  },
  fused: { expand: ["conv_exp", "bn1"], project: ["conv_pwl", "bn2"] },
} as const;

/**
 * torchvision's names where a block is one Sequential whose activations count: the layers stand at 0, 3 and 6 below `scope`, each
 * followed by its BatchNorm.
 */
export const sequential = (scope: string): InvertedResidualNames => ({
  expand: [`${scope}.0`, `${scope}.1`],
  depthwise: [`${scope}.3`, `${scope}.4`],
  project: [`${scope}.6`, `${scope}.7`],
});
