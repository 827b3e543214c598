import { BITS } from "../ir/dtype.ts";
import { elements } from "../ir/tensor.ts";
import { type Dataset, dataset, type Example, isSkipped, type Skipped } from "./dataset.ts";

/**
 * The dataset with what was read kept in memory, as long as all of it stays under `maxBytes` (default 1 GiB); what does
 * not fit is read anew each time. For data that is gone over many times.
 */
export function cached(data: Dataset, maxBytes = 2 ** 30): Dataset {
  const kept = new Map<number, Example | Skipped>();
  let bytes = 0;
  return dataset({
    size: data.size,
    classes: data.classes,
    labels: data.labels,
    async at(index) {
      const known = kept.get(index);
      if (known !== undefined) return known;
      const example = await data.at(index);
      const size = bytesOf(example);
      if (!kept.has(index) && bytes + size <= maxBytes) {
        bytes += size;
        kept.set(index, example);
      }
      return example;
    },
  });
}

const bytesOf = (example: Example | Skipped): number =>
  isSkipped(example)
    ? 0
    : Object.values(example.feeds).reduce((sum, { dtype, shape }) => sum + (elements(shape) * BITS[dtype]) / 8, 0);
