import { MinnowError } from "../errors.ts";

/** What a classifier said of each example it was given. Arrays run in the order of the examples. */
export interface Judgement {
  /** Where each example stands in the dataset. */
  readonly indices: Int32Array;
  /** The class with the highest score. */
  readonly predictions: Int32Array;
  /** The class it is; −1 where unknown. */
  readonly labels: Int32Array;
  /** How many classes scored higher than the right one; −1 where it is unknown. */
  readonly ranks: Int32Array;
  /** Score of class 1 minus that of class 0, for two classes. */
  readonly margins: Float32Array;
  readonly classes: number;
}

type Metric = (j: Judgement) => number;

/** Metrics of a classifier by name, each a fraction from 0 to 1. Two-class metrics take class 1 as the positive one. */
export const METRICS = {
  accuracy: (j) => share(j.ranks, (rank) => rank === 0),
  top5: (j) => share(j.ranks, (rank) => rank >= 0 && rank < 5),
  /** Macro F1: the mean over classes that occur of 2·TP / (2·TP + FP + FN). */
  f1: (j) => {
    const counts = confusion(j);
    const scores: number[] = [];
    for (let c = 0; c < j.classes; c++) {
      const [tp, fp, fn] = [
        counts.right[c] ?? 0,
        counts.predicted[c]! - counts.right[c]!,
        counts.actual[c]! - counts.right[c]!,
      ];
      if (tp + fn > 0) scores.push((2 * tp) / (2 * tp + fp + fn));
    }
    return scores.reduce((a, b) => a + b, 0) / Math.max(1, scores.length);
  },
  sensitivity: (j) => rateOf(j, 1),
  specificity: (j) => rateOf(j, 0),
  /** Area under the ROC curve: how often a positive example scores above a negative one, ties counting half. */
  auroc: (j) => {
    twoClasses(j, "auroc");
    const order = [...j.margins.keys()].sort((a, b) => j.margins[a]! - j.margins[b]!);
    let [rankSum, positives] = [0, 0];
    for (let i = 0; i < order.length; ) {
      let end = i;
      while (end < order.length && j.margins[order[end]!] === j.margins[order[i]!]) end++;
      for (let k = i; k < end; k++) {
        if (j.labels[order[k]!] !== 1) continue;
        rankSum += (i + 1 + end) / 2;
        positives++;
      }
      i = end;
    }
    const negatives = order.length - positives;
    return positives * negatives === 0
      ? Number.NaN
      : (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
  },
} satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;

export const isMetric = (name: string): name is MetricName => Object.hasOwn(METRICS, name);

/** The share of examples both judge the same, of those both have judged. */
export function agreement(a: Judgement, b: Judgement): number {
  const other = new Map([...b.indices].map((index, i) => [index, b.predictions[i]]));
  let [same, count] = [0, 0];
  for (let i = 0; i < a.indices.length; i++) {
    const prediction = other.get(a.indices[i]!);
    if (prediction === undefined) continue;
    count++;
    if (prediction === a.predictions[i]) same++;
  }
  return count === 0 ? Number.NaN : same / count;
}

/** Accuracy within each class, NaN for a class without examples. */
export function accuracyByClass(j: Judgement): number[] {
  const { right, actual } = confusion(j);
  return right.map((n, c) => n / (actual[c] ?? 0));
}

function confusion({ labels, predictions, classes }: Judgement) {
  const zeros = () => new Array<number>(classes).fill(0);
  const [right, predicted, actual] = [zeros(), zeros(), zeros()];
  for (let i = 0; i < labels.length; i++) {
    const [label, prediction] = [labels[i]!, predictions[i]!];
    if (label < 0) continue;
    actual[label]!++;
    predicted[prediction]!++;
    if (label === prediction) right[label]!++;
  }
  return { right, predicted, actual };
}

function rateOf(j: Judgement, positive: 0 | 1): number {
  twoClasses(j, positive === 1 ? "sensitivity" : "specificity");
  return accuracyByClass(j)[positive] ?? Number.NaN;
}

export function twoClasses({ classes }: Judgement, metric: string): void {
  if (classes !== 2)
    throw new MinnowError(`"${metric}" is for two classes; this model has ${classes}.`, {
      code: "measure/metric",
      mend: "Use accuracy, top5 or f1.",
    });
}

const share = (values: Int32Array, holds: (value: number) => boolean): number =>
  values.length === 0 ? Number.NaN : values.filter(holds).length / values.length;
