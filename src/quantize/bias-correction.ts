import type { Dataset } from "../data/dataset.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Model, Node, ValueInfo } from "../ir/graph.ts";
import { int64s, type TensorData } from "../ir/tensor.ts";
import { usesOf } from "../ir/walk.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { calibrationBatches, numbersOf } from "./calibrate.ts";
import type { Corrections } from "./insert.ts";
import type { Contraction, Plan } from "./plan.ts";
import type { CalibrateOptions } from "./types.ts";

/**
 * The mean by which each output channel of each contraction is off, as what has to be added to it. Float and quantized
 * model run side by side over the examples; inside the quantized one every layer is set right by the mean error of the
 * batch, so that each layer's error is measured behind layers that were corrected already. One run over the data, in
 * constant memory. Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
 * arXiv 1906.04721, section 4.2 (empirical bias correction).
 */
export async function measureCorrections(
  float: Model,
  quantized: Model,
  plan: Pick<Plan, "contractions" | "excluded">,
  data: Dataset,
  options: CalibrateOptions,
): Promise<Corrections> {
  const layers = [...plan.contractions, ...plan.excluded].filter(
    ({ bias, channel }) => bias !== undefined && channel !== undefined,
  );
  const meters = layers.map((layer, i) => meterOf(float, layer, i));
  const sums = new Map(meters.map(({ name }) => [name, { errors: new Float64Array(0), count: 0 }]));
  const threads = options.threads === undefined ? {} : { threads: options.threads };
  const reference = await openSession(measuring(float, meters), threads);
  const corrected = await openSession(correcting(quantized, meters), threads);
  try {
    let done = 0;
    // A few of the largest values are in memory at once.
    const each =
      4 *
      Math.max(
        ...numbersOf(
          float,
          meters.map(({ name }) => name),
        ),
      );
    for await (const { feeds, indices, skipped } of calibrationBatches(float, each, data, options)) {
      const means = await reference.run(
        feeds,
        meters.map(({ mean }) => mean),
      );
      const errors = await corrected.run(
        { ...feeds, ...means },
        meters.map(({ error }) => error),
      );
      for (const { name, error } of meters) add(sums.get(name)!, errors[error]!, indices.length);
      done += indices.length + skipped.length;
      options.onProgress?.(done, data.size);
    }
  } finally {
    await reference.close();
    await corrected.close();
  }
  return new Map([...sums].map(([name, { errors, count }]) => [name, errors.map((sum) => -sum / count)]));
}

/** How the output of one layer is measured: names of its mean in the float model, and of the error. */
interface Meter {
  readonly node: Node;
  /** The output of the layer. */
  readonly name: string;
  readonly mean: string;
  readonly error: string;
  /** Every axis but that of the channels. */
  readonly axes: readonly number[];
}

function meterOf(model: Model, { node, channel }: Contraction, index: number): Meter {
  const name = node.outputs[0] ?? "";
  const rank = inferModel(model).get(name)?.shape?.length ?? 0;
  const axes = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => axis !== rank + channel!.output);
  return { node, name, mean: `minnow.mean.${index}`, error: `minnow.error.${index}`, axes };
}

function addMean(e: GraphEdit, of: string, axes: readonly number[], to: string): void {
  e.add({ op: "ReduceMean", inputs: [of, e.weight("axes", int64s(axes))], outputs: [to] });
}

/** The float model with the mean of every layer's channels as outputs. */
function measuring(model: Model, meters: readonly Meter[]): Model {
  const e = edit(model.graph);
  for (const { name, mean, axes } of meters) addMean(e, name, axes, mean);
  e.setOutputs([...model.graph.outputs, ...meters.map(({ mean }) => ({ name: mean }))]);
  return { ...model, graph: e.done() };
}

/** The quantized model with those means as inputs: it takes each layer's error off its output, and gives the errors. */
function correcting(model: Model, meters: readonly Meter[]): Model {
  const e = edit(model.graph);
  for (const { node, name, mean, error, axes } of meters) {
    const output = outputOf(model, node, name);
    const own = e.fresh(`${mean}.quantized`);
    addMean(e, output, axes, own);
    e.add({ op: "Sub", inputs: [own, mean], outputs: [error] });
    const [right] = e.add({ op: "Sub", inputs: [output, error] });
    e.reroute(output, right!);
  }
  const floats = (name: string): ValueInfo => ({ name, type: { kind: "tensor", dtype: "float32" } });
  e.setInputs([...model.graph.inputs, ...meters.map(({ mean }) => floats(mean))]);
  e.setOutputs([...model.graph.outputs, ...meters.map(({ error }) => floats(error))]);
  return { ...model, graph: e.done() };
}

/** What the layer writes in the quantized model, where a model's output is what was rounded after it. */
function outputOf({ graph }: Model, { op }: Node, name: string): string {
  const { writer } = usesOf(graph);
  const last = writer.get(name);
  if (last === undefined || last.op === op) return name;
  return writer.get(last.inputs[0] ?? "")?.inputs[0] ?? name;
}

function add(sum: { errors: Float64Array; count: number }, error: TensorData, examples: number): void {
  const values = error.data as Float32Array;
  if (sum.errors.length === 0) sum.errors = new Float64Array(values.length);
  values.forEach((value, c) => {
    sum.errors[c]! += value * examples;
  });
  sum.count += examples;
}
