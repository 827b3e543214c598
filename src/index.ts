export {
  type Architecture,
  type ArchitectureOptions,
  architectures,
  create,
  type Fit,
  type FitBudget,
  fitBudget,
  type Loaded,
  loadWeights,
  type ReplaceHeadOptions,
  replaceHead,
} from "./architectures/index.ts";
export type { Budget, Figures } from "./compress/budget.ts";
export { type CompressEvent, type CompressOptions, type CompressResult, compress } from "./compress/compress.ts";
export { type Candidate, ladder, type Strategy } from "./compress/ladder.ts";
export { guessPreprocess } from "./compress/preprocess.ts";
export { parseRecipe, type Recipe } from "./compress/recipe.ts";
export type { Trial, TrialLog } from "./compress/trials.ts";
export * from "./data/index.ts";
export { type DistillOptions, type DistillResult, distill, studentOf } from "./distill/index.ts";
export { MinnowError } from "./errors.ts";
export { readSafetensors, type SafeTensor, type Safetensors, saveSafetensors } from "./files/safetensors.ts";
export * from "./ir/index.ts";
export * from "./measure/index.ts";
export { load, save, toBytes } from "./onnx/index.ts";
export * from "./passes/index.ts";
export {
  applyBlockPlan,
  applyLowRankPlan,
  applyPlan,
  type BlockPlan,
  type DropBlocksOptions,
  dropBlocks,
  type LotteryTicketOptions,
  type LowRankOptions,
  type LowRankPlan,
  lotteryTicket,
  lowRank,
  type Plan,
  type PruneOptions,
  type PruneResult,
  planDropBlocks,
  planLowRank,
  planPruning,
  prune,
  roundToFor,
  type SparsePruningOptions,
  type SparseTrainingOptions,
  type SparseTrainingResult,
  type StructuredPruningOptions,
  sparsePruning,
  sparseTraining,
  structuredPruning,
} from "./prune/index.ts";
export * from "./quantize/index.ts";
export { openSession, type Session, type SessionOptions } from "./runtime/index.ts";
export { type TrainOptions, type TrainProgress, type TrainResult, train } from "./train/index.ts";
