import { batches } from "../data/batches.ts";
import { bindInputs } from "../data/bind.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { batchSizeOf } from "../measure/evaluate.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { examplesOf, type MeasureData } from "./activations.ts";

/**
 * How far outputs are apart: `kl` is the mean Kullback-Leibler divergence of the probabilities in the last axis of the first
 * output (scores or probabilities), `squared` the squared difference over the squared size.
 */
export type Distance = "kl" | "squared";

/** Runs the model once over the data and gives what measures how far another's first output is from its. */
export async function distanceTo(
  model: Model,
  options: MeasureData & { readonly distance?: Distance },
): Promise<(other: Model) => Promise<number>> {
  const [name, width, rank] = firstScores(model);
  const { distance = width > 1 && rank < 4 ? "kl" : "squared" } = options;
  if (distance !== "kl" && distance !== "squared")
    throw new MinnowError(`It is ${JSON.stringify(distance)}.`, {
      code: "prune/option",
      at: "distance",
      mend: "It can be kl or squared.",
    });
  const wanted = await outputs(model, name, options);
  return async (other) => {
    const got = await outputs(other, name, options);
    let [sum, total] = [0, 0];
    for (const [i, batch] of wanted.entries()) {
      const own = got[i]!;
      if (distance === "kl") {
        sum += divergence(batch, own, width);
        total += batch.length / width;
      } else
        for (let k = 0; k < batch.length; k++) {
          sum += (batch[k]! - own[k]!) ** 2;
          total += batch[k]! ** 2;
        }
    }
    return sum / Math.max(total, 1e-30);
  };
}

/** The first float output, the size of its last axis, its rank. */
function firstScores(model: Model): [name: string, width: number, rank: number] {
  const facts = inferModel(model);
  const found = model.graph.outputs.find(({ name }) => facts.get(name)?.dtype === "float32");
  if (found === undefined)
    throw new MinnowError("The model has no float32 output to measure on.", {
      code: "prune/no-output",
      mend: 'Judge blocks by "influence", or name those that go.',
    });
  const shape = facts.get(found.name)?.shape ?? [];
  return [found.name, Number(shape.at(-1)) || 1, shape.length];
}

async function outputs(model: Model, name: string, options: MeasureData): Promise<Float32Array[]> {
  const data = examplesOf(options.data);
  const out: Float32Array[] = [];
  const session = await openSession(model, options.threads === undefined ? {} : { threads: options.threads });
  try {
    const size = batchSizeOf(model, options.batch);
    for await (const { feeds, indices } of batches(bindInputs(data, model.graph), size, { signal: options.signal })) {
      const { data: values, shape } = (await session.run(feeds, [name]))[name]!;
      const each = values.length / (shape[0] ?? 1);
      out.push((values as Float32Array).slice(0, each * indices.length));
    }
  } finally {
    await session.close();
  }
  return out;
}

/** Σ over rows of KL(p ‖ q). */
function divergence(a: Float32Array, b: Float32Array, width: number): number {
  let sum = 0;
  for (let at = 0; at < a.length; at += width) {
    const [p, q] = [a, b].map((values) => logProbabilities(values.subarray(at, at + width)));
    for (let k = 0; k < width; k++) sum += Math.exp(p![k]!) * (p![k]! - q![k]!);
  }
  return sum;
}

/** ln of a row of probabilities, or of the softmax of scores. */
function logProbabilities(row: Float32Array): Float64Array {
  const sum = row.reduce((total, v) => total + v, 0);
  if (Math.abs(sum - 1) < 1e-3 && row.every((v) => v >= 0)) return Float64Array.from(row, (v) => Math.log(v + 1e-12));
  const most = row.reduce((largest, v) => Math.max(largest, v), -Infinity);
  const total = Math.log(row.reduce((all, v) => all + Math.exp(v - most), 0)) + most;
  return Float64Array.from(row, (v) => v - total);
}
