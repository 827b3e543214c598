import { MinnowError } from "../errors.ts";
import { elements, readFloats, type Tensor, tensorOf } from "../ir/tensor.ts";
import { LEAST_SCALE, roundEven, type WeightType } from "./affine.ts";

export interface WeightOptions {
  readonly type: WeightType;
  /** The axis with a scale for each index; left out, one scale for all. */
  readonly axis?: number | undefined;
  readonly symmetric: boolean;
  /** 7 bits. */
  readonly reduceRange?: boolean;
  /** Scales are at least this, per channel. */
  readonly leastScales?: ArrayLike<number> | undefined;
}

/** A weight in 8 bits: value = (level − zeroPoint)·scale of its channel. */
export interface QuantizedWeight {
  readonly tensor: Tensor;
  /** One for each channel, or one. */
  readonly scales: Float32Array;
  readonly zeroPoints: Int32Array;
}

/** Levels of a symmetric and of an asymmetric weight around its zero point; 64 is the bound of ONNX Runtime's reduce_range. */
const levelsOf = ({ type, symmetric, reduceRange = false }: WeightOptions): readonly [number, number] => {
  const [low, high] = symmetric ? (reduceRange ? [-64, 64] : [-127, 127]) : reduceRange ? [-64, 63] : [-128, 127];
  return type === "int8" ? [low, high] : [low + 128, high + 128];
};

/** Rounds a weight to 8 bits, the sum of each channel kept. A MinnowError names a weight that holds NaN or infinity. */
export async function quantizeWeight(name: string, weight: Tensor, options: WeightOptions): Promise<QuantizedWeight> {
  const values = await finiteFloats(name, weight);
  const parts = partsOf(weight.shape, options.axis);
  const [first, last] = levelsOf(options);
  const scales = new Float32Array(parts.channels);
  const zeroPoints = new Int32Array(parts.channels).fill(options.type === "uint8" ? 128 : 0);
  const { low, high } = extents(values, parts);
  for (let c = 0; c < parts.channels; c++) {
    const least = Math.max(LEAST_SCALE, options.leastScales?.[c] ?? 0);
    const spread = options.symmetric
      ? Math.max(-low[c]!, high[c]!) / ((last - first) / 2)
      : (high[c]! - low[c]!) / (last - first);
    scales[c] = atLeast(spread, least);
    if (!options.symmetric) zeroPoints[c] = Math.min(last, Math.max(first, roundEven(first - low[c]! / scales[c]!)));
  }
  const levels = new Int16Array(values.length);
  const exact = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const c = parts.channelOf(i);
    exact[i] = values[i]! / scales[c]! + zeroPoints[c]!;
    levels[i] = Math.min(last, Math.max(first, roundEven(exact[i]!)));
  }
  balance(levels, exact, parts, [first, last]);
  return { tensor: tensorOf(options.type, weight.shape, Uint8Array.from(levels)), scales, zeroPoints };
}

/**
 * Rounds as few numbers of each channel the other way as bring the sum of its rounding errors below half a step, those
 * nearest to the middle first, so that inputs of one sign get no offset. Source: Guo et al., "SQuant: On-the-Fly
 * Data-Free Quantization via Diagonal Hessian Approximation", arXiv 2202.07471.
 */
function balance(
  levels: Int16Array,
  exact: Float64Array,
  parts: Parts,
  [first, last]: readonly [number, number],
): void {
  const members = Array.from({ length: parts.channels }, (): number[] => []);
  for (let i = 0; i < levels.length; i++) members[parts.channelOf(i)]!.push(i);
  for (const channel of members) {
    const error = (i: number) => exact[i]! - levels[i]!;
    const sum = channel.reduce((total, i) => total + error(i), 0);
    const sign = Math.sign(sum);
    const flips = Math.round(Math.abs(sum));
    const nearest = channel.filter((i) => error(i) * sign > 0).sort((a, b) => (error(b) - error(a)) * sign);
    for (const i of nearest.slice(0, flips)) levels[i] = Math.min(last, Math.max(first, levels[i]! + sign));
  }
}

/** A float32 that is not below either. */
function atLeast(spread: number, least: number): number {
  const scale = Math.fround(Math.max(spread, least));
  return scale < least ? Math.fround(scale * (1 + 2 ** -22)) : scale;
}

/** How the elements of a shape fall into channels. */
export interface Parts {
  readonly channels: number;
  channelOf(index: number): number;
}

export function partsOf(shape: readonly number[], axis: number | undefined): Parts {
  if (axis === undefined) return { channels: 1, channelOf: () => 0 };
  const channels = shape[axis]!;
  const inner = elements(shape.slice(axis + 1));
  return { channels, channelOf: (i) => Math.floor(i / inner) % channels };
}

function extents(values: Float32Array, { channels, channelOf }: Parts): { low: Float64Array; high: Float64Array } {
  const low = new Float64Array(channels);
  const high = new Float64Array(channels);
  for (let i = 0; i < values.length; i++) {
    const c = channelOf(i);
    const value = values[i]!;
    if (value < low[c]!) low[c] = value;
    if (value > high[c]!) high[c] = value;
  }
  return { low, high };
}

/** The numbers of a weight, all of them finite. */
export async function finiteFloats(name: string, weight: Tensor): Promise<Float32Array> {
  const values = await readFloats(weight);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new MinnowError(`It holds ${values[bad]} at element ${bad} of [${weight.shape}].`, {
      code: "quantize/broken-weight",
      at: `weight "${name}"`,
      mend: "Numbers that are not finite cannot be quantized; train or export the model again.",
    });
  return values;
}
