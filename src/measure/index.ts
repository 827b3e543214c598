export { type BenchmarkOptions, benchmark, type Latency } from "./benchmark.ts";
export {
  type CompareOptions,
  type Comparison,
  compare,
  type LayerDifference,
  type OutputDifference,
} from "./compare.ts";
export { type Cost, costOf, type LayerCost } from "./cost.ts";
export type { Difference } from "./difference.ts";
export { type Distribution, distributions } from "./distributions.ts";
export { type EvaluateOptions, type Evaluation, evaluate } from "./evaluate.ts";
export { randomExamples, randomFeeds } from "./feeds.ts";
export { inspect } from "./inspect.ts";
export type { Inspection } from "./inspection.ts";
export { type Estimate, pairedDifference } from "./interval.ts";
export { accuracyByClass, agreement, type Judgement, METRICS, type MetricName } from "./metrics.ts";
export { type Size, sizeOf } from "./size.ts";
export { atThreshold, thresholdFor } from "./threshold.ts";
