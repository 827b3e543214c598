import type { Dataset } from "../data/dataset.ts";
import { intAttr, ints } from "../ir/attrs.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { elements, float32s, int64s, type Tensor } from "../ir/tensor.ts";
import { inferModel } from "../ops/infer.ts";
import { removeDeadCode } from "../passes/index.ts";
import { openSession } from "../runtime/index.ts";
import { calibrationBatches, numbersOf } from "./calibrate.ts";
import type { Contraction } from "./plan.ts";
import type { CalibrateOptions } from "./types.ts";
import { partsOf } from "./weights.ts";

/**
 * How a contraction multiplies: each output channel of group q is the product of a row of `columns` numbers of the weight with
 * the column that its inputs are at some place, unfolded (im2col). A product of matrices is one group, a depthwise
 * convolution a group for each channel.
 */
export interface Unfolding {
  readonly groups: number;
  /** Output channels of one group. */
  readonly rows: number;
  readonly columns: number;
}

/** Larger unfoldings are not measured: their sums take 8·columns² bytes for each group. */
const MOST_COLUMNS = 8192;
const MOST_NUMBERS = 2 ** 26;

/** How a contraction unfolds; undefined where its weight does not have one row for each output channel, or is too large. */
function unfoldingOf(model: Model, { node, weight, channel }: Contraction): Unfolding | undefined {
  const shape = model.graph.weights.get(weight)?.shape;
  const outputs = inferModel(model).get(node.outputs[0] ?? "")?.shape;
  if (shape === undefined || channel === undefined || outputs === undefined) return undefined;
  const channels = shape[channel.weight] ?? 0;
  const groups = intAttr(node, "group", 1);
  if (channels === 0 || outputs.at(channel.output) !== channels || channels % groups !== 0) return undefined;
  const columns = elements(shape) / channels;
  if (columns > MOST_COLUMNS || groups * columns * columns > MOST_NUMBERS) return undefined;
  return { groups, rows: channels / groups, columns };
}

/** Σ x·xᵀ over all places and examples of what a contraction unfolds, [columns, columns] for each group. */
export interface Moments extends Unfolding {
  readonly hessian: readonly Float64Array[];
}

/**
 * Measures what contractions unfold, by the name of their outputs. A contraction is linear in its weight: with a weight of unit
 * rows, one for each column, it gives the unfolded input itself, whatever its strides, pads, dilations and groups. The sums are
 * computed inside the graph, in one run over the examples. Contractions that do not unfold are left out.
 */
export async function measureMoments(
  model: Model,
  layers: readonly Contraction[],
  { data, ...options }: CalibrateOptions & { readonly data: Dataset },
): Promise<ReadonlyMap<string, Moments>> {
  const known = layers.flatMap((layer) => {
    const unfolding = unfoldingOf(model, layer);
    return unfolding === undefined ? [] : [{ ...layer, ...unfolding }];
  });
  if (known.length === 0) return new Map();
  const measuring = await withMoments(model, known);
  const sums = new Map(known.map((layer) => [layer.node.outputs[0] ?? "", roomFor(layer)]));
  const threads = options.threads === undefined ? {} : { threads: options.threads };
  const session = await openSession(measuring, threads);
  try {
    const each = known.map(
      (layer) => numbersOf(model, [layer.node.outputs[0] ?? ""])[0]! * (layer.columns / layer.rows),
    );
    for await (const { feeds } of calibrationBatches(model, Math.max(...each), data, options)) {
      const results = await session.run(feeds);
      for (const [i, found] of [...sums.values()].entries()) add(found, results[nameOf(i)]!.data as Float32Array);
    }
  } finally {
    await session.close();
  }
  return sums;
}

const nameOf = (i: number): string => `minnow.hessian.${i}`;

/** A model that gives the sums of these contractions alone. */
async function withMoments(model: Model, layers: readonly (Contraction & Unfolding)[]): Promise<Model> {
  const e = edit(model.graph);
  const names = layers.map((layer, i) => {
    const columns = unfolded(e, model, layer);
    const [turned = ""] = e.add({ op: "Transpose", inputs: [columns], attrs: { perm: ints([0, 2, 1]) } });
    return e.add({ op: "MatMul", inputs: [columns, turned], outputs: [nameOf(i)] })[0]!;
  });
  e.setOutputs(names.map((name) => ({ name })));
  return (await removeDeadCode().run({ ...model, graph: e.done() })).model;
}

/** What a contraction unfolds of its input: [groups, columns, places]. */
function unfolded(e: GraphEdit, model: Model, layer: Contraction & Unfolding): string {
  const { node, channel, bias, rule, groups, columns } = layer;
  const units = e.weight("minnow.units", unitRows(model.graph.weights.get(layer.weight)!, layer));
  const inputs = node.inputs.map((name, i) => (i === rule.weight ? units : i === bias?.index ? "" : name));
  while (inputs.at(-1) === "") inputs.pop();
  const rank = inferModel(model).get(node.outputs[0] ?? "")?.shape?.length ?? 0;
  const axis = rank + channel!.output;
  const [wide = ""] = e.add({ op: node.op, domain: node.domain, inputs, attrs: node.attrs });
  const perm = [axis, ...Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis)];
  const [first = ""] = e.add({ op: "Transpose", inputs: [wide], attrs: { perm: ints(perm) } });
  const shape = e.weight("minnow.shape", int64s([groups, columns, -1]));
  return e.add({ op: "Reshape", inputs: [first, shape] })[0]!;
}

/** A weight with a row for each column and group, 1 there and 0 elsewhere. */
function unitRows({ shape }: Tensor, { channel, groups, columns }: Contraction & Unfolding): Tensor {
  const wide = shape.with(channel!.weight, groups * columns);
  const values = new Float32Array(elements(wide));
  const { channelOf } = partsOf(wide, channel!.weight);
  const met = new Int32Array(groups * columns);
  for (let i = 0; i < values.length; i++) {
    const c = channelOf(i);
    if (met[c]!++ === c % columns) values[i] = 1;
  }
  return float32s(wide, values);
}

const roomFor = ({ groups, rows, columns }: Unfolding): Moments => ({
  ...{ groups, rows, columns },
  hessian: Array.from({ length: groups }, () => new Float64Array(columns * columns)),
});

/** Adds what a batch brings; one that brings NaN or infinity says nothing of how inputs lie. */
function add({ hessian }: Moments, found: Float32Array): void {
  if (!found.every(Number.isFinite)) return;
  hessian.forEach((sum, q) => {
    for (let i = 0, at = q * sum.length; i < sum.length; i++) sum[i]! += found[at + i]!;
  });
}
