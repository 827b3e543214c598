import { MinnowError } from "../errors.ts";
import { type Judgement, twoClasses } from "./metrics.ts";

/**
 * From which margin on class 1 is to be said, so that at least the share `sensitivity` of its examples is found and as many of class 0
 * as possible are left alone: halfway between the last margin that has to count and the next one below it. Choose it on other examples
 * than those that judge. Throws `measure/threshold` for a share outside 0 … 1, and where no example is of class 1,
 * `measure/metric` where there are not two classes.
 *
 * @example
 * const { judgement } = await evaluate(model, validation);
 * const threshold = thresholdFor(judgement, { sensitivity: 0.95 });
 */
export function thresholdFor(judgement: Judgement, { sensitivity }: { sensitivity: number }): number {
  twoClasses(judgement, "thresholdFor");
  const { labels, margins } = judgement;
  const all = [...margins].sort((a, b) => b - a);
  const positive = [...margins].filter((_, i) => labels[i] === 1).sort((a, b) => b - a);
  if (!(sensitivity > 0 && sensitivity <= 1) || positive.length === 0)
    throw new MinnowError(
      positive.length === 0
        ? "No example is of class 1, so there is nothing to find."
        : `A sensitivity of ${sensitivity} cannot be asked for.`,
      { code: "measure/threshold", mend: "Give examples of both classes, and a share above 0 and at most 1." },
    );
  // A product such as 0.07 · 100 is a little more than the whole number it stands for.
  const last = positive[Math.ceil(sensitivity * positive.length - 1e-9) - 1] as number;
  const below = all.find((margin) => margin < last);
  return below === undefined ? last : (last + below) / 2;
}

/**
 * The same judgement where class 1 is said from this margin on, as {@link thresholdFor} gives it: for all metrics of two classes.
 *
 * @example
 * METRICS.specificity(atThreshold(judgement, threshold));
 */
export function atThreshold(judgement: Judgement, threshold: number): Judgement {
  twoClasses(judgement, "atThreshold");
  const { labels, margins } = judgement;
  const predictions = Int32Array.from(margins, (margin) => (margin >= threshold ? 1 : 0));
  const ranks = labels.map((label, i) => (label < 0 ? -1 : label === predictions[i] ? 0 : 1));
  return { ...judgement, predictions, ranks };
}
