import { MinnowError } from "../errors.ts";
import type { Dim } from "../ir/dim.ts";
import type { TensorData } from "../ir/tensor.ts";
import { random, shuffle } from "../numeric/random.ts";
import type { Preprocess, PreprocessOptions } from "./preprocess.ts";

/** One example: what the model is fed with (without the batch axis), its class, where it came from. */
export interface Example {
  readonly feeds: Readonly<Record<string, TensorData>>;
  readonly label?: number;
  readonly name?: string;
}

/** An example that cannot be read, and why. */
export interface Skipped {
  readonly skipped: string;
  readonly name?: string;
}

/** What a dataset is made from; see {@link dataset}. */
export interface Examples {
  readonly size: number;
  /** Names of the classes by label, where there are labels. */
  readonly classes?: readonly string[] | undefined;
  /** Labels by index, where they are known without reading an example. */
  readonly labels?: readonly number[] | undefined;
  /** Example `index`, or why it cannot be read (a corrupt image): it is then skipped and counted. */
  at(index: number): Promise<Example | Skipped>;
  /**
   * Datasets of pictures or sounds only: the same ones for an input of this shape, batch included; pictures preprocessed
   * as `options` say (default: as they were).
   */
  prepare?(options: PreprocessOptions | undefined, inputShape: readonly Dim[] | undefined): Examples;
  /** Datasets of pictures only: how they are preprocessed. An error while the size is not known. */
  preprocess?(): Preprocess;
}

/** Examples by index: sized, random access, nothing kept. */
export interface Dataset extends Examples {
  /** The first `n` examples, or all where there are fewer. */
  take(n: number): Dataset;
  /** All but the first `n` examples. */
  skip(n: number): Dataset;
  /** The examples at these indices, in this order. */
  subset(indices: readonly number[]): Dataset;
  prepare?(options: PreprocessOptions | undefined, inputShape: readonly Dim[] | undefined): Dataset;
}

/** Whether an example could not be read. */
export const isSkipped = (example: Example | Skipped): example is Skipped => "skipped" in example;

/** A dataset over anything that gives examples by index. */
export function dataset(from: Examples): Dataset {
  const { size, classes, labels, prepare } = from;
  const range = (start: number, end: number) => Array.from({ length: Math.max(0, end - start) }, (_, i) => start + i);
  const subset = (indices: readonly number[]): Dataset => {
    for (const index of indices) checkIndex(index, size);
    return dataset({
      ...from,
      size: indices.length,
      labels: labels && indices.map((index) => labels[index] as number),
      at: async (i) => from.at(indices[checkIndex(i, indices.length)] as number),
      ...(prepare && { prepare: (options, shape) => dataset(prepare(options, shape)).subset(indices) }),
    });
  };
  return {
    size,
    classes,
    labels,
    ...(from.preprocess && { preprocess: from.preprocess }),
    ...(prepare && { prepare: (options, shape) => dataset(prepare(options, shape)) }),
    at: async (index) => from.at(checkIndex(index, size)),
    take: (n) => subset(range(0, Math.min(n, size))),
    skip: (n) => subset(range(n, size)),
    subset,
  };
}

function checkIndex(index: number, size: number): number {
  if (Number.isInteger(index) && index >= 0 && index < size) return index;
  throw new MinnowError(`There is no example ${index}; there are ${size}, counted from 0.`, { code: "data/index" });
}

/** The dataset with every readable example changed by `change`; sizes, labels and classes stay. */
export const mapExamples = (data: Dataset, change: (example: Example) => Example | Skipped): Dataset =>
  dataset({
    size: data.size,
    classes: data.classes,
    labels: data.labels,
    async at(index) {
      const example = await data.at(index);
      return isSkipped(example) ? example : change(example);
    },
  });

/** How {@link split} chooses. */
export interface SplitOptions {
  /** Default 0. */
  readonly seed?: number;
  /** Each class in its share in both parts, where labels are known. Default true. */
  readonly stratified?: boolean;
}

/**
 * Two disjoint parts that together are all of `data`. A `part` below 1 is the fraction that goes to the first, from 1 on
 * the number of examples. The choice is random but depends on the seed alone; each part keeps the order of `data`.
 */
export function split(data: Dataset, part: number, options: SplitOptions = {}): [Dataset, Dataset] {
  if (!(part >= 0)) throw new MinnowError(`A part of ${part} cannot be split off.`, { code: "data/split" });
  const count = Math.min(data.size, part < 1 ? Math.round(part * data.size) : Math.floor(part));
  const labels = options.stratified === false ? undefined : data.labels;
  const order = spread(labels ?? new Array<number>(data.size).fill(0), options.seed ?? 0);
  const sorted = (indices: number[]) => data.subset(indices.sort((a, b) => a - b));
  return [sorted(order.slice(0, count)), sorted(order.slice(count))];
}

/**
 * The indices of `labels` in a seeded random order of which every beginning holds each class in its share, to within one
 * example: the r-th of a class of n stands at (r + ½) / n.
 */
export function spread(labels: readonly number[], seed: number): number[] {
  const counts = new Map<number, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const ranks = new Map<number, number>();
  const places = new Float64Array(labels.length);
  const order = shuffle(labels.keys(), random(seed));
  for (const index of order) {
    const label = labels[index] as number;
    const rank = ranks.get(label) ?? 0;
    ranks.set(label, rank + 1);
    places[index] = (rank + 0.5) / (counts.get(label) as number);
  }
  return order.sort((a, b) => (places[a] as number) - (places[b] as number));
}
