import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { elements, float32s, readFloats, type Tensor, tensorFrom } from "../ir/tensor.ts";
import { parameterWeights } from "../measure/parameters.ts";
import { kMeans } from "../numeric/k-means.ts";
import type { Json, Pass } from "../passes/index.ts";
import { rewriting } from "../passes/rewrite.ts";
import { matcher } from "../train/globs.ts";
import { readyToTrain } from "../train/prepare.ts";
import { type TrainOptions, type TrainResult, train } from "../train/train.ts";
import { channelIn, numbersByChannel } from "./channel-codebook.ts";
import { middlesOf, placeOf } from "./rounding/table.ts";
import { axisOf } from "./storage.ts";

/** Weights of fewer elements keep their numbers: a codebook would take as much as it saves. */
const LEAST_ELEMENTS = 256;
/** Of more different numbers than this, in each channel, a weight is none of a codebook. */
const MOST_CLUSTERS = 255;

export interface ClusterWeightsOptions {
  /**
   * How many different numbers besides 0 each weight keeps, 255 at most: one number for all, or by names, where `*` stands for
   * anything and the first that fits counts; weights that none fits stay. Default 16.
   */
  readonly clusters?: number | Readonly<Record<string, number>>;
  /** Numbers of its own for each output channel: nearer, and more of them to store. Default false: for each weight. */
  readonly perChannel?: boolean;
}

/**
 * Gives each weight of two axes or more a few numbers that its own are nearest to (k-means); zeros stay zeros. The model
 * runs as before; {@link storeWeights} to `codebook` then stores the numbers once and few bits for each place, and
 * {@link tuneClusters} trains them. Source: Han et al., "Deep Compression", arXiv 1510.00149.
 * Throws a MinnowError `quantize/option` for numbers that make no sense.
 *
 * @example
 * const { model: shared } = await clusterWeights({ clusters: { "conv*": 64, "*": 16 } }).run(sparse);
 * const { model: tuned } = await tuneClusters(shared, { data, epochs: 2, optimizer: adamW(), schedule: cosine(0.001) });
 * const { model: small } = await storeWeights({ to: "codebook" }).run(tuned);
 */
export function clusterWeights({ clusters = 16, perChannel = false }: ClusterWeightsOptions = {}): Pass {
  const rules = Object.entries(typeof clusters === "number" ? { "*": clusters } : clusters);
  const wrong = rules.find(([, count]) => !Number.isInteger(count) || count < 2 || count > MOST_CLUSTERS);
  if (wrong !== undefined)
    throw new MinnowError(`It is ${wrong[1]} for "${wrong[0]}".`, {
      code: "quantize/option",
      at: "clusters",
      mend: `Give a whole number from 2 to ${MOST_CLUSTERS}.`,
    });
  const countOf = (name: string) => rules.find(([pattern]) => matcher([pattern])(name))?.[1];
  return {
    ...rewriting("clusterWeights", async (site) => {
      const { graph, model, edit, note } = site;
      const parameters = parameterWeights(model);
      for (const [name, weight] of graph.weights) {
        const count = isShared(weight) && parameters.has(name) ? countOf(name) : undefined;
        if (count === undefined) continue;
        const values = await readFloats(weight);
        const shared = perChannel
          ? byChannel(values, weight.shape, axisOf(site, name, weight) ?? 0, count)
          : nearest(values, count);
        if (shared.every((value, i) => value === values[i])) continue;
        edit.setWeight(name, float32s(weight.shape, shared));
        note(`Gave weights ${count} different numbers each${perChannel ? " channel" : ""}.`, `weight "${name}"`);
      }
    }),
    options: { clusters, perChannel } as Json,
  };
}

const isShared = ({ dtype, shape }: Tensor): boolean =>
  dtype === "float32" && shape.length > 1 && elements(shape) >= LEAST_ELEMENTS;

function nearest(values: Float32Array, count: number): Float32Array {
  const table = kMeans(
    values.filter((value) => value !== 0),
    count,
  );
  const middles = middlesOf(table);
  return values.map((value) => (value === 0 ? 0 : table[placeOf(value, middles)]!));
}

function byChannel(values: Float32Array, shape: readonly number[], axis: number, count: number): Float32Array {
  const channelOf = channelIn(shape, axis);
  const places = Array.from({ length: shape[axis]! }, (): number[] => []);
  for (let i = 0; i < values.length; i++) places[channelOf(i)]!.push(i);
  const out = new Float32Array(values.length);
  for (const own of places) {
    const shared = nearest(
      Float32Array.from(own, (i) => values[i]!),
      count,
    );
    for (const [k, i] of own.entries()) out[i] = shared[k]!;
  }
  return out;
}

/** A weight of few different numbers: which, and where; place 0 is the number 0, which is not among them. */
interface Shared {
  readonly name: string;
  readonly shape: readonly number[];
  readonly table: Float32Array;
  readonly places: Int32Array;
}

/**
 * Trains the different numbers of weights that have few: all places that hold a number go on holding the same one, whose
 * gradient is the sum of theirs, and zeros stay zeros. All else learns as {@link train} has it: freeze what shall not. A
 * sum of many gradients is large: take an optimizer that scales them (`adamW`), or a small rate.
 * Throws a MinnowError `quantize/not-clustered` where no weight has few numbers, and what `train` may throw.
 */
export async function tuneClusters(model: Model, options: Omit<TrainOptions, "masks">): Promise<TrainResult> {
  const { model: ready } = await readyToTrain(model);
  const shared: Shared[] = [];
  for (const name of parameterWeights(ready).keys()) {
    const weight = ready.graph.weights.get(name);
    const one = weight && isShared(weight) ? sharedOf(name, weight.shape, await readFloats(weight)) : undefined;
    if (one !== undefined) shared.push(one);
  }
  if (shared.length === 0)
    throw new MinnowError(`No weight, nor each of its channels, has as few as ${MOST_CLUSTERS} different numbers.`, {
      code: "quantize/not-clustered",
      mend: "Run clusterWeights first.",
    });
  const { books, gathered } = behindGather(ready, shared);
  const result = await train(gathered, options);
  return { ...result, model: await spreadOut(ready, result.model, shared, books) };
}

function sharedOf(name: string, shape: readonly number[], values: Float32Array): Shared | undefined {
  const distinct = new Set<number>();
  for (const value of values) {
    if (value !== 0) distinct.add(value);
    if (distinct.size > MOST_CLUSTERS) return sharedByChannel(name, shape, values);
  }
  const table = Float32Array.from(distinct).sort();
  const places = new Map([...table].map((value, i) => [value, i + 1]));
  return { name, shape, table, places: Int32Array.from(values, (value) => places.get(value) ?? 0) };
}

function sharedByChannel(name: string, shape: readonly number[], values: Float32Array): Shared | undefined {
  const found = numbersByChannel(values, shape);
  if (found === undefined) return undefined;
  const channelOf = channelIn(shape, found.axis);
  const numbers: number[] = [];
  const places = found.tables.map(
    (table) => new Map([...table.filter((value) => value !== 0)].map((value) => [value, numbers.push(value)])),
  );
  const at = Int32Array.from(values, (value, i) => places[channelOf(i)]!.get(value) ?? 0);
  return { name, shape, table: Float32Array.from(numbers), places: at };
}

/** The model with each such weight as a Gather from its numbers and a 0 before them. */
function behindGather(model: Model, shared: readonly Shared[]) {
  const e = edit(model.graph);
  const books = shared.map(({ name, shape, table, places }) => {
    const book = e.weight(`${name}.codebook`, float32s([table.length], table));
    const zero = e.weight("zero", float32s([1], [0]));
    e.removeWeight(name);
    const [numbers] = e.add({ op: "Concat", inputs: [zero, book], attrs: { axis: int(0) } });
    const indices = e.weight(`${name}.places`, tensorFrom("int32", shape, places));
    e.add({ op: "Gather", inputs: [numbers!, indices], outputs: [name] });
    return book;
  });
  return { books, gathered: { ...model, graph: e.done() } };
}

/** The model with the weights that were trained, those with few numbers in their own shape again. */
async function spreadOut(ready: Model, trained: Model, shared: readonly Shared[], books: readonly string[]) {
  const e = edit(ready.graph);
  for (const name of ready.graph.weights.keys()) {
    const tensor = trained.graph.weights.get(name);
    if (tensor !== undefined) e.setWeight(name, tensor);
  }
  for (const [i, { name, shape, places }] of shared.entries()) {
    const table = await readFloats(trained.graph.weights.get(books[i]!)!);
    e.setWeight(
      name,
      float32s(
        shape,
        Float32Array.from(places, (place) => (place === 0 ? 0 : table[place - 1]!)),
      ),
    );
  }
  return { ...ready, graph: e.done() };
}
