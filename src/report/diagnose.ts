import type { LayerDifference } from "../measure/compare.ts";

/** Of what kind an error is, in a few words, by its figures. */
export interface Diagnosis {
  readonly kind: string;
  readonly cause: "none" | "broken" | "mean" | "clipped" | "lost" | "rounding";
}

/** Names the kind of error that was born in a layer. */
export function diagnose({ broken, meanError, maxAbs, range, sqnr, cosine }: LayerDifference): Diagnosis {
  const span = Math.max(range[1] - range[0], Number.MIN_VALUE);
  if (broken > 0) return { cause: "broken", kind: `${broken} values became NaN or infinite` };
  if (sqnr === Infinity) return { cause: "none", kind: "none" };
  if (Math.abs(meanError) > 0.02 * span)
    return { cause: "mean", kind: `its mean moved by ${meanError.toPrecision(2)}` };
  if (maxAbs > 0.3 * span) return { cause: "clipped", kind: "its largest values are clipped" };
  if (cosine < 0.9) return { cause: "lost", kind: "its directions are lost" };
  return { cause: "rounding", kind: "rounding" };
}

/** Something to try: why, and the options of `minnow quantize` that do it. */
export interface Suggestion {
  readonly why: string;
  readonly options: readonly string[];
}

/**
 * What to try against the errors of a quantized model, the likeliest first. `isStatic`: its activations are rounded by
 * calibrated ranges; `hasData`: there are examples to calibrate on.
 */
export function suggestionsFor(
  born: readonly LayerDifference[],
  { isStatic, hasData }: { readonly isStatic: boolean; readonly hasData: boolean },
): Suggestion[] {
  if (born.length === 0) return [];
  if (!hasData)
    return [{ why: "keep activations in float (give --data to hear more)", options: ["--to", "int8-storage"] }];
  const layers = born.map(({ node }) => node).filter((name) => name !== "" && !name.includes(","));
  const worst = layers.slice(0, 3).join(",");
  const causes = new Set(born.slice(0, 8).map((layer) => diagnose(layer).cause));
  const tries: Suggestion[] = [];
  if (isStatic) {
    if (causes.has("clipped"))
      tries.push({
        why: "ranges that hold everything, and biases corrected",
        options: ["--method", "minmax", "--bias-correction"],
      });
    else tries.push({ why: "biases corrected by the mean error of every channel", options: ["--bias-correction"] });
    if (causes.has("rounding") || causes.has("lost"))
      tries.push({ why: "ranges with the least squared error", options: ["--method", "mse", "--bias-correction"] });
    if (worst !== "")
      tries.push({
        why: "the layers where most error is born left in float",
        options: ["--bias-correction", "--nodes-to-exclude", worst],
      });
  }
  tries.push({ why: "a format for every layer, found by measuring", options: ["--to", "auto", "--max-drop", "1%"] });
  return tries;
}
