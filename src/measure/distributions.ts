import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { openSession } from "../runtime/index.ts";
import { type CompareOptions, withOutputs } from "./compare.ts";
import { feedBatches } from "./evaluate.ts";

/** How the numbers of one value are spread in two models. */
export interface Distribution {
  readonly name: string;
  /** What the bins span; numbers beyond count in the outermost. */
  readonly range: readonly [number, number];
  /** Smallest and largest finite number in the candidate. */
  readonly candidateRange: readonly [number, number];
  readonly reference: Float64Array;
  readonly candidate: Float64Array;
}

const BINS = 64;

/**
 * Counts the numbers of some values in two models over the same examples, in 64 bins over the range each has in the reference,
 * as `compare` found it.
 */
export async function distributions(
  reference: Model,
  candidate: Model,
  data: Dataset,
  values: readonly { readonly name: string; readonly range: readonly [number, number] }[],
  options: Omit<CompareOptions, "layers" | "onProgress"> = {},
): Promise<Distribution[]> {
  const outputs = new Set(reference.graph.outputs.map(({ name }) => name));
  const inner = values.map(({ name }) => name).filter((name) => !outputs.has(name));
  const counts = values.map(({ name, range }) => ({
    ...{ name, range, reference: new Float64Array(BINS), candidate: new Float64Array(BINS) },
    candidateRange: [Infinity, -Infinity] as [number, number],
  }));
  for (const [side, model] of [["reference", reference] as const, ["candidate", candidate] as const]) {
    const session = await openSession(withOutputs(model, inner), {
      ...(options.runtime && { runtime: options.runtime }),
      ...(options.threads && { threads: options.threads }),
    });
    try {
      for await (const { feeds } of feedBatches(reference, data, options)) {
        const results = await session.run(feeds);
        for (const count of counts) {
          const seen = results[count.name];
          if (seen !== undefined) add(count[side], count.range, seen, side === "candidate" && count.candidateRange);
        }
      }
    } finally {
      await session.close();
    }
  }
  return counts;
}

function add(
  bins: Float64Array,
  [low, high]: readonly [number, number],
  { data }: TensorData,
  seen: false | [number, number],
) {
  const scale = high > low ? BINS / (high - low) : 0;
  for (const value of data as Iterable<number | bigint>) {
    const x = Number(value);
    if (!Number.isFinite(x)) continue;
    bins[Math.max(0, Math.min(BINS - 1, Math.floor((x - low) * scale)))]! += 1;
    if (seen !== false) [seen[0], seen[1]] = [Math.min(seen[0], x), Math.max(seen[1], x)];
  }
}
