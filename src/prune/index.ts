export { cut } from "./apply.ts";
export type { Masks } from "./axis.ts";
export type { PrunedCost } from "./cost.ts";
export { type Derivation, derive } from "./derive.ts";
export {
  applyBlockPlan,
  type BlockImportance,
  type BlockPlan,
  type DropBlocksOptions,
  dropBlocks,
  type PlannedBlock,
  planDropBlocks,
} from "./drop-blocks.ts";
export { type FrozenAxis, type Group, type Groups, groupsOf, type Member } from "./groups.ts";
export { type GroupKind, KINDS, kindsOf } from "./kinds.ts";
export { type LotteryTicketOptions, lotteryTicket } from "./lottery.ts";
export {
  applyLowRankPlan,
  type FactoredLayer,
  type LowRankOptions,
  type LowRankPlan,
  lowRank,
  planLowRank,
} from "./low-rank.ts";
export { planPruning, roundToFor } from "./plan.ts";
export { prepare } from "./prepare.ts";
export { type CutRecord, type Finetune, type PruneOptions, type PruneResult, prune } from "./prune.ts";
export { reconstruct } from "./reconstruct.ts";
export { reestimate } from "./reestimate.ts";
export { REGULARIZERS, type RegularizeMethod, type RegularizeOptions, regularized } from "./regularize.ts";
export {
  type Cut,
  exponential,
  linear,
  oneShot,
  type PruningSchedule,
  regrow,
  scheduleNamed,
} from "./schedule.ts";
export {
  GROUP_REDUCTIONS,
  type GroupReduction,
  type Normalizer,
  SCORES,
  type Score,
  type ScoreOptions,
  type Scores,
  scoresOf,
} from "./scores.ts";
export { type SparseMethod, type SparsePruningOptions, sparsePruning } from "./sparse.ts";
export {
  type PruningMasksOptions,
  pruningMasks,
  type SparseAmount,
  type SparseTrainingOptions,
  type SparseTrainingResult,
  sparseTraining,
  sparsityOf,
} from "./sparse-training.ts";
export { applyPlan, structuredPruning } from "./structured.ts";
export type { Plan, PlannedGroup, StructuredPruningOptions, Target, Targets } from "./types.ts";
