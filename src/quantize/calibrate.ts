import { batches } from "../data/batches.ts";
import { bindInputs, feedInputs } from "../data/bind.ts";
import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { bindDim, type Dim, isKnown, namesIn } from "../ir/dim.ts";
import type { Model } from "../ir/graph.ts";
import { withOutputs } from "../measure/compare.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { Histogram } from "./histogram.ts";
import { planOf } from "./plan.ts";
import type { CalibrateOptions, Statistics } from "./types.ts";

/**
 * Runs a float model over examples and gathers what the ranges of every calibration method need, of all values that
 * `quantizeStatic` would round. Memory does not grow with the number of examples: each value keeps a histogram of 8192
 * bins, and activations are looked at one small batch at a time. Give it the model after `optimize`, as `quantizeStatic`
 * works on that.
 *
 * @example
 * const statistics = await calibrate(model, photos.take(200));
 * const { model: small } = await quantizeStatic({ statistics, method: "entropy" }).run(model);
 */
export const calibrate = async (model: Model, data: Dataset, options: CalibrateOptions = {}): Promise<Statistics> =>
  observe(model, observedValues(model), data, options);

/** The values whose ranges some plan needs: one that has another's levels gets its own where the node between stays float. */
export const observedValues = (model: Model): string[] => [...planOf(model).values.keys()];

/** Gathers statistics of these values. */
export async function observe(
  model: Model,
  names: readonly string[],
  data: Dataset,
  options: CalibrateOptions,
): Promise<Statistics> {
  if (data.size === 0)
    throw new MinnowError("There are no examples to calibrate on.", {
      code: "quantize/no-data",
      mend: "Give 100 to 500 typical ones.",
    });
  const inputs = new Set(model.graph.inputs.map((input) => input.name));
  const outputs = new Set(model.graph.outputs.map((output) => output.name));
  const fetched = names.filter((name) => !inputs.has(name));
  const histograms = new Map(names.map((name) => [name, new Histogram()]));
  const session = await openSession(
    withOutputs(
      model,
      fetched.filter((name) => !outputs.has(name)),
    ),
    options.threads === undefined ? {} : { threads: options.threads },
  );
  let [samples, skipped] = [0, 0];
  try {
    const each = numbersOf(model, names).reduce((a, b) => a + b, 0);
    for await (const batch of calibrationBatches(model, each, data, options)) {
      const results = fetched.length === 0 ? {} : await session.run(batch.feeds, fetched);
      for (const [name, histogram] of histograms) {
        const seen = results[name] ?? batch.feeds[name];
        if (seen?.dtype === "float32") histogram.add(seen.data as Float32Array, batch.indices.length);
      }
      samples += batch.indices.length;
      skipped += batch.skipped.length;
      options.onProgress?.(samples + skipped, data.size);
    }
  } finally {
    await session.close();
  }
  return { values: new Map([...histograms].map(([name, h]) => [name, h.result()])), samples, skipped };
}

/** Numbers of activations that are looked at together, unless one example has more. */
const MOST_NUMBERS = 1_000_000;

/** Examples under the names of the model's inputs, as many at a time as have few numbers when one of them has `each`. */
export function calibrationBatches(
  model: Model,
  each: number,
  data: Dataset,
  { batch, signal }: CalibrateOptions,
): ReturnType<typeof batches> {
  const fixed = feedInputs(model.graph)[0]?.type?.shape?.[0];
  const fitting = Math.max(1, Math.min(32, Math.floor(MOST_NUMBERS / Math.max(1, each))));
  const size = typeof fixed === "number" && fixed > 0 ? fixed : (batch ?? fitting);
  return batches(bindInputs(data, model.graph), size, { signal });
}

/** How many numbers each of these values has for one example; sizes nobody knows count as 1. */
export function numbersOf(model: Model, names: readonly string[]): number[] {
  const facts = inferModel(model);
  const sizeOf = (dim: Dim): number => {
    const bound = bindDim(dim, new Map(namesIn(dim).map((name) => [name, 1])));
    return isKnown(bound) ? Math.max(1, bound) : 1;
  };
  return names.map((name) => (facts.get(name)?.shape ?? []).reduce<number>((product, dim) => product * sizeOf(dim), 1));
}
