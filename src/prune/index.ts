export { cut } from "./apply.ts";
export type { Masks } from "./axis.ts";
export type { PrunedCost } from "./cost.ts";
export { type Derivation, derive } from "./derive.ts";
export { type FrozenAxis, type Group, type Groups, groupsOf, type Member } from "./groups.ts";
export { planPruning, roundToFor } from "./plan.ts";
export { prepare } from "./prepare.ts";
export { reconstruct } from "./reconstruct.ts";
export { reestimate } from "./reestimate.ts";
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
export { applyPlan, structuredPruning } from "./structured.ts";
export type { Plan, PlannedGroup, StructuredPruningOptions, Target, Targets } from "./types.ts";
