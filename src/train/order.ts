import { batches } from "../data/batches.ts";
import type { Dataset, Skipped } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { TensorData } from "../ir/tensor.ts";
import { random, seedOf, shuffle } from "../numeric/random.ts";

/** A batch to learn from. */
export interface LearningBatch {
  readonly feeds: Readonly<Record<string, TensorData>>;
  readonly labels: Int32Array | undefined;
  /** Where each example stands in the dataset. */
  readonly indices: readonly number[];
  readonly skipped: readonly Skipped[];
  /** Where the next batch begins in the order of the epoch. */
  readonly next: number;
}

/** The order of an epoch; it depends on the seed and the epoch alone. */
export const orderOf = (size: number, seed: number, epoch: number): number[] =>
  shuffle(Array(size).keys(), random(seedOf(seed, epoch)));

/**
 * Batches of one size in the order of an epoch, from place `from` in that order on; after its last example the order begins
 * anew, so that there are enough for an epoch wherever it starts. Examples that cannot be read are passed over. The examples
 * after the batch given are being read already. A MinnowError where fewer than half can be read.
 */
export async function* learningBatches(
  data: Dataset,
  options: { batch: number; seed: number; epoch: number; from?: number; signal?: AbortSignal | undefined },
): AsyncGenerator<LearningBatch> {
  const { batch, seed, epoch, from = 0, signal } = options;
  const order = orderOf(data.size, seed, epoch);
  const round = [...order.slice(from % data.size), ...order, ...order];
  for await (const { feeds, labels, indices: places, skipped } of batches(data.subset(round), batch, { signal })) {
    if (places.length < batch)
      throw new MinnowError(`Fewer than half of the ${data.size} examples can be read.`, {
        code: "train/unreadable",
        at: skipped[0]?.name,
        mend: "Check that the files are what their names say.",
      });
    const indices = Array.from(places, (place) => round[place] as number);
    yield { feeds, labels, indices, skipped, next: (from + (places.at(-1) as number) + 1) % data.size };
  }
}
