import type { LayerDifference } from "../measure/compare.ts";

/** Of what kind an error is, in a few words, by its figures. */
export interface Diagnosis {
  readonly kind: string;
}

/** Names the kind of error that was born in a layer. */
export function diagnose({ broken, meanError, maxAbs, range, sqnr, cosine }: LayerDifference): Diagnosis {
  const span = Math.max(range[1] - range[0], Number.MIN_VALUE);
  if (broken > 0) return { kind: `${broken} values became NaN or infinite` };
  if (sqnr === Infinity) return { kind: "none" };
  if (Math.abs(meanError) > 0.02 * span) return { kind: `its mean moved by ${meanError.toPrecision(2)}` };
  if (maxAbs > 0.3 * span) return { kind: "its largest values are clipped" };
  if (cosine < 0.9) return { kind: "its directions are lost" };
  return { kind: "rounding" };
}
