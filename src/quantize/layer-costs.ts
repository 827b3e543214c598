import { bindInputs } from "../data/bind.ts";
import { cached } from "../data/cached.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { costOf } from "../measure/cost.ts";
import { differenceSum } from "../measure/difference.ts";
import { weightBytes } from "../measure/size.ts";
import { optimize } from "../passes/index.ts";
import { openSession } from "../runtime/index.ts";
import { calibrate, calibrationBatches, numbersOf, observedValues } from "./calibrate.ts";
import { curvatureOf, weightNoise } from "./curvature.ts";
import { type Layer, type LayerFormat, layersOf, type QuantizeMixedOptions, quantizeMixed } from "./mixed.ts";
import type { CalibrateOptions } from "./types.ts";

/** What a layer takes and loses in a format. */
export interface LayerChoice {
  readonly format: LayerFormat;
  /** Of its weights, scales and zero points among them. */
  readonly bytes: number;
  /** What this layer alone does in this format, by the measure asked for; 0 in float. */
  readonly noise: number;
}

/** A layer and what it may become. */
export interface LayerCosts extends Layer {
  readonly macs: number;
  readonly choices: readonly LayerChoice[];
}

/**
 * How the noise of a layer is measured.
 * - `sqnr`: Σ(y − x)² / Σx² at the model's outputs, of the output where it is largest, with this layer alone quantized: the
 *   inverse of the signal-to-noise ratio. One session for each layer and format.
 * - `curvature`: the same share as the second derivative predicts it from what rounding does to the weights (see
 *   `curvatureOf`), activations left out. One backward pass for all layers and formats; weights in storage formats alone.
 * - a function: what it says of a model, less what it says of the float one: a loss, or a metric taken negatively.
 */
export type Noise = "sqnr" | "curvature" | ((model: Model) => Promise<number>);

export interface LayerCostsOptions
  extends CalibrateOptions,
    Omit<QuantizeMixedOptions, "plan" | "data" | "biasCorrection"> {
  /** Default float and int8. A format that cannot be had for a layer is left out there. */
  readonly formats?: readonly LayerFormat[];
  /** Default `sqnr`. */
  readonly noise?: Noise;
}

/**
 * What every layer costs in every format: bytes as counted, noise as measured on `data`, a few dozen examples. Costs of
 * layers add up nearly: `planPrecision` chooses among them, and what it chose is measured as a whole.
 *
 * @example
 * const costs = await layerCosts(model, photos.take(32), { formats: ["float", "int8", "int8-storage"] });
 */
export async function layerCosts(model: Model, data: Dataset, options: LayerCostsOptions = {}): Promise<LayerCosts[]> {
  const { formats = ["float", "int8"], noise = "sqnr", onProgress, ...rest } = options;
  const { model: base } = await optimize().run(model);
  const kept = cached(bindInputs(data, base.graph));
  const statistics =
    options.statistics ?? (formats.includes("int8") ? await calibrate(base, kept, quiet(options)) : undefined);
  const layers = layersOf(base);
  const macs = new Map(costOf(base).layers.map((layer) => [layer.name, layer.macs]));
  const floatBytes = weightBytes(base);
  const noiseOf = await noiseBy(noise, base, kept, options);
  const out: LayerCosts[] = [];
  for (const layer of layers) {
    const own = weightBytes({
      ...base,
      graph: { ...base.graph, weights: new Map([[layer.weight, base.graph.weights.get(layer.weight)!]]) },
    });
    const choices: LayerChoice[] = [];
    for (const format of formats) {
      const plan = { [layer.node]: format };
      const made = await quantizeMixed({ ...rest, plan, ...(statistics && { statistics }) }).run(base);
      const same = made.model === base;
      if (same && format !== "float") continue;
      const bytes = own + weightBytes(made.model) - floatBytes;
      choices.push({ format, bytes, noise: same ? 0 : Math.max(0, await noiseOf(made.model, layer)) });
    }
    const of = layer.nodes.reduce((sum, node) => sum + (macs.get(node) ?? 0), 0);
    out.push({ ...layer, macs: of, choices });
    onProgress?.(out.length, layers.length);
  }
  return out;
}

const quiet = ({ batch, threads, signal }: CalibrateOptions): CalibrateOptions => ({
  ...(batch && { batch }),
  ...(threads && { threads }),
  ...(signal && { signal }),
});

type NoiseOf = (model: Model, layer: Layer) => Promise<number>;

async function noiseBy(noise: Noise, base: Model, data: Dataset, options: LayerCostsOptions): Promise<NoiseOf> {
  if (typeof noise === "function") {
    const before = await noise(base);
    return async (model) => (await noise(model)) - before;
  }
  if (noise === "curvature") {
    const curvature = await curvatureOf(base, data, quiet(options));
    return (model, { weight }) => weightNoise(base, model, weight, curvature);
  }
  const each = numbersOf(base, observedValues(base)).reduce((a, b) => a + b, 0);
  const reference: Record<string, TensorData>[] = [];
  const runAll = async (model: Model, take: (outputs: Record<string, TensorData>, batch: number) => void) => {
    const session = await openSession(model, options.threads === undefined ? {} : { threads: options.threads });
    try {
      let count = 0;
      for await (const { feeds } of calibrationBatches(base, each, data, options))
        take(await session.run(feeds), count++);
    } finally {
      await session.close();
    }
  };
  await runAll(base, (outputs) => reference.push(outputs));
  return async (model) => {
    const sums = new Map(base.graph.outputs.map((output) => [output.name, differenceSum()]));
    await runAll(model, (outputs, i) => {
      for (const [name, sum] of sums) sum.add(reference[i]![name]!, outputs[name]!);
    });
    return 10 ** (-Math.min(...[...sums.values()].map((sum) => sum.result().sqnr)) / 10);
  };
}
