import { batches } from "../data/batches.ts";
import { bindInputs } from "../data/bind.ts";
import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { parameterWeights } from "../measure/parameters.ts";
import type { Fact } from "../ops/define.ts";
import { Emitter } from "../ops/emit.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { differentiate } from "../train/differentiate.ts";
import { crossEntropy, LABELS } from "../train/losses.ts";
import { bindSizes } from "../train/prepare.ts";
import type { Loss } from "../train/step.ts";

/** What scores that look at data are measured on. */
export interface GradientData {
  /** Examples, with labels where the loss asks for them. */
  readonly data?: Dataset;
  /** Default cross-entropy with the labels of the data, of the first output. */
  readonly loss?: Loss;
  /** Examples a run; default 32. For `hessian` gradients are squared per run, so that 1 is the exact Fisher diagonal. */
  readonly batch?: number;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * By weight: the mean gradient of the loss over all runs (`taylor`), or the mean of its square (`hessian`). Weights the
 * loss does not depend on are not here. The last examples are left out where they do not fill a batch, unless they are the
 * only ones.
 */
export async function gradientsOf(
  model: Model,
  order: "taylor" | "hessian",
  options: GradientData,
): Promise<ReadonlyMap<string, Float64Array>> {
  const data = options.data;
  if (data === undefined || data.size === 0)
    throw new MinnowError(`The score ${order} takes gradients, and there are no examples.`, {
      code: "prune/no-data",
      mend: "Give some hundred labelled examples as data, or take another score: l2 needs none.",
    });
  const size = Math.min(options.batch ?? 32, data.size);
  const {
    step,
    gradients,
    feeds: asked,
  } = await gradientModel(await bindSizes(model, size), options.loss ?? crossEntropy());
  const session = await openSession(step, options.threads === undefined ? {} : { threads: options.threads });
  const totals = new Map<string, Float64Array>();
  let runs = 0;
  try {
    let done = 0;
    for await (const { feeds, labels, indices } of batches(bindInputs(data, model.graph), size, {
      signal: options.signal,
    })) {
      done += indices.length;
      options.onProgress?.(done, data.size);
      if (indices.length < size) continue;
      const given = asked.includes(LABELS) ? { ...feeds, [LABELS]: labelFeed(labels, order) } : feeds;
      const results = await session.run(given, [...gradients.values()]);
      for (const [weight, name] of gradients) add(totals, weight, results[name] as TensorData, order === "hessian");
      runs++;
    }
  } finally {
    await session.close();
  }
  for (const total of totals.values()) for (let i = 0; i < total.length; i++) total[i] = (total[i] as number) / runs;
  return totals;
}

function labelFeed(labels: Int32Array | undefined, order: string): TensorData {
  if (labels === undefined)
    throw new MinnowError(`The score ${order} takes the gradients of a loss, and the examples have no labels.`, {
      code: "prune/no-labels",
      mend: "Give labelled data (class folders, for example), another loss, or another score.",
    });
  return { dtype: "int64", shape: [labels.length], data: BigInt64Array.from(labels, BigInt) };
}

function add(totals: Map<string, Float64Array>, weight: string, { data }: TensorData, squared: boolean): void {
  const values = data as Float32Array;
  const total = totals.get(weight) ?? new Float64Array(values.length);
  totals.set(weight, total);
  for (let i = 0; i < values.length; i++) {
    const g = values[i] as number;
    total[i] = (total[i] as number) + (squared ? g * g : g);
  }
}

/** The model with a loss and its gradients by every parameter that it depends on. */
async function gradientModel(model: Model, loss: Loss) {
  const e = edit(model.graph);
  const facts = new Map<string, Fact>(inferModel(model));
  const g = new Emitter(e, facts, model.opsets);
  const inputs = [...model.graph.inputs];
  const feeds: string[] = [];
  const value = loss.build(g, {
    inputs: model.graph.inputs.map(({ name }) => name),
    outputs: Object.fromEntries(model.graph.outputs.map(({ name }) => [name, name])),
    input: (name, dtype, shape) => {
      if (!feeds.includes(name)) inputs.push({ name, type: { kind: "tensor", dtype, shape } });
      feeds.push(name);
      facts.set(name, { dtype, shape });
      return name;
    },
  });
  e.setInputs(inputs);
  e.setOutputs([{ name: value }]);
  const judged = { ...model, graph: e.done() };
  const wrt = reached(judged, value, [...parameterWeights(model).keys()]);
  const { model: step, gradients } = differentiate(judged, { loss: value, wrt });
  return { step, gradients, feeds };
}

/** Those of the float32 weights that a value is computed from. */
function reached({ graph }: Model, value: string, weights: readonly string[]): string[] {
  const needed = new Set([value]);
  for (const node of graph.nodes.toReversed())
    if (node.outputs.some((name) => needed.has(name))) for (const name of node.inputs) needed.add(name);
  return weights.filter((name) => needed.has(name) && graph.weights.get(name)?.dtype === "float32");
}
