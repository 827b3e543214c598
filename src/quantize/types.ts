import type { Dataset } from "../data/dataset.ts";

/**
 * How a range is chosen from what was observed.
 * - `minmax`: everything that was seen.
 * - `movingAverage`: running averages of each example's smallest and largest value, so that rare ones count little.
 * - `percentile`: all but a small share of the values, half of it cut from either end.
 * - `entropy`: the range whose quantized distribution differs least from the real one (Kullback-Leibler divergence).
 * - `mse`: the range with the least mean squared error of quantization.
 */
export type CalibrationMethod = "minmax" | "movingAverage" | "percentile" | "entropy" | "mse";

export const METHODS: readonly CalibrationMethod[] = ["minmax", "movingAverage", "percentile", "entropy", "mse"];

/** The interval that the 256 levels of a value are spread over. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** Ranges by the names of the values. */
export type Ranges = ReadonlyMap<string, Range>;

/** What was seen of one value over all examples, in a size that does not depend on their number. */
export interface ValueStatistics {
  /** Smallest and largest finite number; 0 and 0 where there was none. */
  readonly min: number;
  readonly max: number;
  /** Running averages of the smallest and the largest number of each example. */
  readonly averageMin: number;
  readonly averageMax: number;
  /** Width of a bin, a power of two; bin `i` counts numbers from (first + i)·width up to (first + i + 1)·width. */
  readonly width: number;
  readonly first: number;
  readonly bins: Float64Array;
  /** Exact zeros, which no bin counts. */
  readonly zeros: number;
  /** NaN and infinite numbers, which nothing else counts. */
  readonly broken: number;
}

/** What a calibration gathers, enough for the ranges of every method. */
export interface Statistics {
  /** By the name of the value. */
  readonly values: ReadonlyMap<string, ValueStatistics>;
  readonly samples: number;
  /** Examples that could not be read. */
  readonly skipped: number;
}

export interface CalibrateOptions {
  /** Examples per run; default as many as keep the activations of a run small. A model with a fixed batch decides itself. */
  readonly batch?: number;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface RangeOptions {
  /** For `percentile`: the share of the values that is kept, in percent; default 99.99. */
  readonly percentile?: number;
}

/** Options of {@link quantizeStatic}, in ONNX Runtime's words. */
export interface QuantizeStaticOptions extends RangeOptions {
  /** Examples to calibrate on, without which `statistics` must be given. 100 to 500 typical ones suffice. */
  readonly data?: Dataset;
  /** What an earlier `calibrate` of the same model gathered. */
  readonly statistics?: Statistics;
  /** Default `minmax`. */
  readonly method?: CalibrationMethod;
  /** A scale for each output channel of a weight instead of one for all of it; default true. */
  readonly perChannel?: boolean;
  /**
   * Default `uint8`, which is fastest on x86 and WASM. 16 bits, for accelerators, need opset 21; ONNX Runtime's CPU and
   * WASM builds compute them in float, which is slower than not to quantize.
   */
  readonly activationType?: "uint8" | "int8" | "uint16" | "int16";
  /** Default `int8`. */
  readonly weightType?: "uint8" | "int8";
  /** Zero points of activations in the middle of their type, as some accelerators want it; default false. ONNX Runtime's CPU then runs convolutions before a Relu in float. */
  readonly activationSymmetric?: boolean;
  /** Zero points of weights in the middle; default true. Where false, weights that see one channel each stay symmetric: others are slow there. */
  readonly weightSymmetric?: boolean;
  /** 7 bits for weights, for x86 processors without VNNI, where sums of 8-bit products saturate; default false. */
  readonly reduceRange?: boolean;
  /** Nodes to leave in float, by name; `*` stands for anything. */
  readonly nodesToExclude?: readonly string[];
  /** Corrects the mean error of every output channel, measured on `data`; default false. */
  readonly biasCorrection?: boolean;
  /**
   * Rounds weights so that errors cancel on `data` (GPTQ, over unfolded inputs; rows of few numbers, as those of depthwise
   * kernels, by a search for the best). Scales are for each channel. Default false.
   */
  readonly gptq?: boolean;
  /**
   * Adds part of a step to inputs whose range does not lie on levels, as that of pixels brought to −1 … 1: 8-bit pixels are
   * exact then. One Add in float; default false.
   */
  readonly alignInputs?: boolean;
  /**
   * Copies channels whose rounding costs most, as measured on `data`, into ones that are 0 on all of it and up to a multiple of
   * this number; the copies are rounded with offsets of part of a step. True is 16, which is free on x64. Default false.
   */
  readonly splitChannels?: boolean | number;
  /**
   * Evens channels out before, across operators that let factors pass: `crossLayer` the ranges of weights (for
   * `perChannel: false`), `smoothQuant` those of activations, measured on `data`, before a Clip as well.
   */
  readonly equalize?: "crossLayer" | "smoothQuant";
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** How much one layer alone costs when it is quantized. */
export interface LayerSensitivity {
  /** The node's name, as `nodesToExclude` takes it. */
  readonly node: string;
  /** Signal to noise at the model's outputs in dB when only this node is quantized: low where it hurts. */
  readonly sqnr: number;
}

export interface StoreWeightsOptions {
  /**
   * Levels of 8 to 2 bits with a scale each channel or block, 8-bit floats (E4M3, E5M2) with one each channel, 16-bit floats, or a `codebook` of 16 numbers for each
   * weight; a weight of at most 256 different numbers is then stored exactly.
   */
  readonly to: "int8" | "int4" | "int3" | "int2" | "fp8" | "fp8e5m2" | "fp16" | "bf16" | "codebook";
  /** Numbers that share a scale where there are 4 bits or fewer; one that divides a row is taken near it. Default 32. */
  readonly blockSize?: number;
  /** How levels of 4 bits or fewer are rounded; default `mse`. */
  readonly method?: "rtn" | "mse" | "kQuant";
  /** Nodes whose weights are stored, by name; `*` stands for anything. Default: all. */
  readonly nodesToQuantize?: readonly string[];
  /** A scale for each channel or block instead of one for the whole weight; default true. */
  readonly perChannel?: boolean;
  /**
   * For `int8`: rounds so that errors cancel on `data` (GPTQ, over the unfolded inputs of convolutions). Default false.
   */
  readonly gptq?: boolean;
  /** Corrects the mean error of every output channel, measured on `data`; default false. */
  readonly biasCorrection?: boolean;
  readonly data?: Dataset;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}
