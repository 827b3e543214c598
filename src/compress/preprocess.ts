import { feedInputs } from "../data/bind.ts";
import type { Dataset } from "../data/dataset.ts";
import { candidatePreprocesses, type NamedPreprocess, type PreprocessOptions } from "../data/preprocess.ts";
import type { Model } from "../ir/graph.ts";
import { type EvaluateOptions, evaluate } from "../measure/evaluate.ts";

/** A way of preprocessing and how often the model was right with it. */
export interface Guess extends NamedPreprocess {
  readonly accuracy: number;
}

/**
 * Tries the usual ways of preprocessing on some labelled images and ranks them by how often the model is right: the best
 * first, earlier ones winning ties. Empty where the model takes no images or the data has no labels.
 */
export async function guessPreprocess(
  model: Model,
  data: Dataset,
  given: PreprocessOptions = {},
  options: EvaluateOptions = {},
): Promise<Guess[]> {
  const shape = feedInputs(model.graph)[0]?.type?.shape;
  const { prepare } = data;
  if (prepare === undefined || data.labels === undefined) return [];
  const guesses: Guess[] = [];
  for (const candidate of candidatePreprocesses(shape, given)) {
    const { metrics } = await evaluate(model, prepare(candidate.preprocess, shape), {
      ...options,
      metrics: ["accuracy"],
    });
    guesses.push({ ...candidate, accuracy: metrics.accuracy ?? 0 });
  }
  return guesses.sort((a, b) => b.accuracy - a.accuracy);
}
