import type { Batch } from "../data/batches.ts";
import { bindInputs } from "../data/bind.ts";
import { cached } from "../data/cached.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { differenceSum } from "../measure/difference.ts";
import { optimize } from "../passes/index.ts";
import { openSession } from "../runtime/index.ts";
import { calibrate, calibrationBatches, numbersOf, observedValues } from "./calibrate.ts";
import { type Formats, insertQuantization } from "./insert.ts";
import { nameOf, planOf } from "./plan.ts";
import { rangesBy } from "./ranges.ts";
import type { CalibrateOptions, CalibrationMethod, LayerSensitivity, RangeOptions, Statistics } from "./types.ts";

export interface SensitivityOptions extends CalibrateOptions, RangeOptions, Formats {
  readonly method?: CalibrationMethod;
  /** What `calibrate` gathered of the model; gathered from `data` where it is left out. */
  readonly statistics?: Statistics;
}

/**
 * How much each layer costs: quantizes one contraction at a time, runs the model on `data` (a few dozen examples are
 * enough) and compares its outputs with the float model's. The layer that hurts most stands first; leave those of the
 * beginning in float with `nodesToExclude`. Takes one session and one run over the data for each layer.
 *
 * @example
 * const [worst] = await sensitivity(model, photos.take(32));
 * await quantizeStatic({ data, nodesToExclude: [worst.node] }).run(model);
 */
export async function sensitivity(
  model: Model,
  data: Dataset,
  options: SensitivityOptions = {},
): Promise<LayerSensitivity[]> {
  const { model: base } = await optimize().run(model);
  const kept = cached(bindInputs(data, base.graph));
  const { onProgress: _, ...quietly } = options;
  const statistics = options.statistics ?? (await calibrate(base, kept, quietly));
  const ranges = rangesBy(options.method ?? "minmax", statistics, options);
  const { contractions } = planOf(base);
  const reference: Record<string, TensorData>[] = [];
  const measured: LayerSensitivity[] = [];
  const each = numbersOf(base, observedValues(base)).reduce((a, b) => a + b, 0);
  const examples = () => calibrationBatches(base, each, kept, options);
  await runAll(base, examples(), options, (outputs) => reference.push(outputs));
  for (const { node } of contractions) {
    const plan = planOf(base, { only: node });
    const { model: one } = await insertQuantization(base, plan, ranges, options);
    const sums = new Map(base.graph.outputs.map((output) => [output.name, differenceSum()]));
    await runAll(one, examples(), options, (outputs, i) => {
      for (const [name, sum] of sums) sum.add(reference[i]![name]!, outputs[name]!);
    });
    const sqnr = Math.min(...[...sums.values()].map((sum) => sum.result().sqnr));
    measured.push({ node: nameOf(node), sqnr });
    options.onProgress?.(measured.length, contractions.length);
  }
  return measured.sort((a, b) => a.sqnr - b.sqnr);
}

async function runAll(
  model: Model,
  examples: AsyncIterable<Batch>,
  options: CalibrateOptions,
  take: (outputs: Record<string, TensorData>, batch: number) => void,
): Promise<void> {
  const session = await openSession(model, options.threads === undefined ? {} : { threads: options.threads });
  try {
    let count = 0;
    for await (const { feeds } of examples) take(await session.run(feeds), count++);
  } finally {
    await session.close();
  }
}
