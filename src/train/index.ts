export {
  type Adapter,
  type AdapterModule,
  type Factor,
  type LoraConfig,
  type LoraOptions,
  loadAdapter,
  saveAdapter,
} from "./adapter.ts";
export { type AugmentOptions, augment, type Pixels, pixelsOf } from "./augment.ts";
export { type UpdateBatchNormOptions, updateBatchNorm } from "./batch-norm.ts";
export { type Checkpoint, readCheckpoint, saveCheckpoint } from "./checkpoint.ts";
export { type DifferentiateOptions, differentiate } from "./differentiate.ts";
export { type DistillationOptions, distillation } from "./distillation.ts";
export {
  type Adapted,
  adapterOf,
  addLora,
  applyAdapter,
  type MatchOptions,
  mergeLora,
  parameterCounts,
} from "./lora.ts";
export { loraInputs, type Switchable } from "./lora-inputs.ts";
export { modulesByValue } from "./lora-values.ts";
export {
  binaryCrossEntropy,
  type CrossEntropyOptions,
  crossEntropy,
  huber,
  type LanguageModelOptions,
  type LossOptions,
  languageModel,
  meanSquaredError,
  type TargetOptions,
} from "./losses.ts";
export { type MasksAt, maskKey, movementKey, type WeightMasks } from "./masks.ts";
export {
  type AdamWOptions,
  adamW,
  type LionOptions,
  lion,
  type RmspropOptions,
  rmsprop,
  type SgdOptions,
  sgd,
} from "./optimizers.ts";
export { bindSizes, readyToTrain } from "./prepare.ts";
export type { EpochRecord } from "./progress.ts";
export {
  constant,
  cosine,
  type OneCycleOptions,
  oneCycle,
  type Run,
  type Schedule,
  type StepDecayOptions,
  stepDecay,
  warmUp,
} from "./schedules.ts";
export {
  type Loss,
  type LossIo,
  type Optimizer,
  type StepOptions,
  type TrainStep,
  trainingStep,
  type Update,
} from "./step.ts";
export { openStepper, type StepAt, type Stepper, type StepResult } from "./stepper.ts";
export { ensemble, openTeacher, type Teacher, type TeacherOptions } from "./teacher.ts";
export { type TrainOptions, type TrainProgress, type TrainResult, train } from "./train.ts";
export type { Group, Untouched } from "./trainable.ts";
