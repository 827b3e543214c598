import { batches } from "../data/batches.ts";
import { bindInputs, feedInputs } from "../data/bind.ts";
import type { Dataset } from "../data/dataset.ts";
import { float, int } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Model, Node } from "../ir/graph.ts";
import { float32s, type TensorData } from "../ir/tensor.ts";
import { titleOf } from "../ir/walk.ts";
import { ruleOf } from "../ops/index.ts";
import type { Pass, PassResult } from "../passes/index.ts";
import { merged } from "../passes/pass.ts";
import { openSession } from "../runtime/index.ts";
import { type AugmentOptions, augmentation, type Pixels } from "./augment.ts";
import { orderOf } from "./order.ts";

export interface UpdateBatchNormOptions {
  /** What the statistics are taken from: what was learned from. */
  readonly data: Dataset;
  /** As in training; without it, statistics are others than those the weights have learned to stand behind. No mixup. */
  readonly augment?: AugmentOptions | undefined;
  /** What black and white are, where the data does not know it. */
  readonly pixels?: Pixels | undefined;
  /** Examples whose statistics are taken at once. Default 64. */
  readonly batch?: number;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/**
 * The model with the running statistics of its BatchNormalizations measured anew, mean and variance over all examples, as
 * PyTorch's `update_bn` does; each layer is measured behind layers that normalize by the batch. Running averages lag behind
 * weights that moved, above all rounded ones, that step from level to level, and averaged or pruned ones. No weight changes.
 * Sources: Wu and Johnson 2021, arXiv:2105.07576 (over the whole population); Nagel et al. 2022, arXiv:2203.11086 (after
 * quantization-aware training).
 *
 * @example
 * const { model: settled } = await updateBatchNorm({ data: photos, augment: { flip: true, crop: 4 } }).run(trained);
 */
export const updateBatchNorm = (options: UpdateBatchNormOptions): Pass => ({
  name: "updateBatchNorm",
  options: {},
  run: (model) => updated(model, options),
});

async function updated(
  model: Model,
  { data, augment, pixels, batch = 64, threads, signal }: UpdateBatchNormOptions,
): Promise<PassResult> {
  const nodes = model.graph.nodes.filter((node) => {
    const statistics = ruleOf(node)?.statistics;
    return statistics?.every((input) => model.graph.weights.has(node.inputs[input] as string));
  });
  if (nodes.length === 0) return { model, changes: [] };
  const meters = nodes.map((node, i) => ({ node, mean: `minnow.mean.${i}`, variance: `minnow.variance.${i}` }));
  const session = await openSession(inTraining(model, meters), threads === undefined ? {} : { threads });
  const fixed = feedInputs(model.graph)[0]?.type?.shape?.[0];
  const size = typeof fixed === "number" && fixed > 0 ? fixed : batch;
  const sums = meters.map(() => ({ mean: new Float64Array(0), square: new Float64Array(0) }));
  let count = 0;
  try {
    // Mixed, since folders come class by class; a last batch that is not full would count for more than it knows.
    const order = orderOf(data.size, 0, 0);
    const mixed = bindInputs(data.subset(order), model.graph);
    const change = augment && augmentation(model.graph, data, augment, { pixels, seed: 0 });
    for await (const { feeds, indices } of batches(mixed, size, { signal })) {
      if (count > 0 && indices.length < size) break;
      if (change !== undefined) {
        const { data: numbers, shape } = feeds[change.input] as TensorData & { data: Float32Array };
        change.augment({ data: numbers, shape, indices: Array.from(indices, (i) => order[i] as number) }, 0);
      }
      const names = meters.flatMap(({ mean, variance }) => [mean, variance]);
      const results = await session.run(feeds, names);
      for (const [i, { mean, variance }] of meters.entries()) {
        const [m, v] = [results[mean]?.data as Float32Array, results[variance]?.data as Float32Array];
        const sum = sums[i] as (typeof sums)[number];
        if (count === 0) Object.assign(sum, { mean: new Float64Array(m.length), square: new Float64Array(m.length) });
        for (const [c, value] of m.entries()) {
          sum.mean[c] = (sum.mean[c] as number) + value * indices.length;
          sum.square[c] = (sum.square[c] as number) + ((v[c] as number) + value * value) * indices.length;
        }
      }
      count += indices.length;
    }
  } finally {
    await session.close();
  }
  const e = edit(model.graph);
  for (const [i, { node }] of meters.entries()) {
    const sum = sums[i] as (typeof sums)[number];
    const mean = sum.mean.map((value) => value / count);
    const variance = sum.square.map((value, c) => Math.max(0, value / count - (mean[c] as number) ** 2));
    e.setWeight(node.inputs[3] as string, float32s([mean.length], mean));
    e.setWeight(node.inputs[4] as string, float32s([mean.length], variance));
  }
  const what = "Measured the statistics of a normalization.";
  return { model: { ...model, graph: e.done() }, changes: merged(nodes.map((node) => ({ what, at: titleOf(node) }))) };
}

/** The model with normalizations that go by the batch and give its mean and variance. */
function inTraining(
  model: Model,
  meters: readonly { readonly node: Node; readonly mean: string; readonly variance: string }[],
): Model {
  const e = edit(model.graph);
  const measured: { name: string }[] = [];
  for (const { node, mean, variance } of meters) {
    // ONNX Runtime writes over the statistics it is given, so each node gets its own, whose values do not count.
    const own = node.inputs.slice(3, 5).map((name) => e.add({ op: "Neg", inputs: [name] })[0] as string);
    e.change(node, {
      inputs: [...node.inputs.slice(0, 3), ...own],
      outputs: [node.outputs[0] as string, mean, variance],
      attrs: { ...node.attrs, momentum: float(0), training_mode: int(1) },
    });
    measured.push({ name: mean }, { name: variance });
  }
  e.setOutputs([...model.graph.outputs, ...measured]);
  return { ...model, graph: e.done() };
}
