import type { Dataset } from "../data/dataset.ts";
import { int } from "../ir/attrs.ts";
import { divideExactly, productOf } from "../ir/dim.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { int64s } from "../ir/tensor.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { calibrationBatches, numbersOf } from "./calibrate.ts";
import { Averaged } from "./histogram.ts";
import type { CalibrateOptions, Statistics } from "./types.ts";

/**
 * The smallest and largest number of each value, and their running averages over the examples, found inside the graph: no
 * activation leaves the runtime, so that time and memory are those of inference. Nothing is counted: `minmax` and
 * `movingAverage` are the methods it is enough for. Undefined where a value holds NaN or infinity, which only counting
 * every number can pass over.
 */
export async function observeExtrema(
  model: Model,
  names: readonly string[],
  data: Dataset,
  options: CalibrateOptions,
): Promise<Statistics | undefined> {
  const { model: watched, watch } = withExtrema(model, names);
  const session = await openSession(watched, options.threads === undefined ? {} : { threads: options.threads });
  const seen = new Map(names.map((name) => [name, new Averaged()]));
  const fetched = watch.flatMap(({ low, high }) => [low, high]);
  let [samples, skipped] = [0, 0];
  try {
    for await (const batch of calibrationBatches(
      model,
      numbersOf(model, names).reduce((a, b) => a + b, 0),
      data,
      options,
    )) {
      const results = fetched.length === 0 ? {} : await session.run(batch.feeds, fetched);
      for (const { name, low, high } of watch) {
        const [lows, highs] = [results[low]!.data as Float32Array, results[high]!.data as Float32Array];
        for (let i = 0; i < lows.length; i++) {
          if (!Number.isFinite(lows[i]!) || !Number.isFinite(highs[i]!)) return undefined;
          seen.get(name)!.add(lows[i]!, highs[i]!);
        }
      }
      samples += batch.indices.length;
      skipped += batch.skipped.length;
      options.onProgress?.(samples + skipped, data.size);
    }
  } finally {
    await session.close();
  }
  const uncounted = { width: 0, first: 0, bins: new Float64Array(0), zeros: 0, broken: 0 };
  return { values: new Map([...seen].map(([name, a]) => [name, { ...a.result(), ...uncounted }])), samples, skipped };
}

interface Watched {
  readonly name: string;
  readonly low: string;
  readonly high: string;
}

/** The model with the extrema of values as further outputs: one number for each example where the value divides into them. */
function withExtrema(model: Model, names: readonly string[]): { model: Model; watch: Watched[] } {
  const facts = inferModel(model);
  const first = model.graph.inputs.find(({ name }) => !model.graph.weights.has(name))?.name ?? "";
  const batch = facts.get(first)?.shape?.[0];
  const e = edit(model.graph);
  const rows = rowShape(e, first);
  const watch = names.map((name, i): Watched => {
    const shape = facts.get(name)?.shape;
    const divides = batch !== undefined && shape !== undefined && divideExactly(productOf(shape), batch) !== undefined;
    const [flat] = divides ? e.add({ op: "Reshape", inputs: [name, rows] }) : [name];
    const axes = divides ? [flat!, e.weight("minnow.axis", int64s([1]))] : [flat!];
    const [low, high] = [`minnow.low.${i}`, `minnow.high.${i}`];
    e.add({ op: "ReduceMin", inputs: axes, outputs: [low], attrs: { keepdims: int(0) } });
    e.add({ op: "ReduceMax", inputs: axes, outputs: [high], attrs: { keepdims: int(0) } });
    return { name, low, high };
  });
  e.setOutputs([...model.graph.outputs, ...watch.flatMap(({ low, high }) => [{ name: low }, { name: high }])]);
  return { model: { ...model, graph: e.done() }, watch };
}

/** The name of `[examples, −1]`, computed from the model's first input. */
function rowShape(e: ReturnType<typeof edit>, input: string): string {
  const [size] = e.add({ op: "Shape", inputs: [input], attrs: { start: int(0), end: int(1) } });
  const [rows] = e.add({
    op: "Concat",
    inputs: [size!, e.weight("minnow.rest", int64s([-1]))],
    attrs: { axis: int(0) },
  });
  return rows!;
}
