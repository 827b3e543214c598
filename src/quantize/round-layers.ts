import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import { elements, tensorFrom } from "../ir/tensor.ts";
import type { WeightType } from "./affine.ts";
import type { Grid, RoundedMatrix, Rounding } from "./blocks.ts";
import { type Moments, measureMoments } from "./moments.ts";
import type { Contraction } from "./plan.ts";
import { closestLevels, MOST_SEARCHED } from "./rounding/closest.ts";
import { gptq } from "./rounding/gptq.ts";
import { LEAST_MAGNITUDE, roundToNearest } from "./rounding/rtn.ts";
import type { CalibrateOptions } from "./types.ts";
import { finiteFloats, partsOf, type QuantizedWeight } from "./weights.ts";

export interface RoundLayersOptions extends CalibrateOptions {
  readonly data: Dataset;
  readonly type: WeightType;
  /** 7 bits. */
  readonly reduceRange?: boolean;
  readonly symmetric?: boolean;
}

/**
 * The weights of contractions on 8-bit levels, by name, rounded so that errors cancel on the examples: by {@link gptq} over the
 * unfolded inputs of convolutions, group by group, and rows of few numbers by {@link closestLevels}, a step for each output
 * channel. Weights that do not unfold into rows are left out,
 * and those that layers read along different axes.
 */
export async function roundLayers(
  model: Model,
  layers: readonly Contraction[],
  options: RoundLayersOptions,
): Promise<ReadonlyMap<string, QuantizedWeight>> {
  const { data, batch, threads, signal } = options;
  const sharing = (weight: string) => layers.filter((other) => other.weight === weight);
  const first = layers.filter((layer) => {
    const [one, ...others] = sharing(layer.weight);
    return one === layer && others.every(({ channel }) => channel?.weight === layer.channel?.weight);
  });
  const running = { ...(batch && { batch }), ...(threads && { threads }), ...(signal && { signal }) };
  const measured = await measureMoments(model, first, { data, ...running });
  const weights = new Map<string, QuantizedWeight>();
  for (const layer of first) {
    const moments = measured.get(layer.node.outputs[0] ?? "");
    if (moments === undefined) continue;
    const tensor = model.graph.weights.get(layer.weight)!;
    const values = await finiteFloats(layer.weight, tensor);
    weights.set(layer.weight, roundRows(values, tensor.shape, layer, moments, options));
  }
  return weights;
}

function roundRows(
  values: Float32Array,
  shape: readonly number[],
  { channel, depthwise }: Contraction,
  { groups, rows, columns, hessian }: Moments,
  { type, reduceRange = false, symmetric = true }: RoundLayersOptions,
): QuantizedWeight {
  const places = placesIn(shape, channel!.weight, columns);
  const matrix = new Float32Array(values.length);
  places.forEach((at, i) => {
    matrix[at] = values[i]!;
  });
  const even = symmetric || depthwise;
  const grid: Grid = { bits: reduceRange ? 7 : 8, symmetric: even, blockSize: columns };
  const half = 2 ** (grid.bits - 1);
  const offset = type === "uint8" ? 128 - half : -half;
  const levels = new Int16Array(values.length);
  const scales = new Float32Array(groups * rows);
  const zeroPoints = new Int32Array(groups * rows);
  const round = columns <= MOST_SEARCHED ? closestLevels : gptq;
  hessian.forEach((own, q) => {
    const from = q * rows * columns;
    const part = matrix.subarray(from, from + rows * columns);
    const made: RoundedMatrix = round(part, rows, columns, own, grid, even ? evenSteps : roundToNearest);
    made.levels.forEach((level, i) => {
      levels[from + i] = (made.scales[Math.floor(i / columns)] === 0 ? half : level) + offset;
    });
    made.scales.forEach((scale, r) => {
      scales[q * rows + r] = scale === 0 ? 1 : scale;
      zeroPoints[q * rows + r] = (scale === 0 ? half : made.zeroPoints[r]!) + offset;
    });
  });
  const out = places.map((at) => levels[at]!);
  return { tensor: tensorFrom(type, shape, out), scales, zeroPoints };
}

/** Where each number of a weight stands among the rows of its output channels. */
function placesIn(shape: readonly number[], axis: number, columns: number): Int32Array {
  const { channels, channelOf } = partsOf(shape, axis);
  const met = new Int32Array(channels);
  return Int32Array.from({ length: elements(shape) }, (_, i) => channelOf(i) * columns + met[channelOf(i)]!++);
}

/** Steps that reach as far below the middle as above it. */
const evenSteps: Rounding = (values, size, { bits }, { levels, scales, zeroPoints }) => {
  const half = 2 ** (bits - 1);
  zeroPoints.fill(half);
  for (let block = 0, at = 0; at < values.length; block++, at += size) {
    let most = 0;
    for (let i = at; i < at + size; i++) most = Math.max(most, Math.abs(values[i]!));
    const scale = most < LEAST_MAGNITUDE ? 0 : Math.fround(most / (half - 1));
    scales[block] = scale;
    for (let i = at; i < at + size; i++) levels[i] = scale === 0 ? half : Math.round(values[i]! / scale) + half;
  }
};
