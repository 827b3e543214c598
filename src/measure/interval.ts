/** A figure with the interval it lies in with 95 % confidence. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/**
 * The difference b − a of two accuracies over the same examples, with its paired 95 % interval. `a` and `b` say for each
 * example whether it was right. Only the examples on which they differ carry the variance (McNemar 1947); the interval is
 * Newcombe's for paired proportions in its simple form, widened by half an example so that it is never empty.
 */
export function pairedDifference(a: readonly boolean[], b: readonly boolean[]): Estimate {
  const n = a.length;
  if (n === 0) return { value: Number.NaN, low: Number.NaN, high: Number.NaN };
  let [gained, lost] = [0, 0];
  for (let i = 0; i < n; i++) {
    if (!a[i] && b[i]) gained++;
    else if (a[i] && !b[i]) lost++;
  }
  const value = (gained - lost) / n;
  const error = Math.sqrt(Math.max(gained + lost + 1 - (gained - lost) ** 2 / n, 0)) / n;
  return { value, low: value - 1.96 * error, high: value + 1.96 * error };
}
