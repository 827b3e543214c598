export { type DistillationOptions, distillation } from "../train/distillation.ts";
export { ensemble, openTeacher, type Teacher, type TeacherOptions } from "../train/teacher.ts";
export { type DistillOptions, type DistillResult, distill, type Weighted } from "./distill.ts";
export { attentionTransfer, hiddenCosine, hints, type PairOptions } from "./features.ts";
export { attentionDivergence, attentionSquared, hiddenSquared, layerMap, valueRelation } from "./layers.ts";
export {
  type DecoupledOptions,
  decoupled,
  scoresCosine,
  scoresSquared,
  softTargets,
  type TemperatureOptions,
} from "./logits.ts";
export { contrastive, type EmbeddingOptions, relational } from "./relations.ts";
export { type StudentOptions, studentOf } from "./students.ts";
export type { Compared, Pair, Term } from "./terms.ts";
export { stagePairs } from "./values.ts";
