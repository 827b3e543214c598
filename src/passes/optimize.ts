import { constantsToWeights } from "./constants.ts";
import { removeDeadCode } from "./dead-code.ts";
import { mergeDuplicates } from "./duplicates.ts";
import { foldBatchNorm } from "./fold-batch-norm.ts";
import { foldConstants } from "./fold-constants.ts";
import { foldPad } from "./fold-pad.ts";
import { foldScales } from "./fold-scales.ts";
import { foldShapes } from "./fold-shapes.ts";
import { fuseGemm } from "./fuse-gemm.ts";
import { removeIdentities } from "./identities.ts";
import { mergeBranches } from "./merge-branches.ts";
import { type Pass, sequence, untilStable } from "./pass.ts";
import { mergeReshapes } from "./reshapes.ts";
import { mergeSlices } from "./slices.ts";
import { fixTargets } from "./targets.ts";
import { mergeTransposes } from "./transposes.ts";
import { upgrade } from "./upgrade.ts";
import { takeWeightsOffInputs } from "./weight-inputs.ts";

/**
 * The model with everything taken out that it can do without: what is computed from shapes and constants alone,
 * normalization that weights can hold, branches that one convolution can compute, nodes that change nothing, duplicates,
 * dead code. Lifts it to opset 18 first. Inputs, outputs and the names of what stays are the model's own, and outputs differ
 * by rounding at most. Any ONNX Runtime loads the result.
 */
export function optimize(): Pass {
  const clean = untilStable(
    [
      constantsToWeights(),
      foldShapes(),
      fixTargets(),
      removeIdentities(),
      removeDeadCode(),
      mergeDuplicates(),
      foldConstants(),
      mergeTransposes(),
      mergeReshapes(),
      mergeSlices(),
      foldPad(),
      foldBatchNorm(),
      mergeBranches(),
      fuseGemm(),
      foldScales(),
      removeDeadCode(),
    ],
    "clean",
  );
  return { ...sequence([upgrade(), takeWeightsOffInputs(), clean], "optimize"), options: {} };
}
