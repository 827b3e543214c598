import type { TensorData } from "../ir/tensor.ts";

/** How far one tensor is from another that it should equal. */
export interface Difference {
  /** Signal to quantization noise in dB: 10·log₁₀(Σx² / Σ(x−y)²); Infinity when they are equal. */
  readonly sqnr: number;
  /** Cosine of the angle between them, 1 for the same direction. */
  readonly cosine: number;
  /** Largest absolute difference. */
  readonly maxAbs: number;
  /** Mean of y − x: a bias that moved. */
  readonly meanError: number;
  /** Smallest and largest value of x. */
  readonly range: readonly [number, number];
  /** NaN or infinite values of y where x has none. */
  readonly broken: number;
}

/** Sums up the difference of streams of tensors in constant memory. */
export interface DifferenceSum {
  add(reference: TensorData, candidate: TensorData): void;
  result(): Difference;
}

/** A fresh sum. Elements that are not finite in the reference are passed over; those only the candidate broke count as noise of x. */
export function differenceSum(): DifferenceSum {
  let [signal, noise, dot, other, maxAbs, error, count, broken] = [0, 0, 0, 0, 0, 0, 0, 0];
  let [low, high] = [Infinity, -Infinity];
  return {
    add(reference, candidate) {
      const x = reference.data as ArrayLike<number>;
      const y = candidate.data as ArrayLike<number>;
      const length = Math.min(x.length, y.length);
      for (let i = 0; i < length; i++) {
        const a = Number(x[i]);
        let b = Number(y[i]);
        if (!Number.isFinite(a)) continue;
        if (!Number.isFinite(b)) {
          broken++;
          b = 0;
        }
        const d = b - a;
        signal += a * a;
        other += b * b;
        dot += a * b;
        noise += d * d;
        error += d;
        count++;
        if (Math.abs(d) > maxAbs) maxAbs = Math.abs(d);
        if (a < low) low = a;
        if (a > high) high = a;
      }
    },
    result: () => ({
      sqnr: decibels(signal, noise),
      cosine: signal === 0 && other === 0 ? 1 : signal === 0 || other === 0 ? 0 : dot / Math.sqrt(signal * other),
      maxAbs,
      meanError: count === 0 ? 0 : error / count,
      range: count === 0 ? [0, 0] : [low, high],
      broken,
    }),
  };
}

/** 10·log₁₀(signal/noise); Infinity without noise. */
export const decibels = (signal: number, noise: number): number =>
  noise === 0 ? Infinity : 10 * Math.log10(Math.max(signal, Number.MIN_VALUE) / noise);
