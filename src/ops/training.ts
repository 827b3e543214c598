import { float, floatAttr, int, intAttr, intsAttr } from "../ir/attrs.ts";
import type { Node } from "../ir/graph.ts";
import { elements } from "../ir/tensor.ts";
import { keyOf } from "./define.ts";
import type { Emitter } from "./emit.ts";
import { type Slide, slideAttrs, slideOf, taps } from "./slide.grad.ts";

/** An operator that is about to be trained. */
export interface Training {
  readonly g: Emitter;
  readonly node: Node;
  /** What a running statistic is by now: a node before this one that shares it may have moved it on. */
  running(input: string): string;
  /** Says what a running statistic becomes. */
  statistic(input: string, next: string): void;
  /** A value of this shape that each step is fed with: 1 / (1 − ratio) with probability 1 − ratio, else 0. */
  mask(shape: readonly number[], ratio: number): string;
  /** A value [N, C, …] with its channels outermost, [C, N, L]: L positions. Every channel is then one piece of memory. */
  channelsFirst(value: string): string;
  /** Whether that form of a value is at hand. */
  isChannelsFirst(value: string): boolean;
}

/**
 * What stands for the first output while training; `channelsFirst` where it comes as [C, N, L]. undefined where the operator
 * stays as it is.
 */
export type TrainingForm = (t: Training) => { readonly output: string; readonly channelsFirst?: boolean } | undefined;

/** Maps of at most this many positions: their products are better taken over the whole batch at once, measured. */
const SMALL_MAP = 256;
/** A depthwise kernel on small maps becomes a matrix of at most this many numbers a channel, measured. */
const SMALL_MATRIX = 4096;

/**
 * A convolution where ONNX Runtime's own is slow: it works through examples and groups one by one, a product each.
 * Pointwise over small maps it is one matrix product over the batch; depthwise over small maps, one a channel, of the
 * positions by the matrix that the kernel makes of them.
 */
const conv: TrainingForm = ({ g, node, channelsFirst, isChannelsFirst }) => {
  const [x, w, bias] = node.inputs as [string, string, string?];
  const [[batch, channels, ...sizes], [filters, each, ...kernel]] = [g.shape(x), g.shape(w)] as [number[], number[]];
  const out = g.shape(node.outputs[0] as string).slice(2);
  const group = intAttr(node, "group", 1);
  const s = slideOf(node, kernel, sizes, out);
  const [length, made] = [elements(sizes), elements(out)];
  const biased = (y: string) => (bias ? g.add(y, g.reshape(bias, [filters as number, 1, 1])) : y);
  if (group === 1 && elements(kernel) === 1 && length === made && (length <= SMALL_MAP || isChannelsFirst(x))) {
    const flat = g.reshape(channelsFirst(x), [channels as number, (batch as number) * length]);
    const y = g.matMul(g.reshape(w, [filters as number, channels as number]), flat);
    return { output: biased(g.reshape(y, [filters as number, batch as number, length])), channelsFirst: true };
  }
  if (group !== channels || each !== 1 || filters !== channels) return undefined;
  if (length * made > SMALL_MATRIX) return undefined;
  const places = g.constant("float32", [elements(kernel), length * made], placesOf(s, sizes, out));
  const matrix = g.matMul(g.reshape(w, [channels as number, elements(kernel)]), places);
  const y = g.matMul(channelsFirst(x), g.reshape(matrix, [channels as number, length, made]));
  return { output: biased(y), channelsFirst: true };
};

/** For each tap of a kernel, a matrix that has 1 where the tap takes an input position to an output position. */
function placesOf(s: Slide, sizes: readonly number[], out: readonly number[]): Float32Array {
  const [length, made] = [elements(sizes), elements(out)];
  const all = taps(s.kernel);
  const values = new Float32Array(all.length * length * made);
  const positions = taps(out);
  all.forEach((tap, t) => {
    positions.forEach((position, o) => {
      const at = position.map(
        (p, i) =>
          p * (s.strides[i] as number) + (tap[i] as number) * (s.dilations[i] as number) - (s.begin[i] as number),
      );
      if (at.some((p, i) => p < 0 || p >= (sizes[i] as number))) return;
      const from = at.reduce((sum, p, i) => sum * (sizes[i] as number) + p, 0);
      values[(t * length + from) * made + o] = 1;
    });
  });
  return values;
}

/** y = scale · (x − mean) / √(variance + ε) + bias by the batch, of [N, C, …]; then mean and variance, [C] both. */
function normalized(g: Emitter, x: string, [scale, bias]: readonly [string, string], epsilon: number): string[] {
  const channels = g.shape(x)[1] as number;
  const others = [...g.shape(x).keys()].filter((axis) => axis !== 1);
  const each = (value: string) => g.reshape(value, [channels, ...others.slice(1).map(() => 1)]);
  const mean = g.mean(x, others);
  const centred = g.sub(x, mean);
  const variance = g.mean(g.mul(centred, centred), others);
  const factor = g.div(each(scale), g.op("Sqrt", [g.add(variance, epsilon)]));
  const y = g.add(g.mul(centred, factor), each(bias));
  return [y, g.reshape(mean, [channels]), g.reshape(variance, [channels])];
}

/**
 * What a convolution gives to a normalization alone, less the running mean, in its bias: the normalization takes any shift
 * away again, and the variance of what lies around 0 is Σ x² less a little, without a pass to centre x first. undefined where
 * x is something else.
 */
function around(g: Emitter, x: string, running: string): string | undefined {
  const conv = g.edit.writerOf(x);
  if (conv?.op !== "Conv" || g.portable || g.edit.isOutput(x) || g.edit.readersOf(x).length !== 1) return undefined;
  const [from, w, bias] = conv.inputs as [string, string, string?];
  return g.op("Conv", [from, w, bias ? g.sub(bias, running) : g.neg(running)], conv.attrs);
}

/**
 * A MaxPool, whose windows lie side by side, of a first convolution: the largest of a convolution for each tap of the window,
 * with strides as long as the window. All together they multiply as often as the one, and neither the large map nor its
 * gradient is ever put together. A convolution whose input has a gradient too is better off as one. undefined for others.
 */
function pooledByTap(g: Emitter, y: string, pool: Node): string | undefined {
  const conv = g.edit.writerOf(y);
  if (conv?.op !== "Conv" || g.portable || g.edit.isOutput(y) || g.edit.readersOf(y).length !== 1) return undefined;
  const [x, w] = conv.inputs as [string, string];
  const [sizes, made, out] = [x, y, pool.outputs[0] as string].map((name) => g.shape(name).slice(2)) as number[][];
  const window = intsAttr(pool, "kernel_shape") as number[];
  const [slide, over] = [
    slideOf(conv, g.shape(w).slice(2), sizes as number[], made as number[]),
    slideOf(pool, window, made as number[], out as number[]),
  ];
  const dense = [...slide.strides, ...slide.dilations, ...over.dilations].every((step) => step === 1);
  const apart = window.every(
    (k, i) => k === over.strides[i] && k * (out?.[i] as number) === made?.[i] && over.begin[i] === 0,
  );
  const inside = window.every((k, i) => (slide.begin[i] as number) >= k - 1);
  if (g.edit.writerOf(x) !== undefined || !dense || !apart || !inside) return undefined;
  const parts = taps(window).map((tap) => {
    const begin = slide.begin.map((pad, i) => pad - (tap[i] as number));
    const end = slide.end.map((pad, i) => pad + (tap[i] as number) + 1 - (window[i] as number));
    const attrs = slideAttrs({ ...slide, strides: window, begin, end });
    return g.op("Conv", conv.inputs, { ...attrs, group: int(intAttr(conv, "group", 1)) });
  });
  return g.op("Max", parts);
}

/** How operators are trained, where that is not how they infer, or not how they infer fastest. */
const TRAINING: Readonly<Record<string, TrainingForm>> = {
  // Normalizes by the batch; running ← μ·running + (1 − μ)·batch, the variance of n elements times n / (n − 1) as in PyTorch
  BatchNormalization: ({ g, node, running, statistic, channelsFirst, isChannelsFirst }) => {
    const [x, scale, bias, mean, variance] = node.inputs as [string, string, string, string, string];
    const flat = isChannelsFirst(x);
    const channels = g.shape(x)[1] as number;
    const count = g.size(x) / channels;
    const momentum = floatAttr(node, "momentum", 0.9);
    const epsilon = floatAttr(node, "epsilon", 1e-5);
    const old = [running(mean), running(variance)] as const;
    const shifted = flat ? undefined : around(g, x, old[0]);
    const given = flat ? g.reshape(channelsFirst(x), [1, channels, count]) : (shifted ?? x);
    const made = g.portable
      ? normalized(g, given, [scale, bias], epsilon)
      : // ONNX Runtime writes the batch's statistics over the ones it is given, so it gets others, whose values do not count.
        g.ops("BatchNormalization", [given, scale, bias, ...old.map((name) => g.neg(name))], 3, {
          epsilon: float(epsilon),
          momentum: float(0),
          training_mode: int(1),
        });
    const [y, itsMean, batchVariance] = made as [string, string, string];
    const batchMean = shifted === undefined ? itsMean : g.add(itsMean, old[0]);
    const next = (from: string, batch: string, factor: number) =>
      g.add(g.mul(from, momentum), g.mul(batch, (1 - momentum) * factor));
    statistic(mean, next(old[0], batchMean, 1));
    statistic(variance, next(old[1], batchVariance, count > 1 ? count / (count - 1) : 1));
    return flat ? { output: g.reshape(y, g.shape(channelsFirst(x))), channelsFirst: true } : { output: y };
  },
  Conv: conv,
  // Zeroes each element with probability `ratio` and scales the others up (Srivastava et al. 2014)
  Dropout: ({ g, node, mask }) => {
    const [x, ratio] = node.inputs as [string, string?];
    const share = ratio ? g.fact(ratio).value?.[0] : 0.5;
    return typeof share === "number" && share > 0 ? { output: g.mul(x, mask(g.shape(x), share)) } : undefined;
  },
  // The mean of each channel's piece
  GlobalAveragePool: ({ g, node, channelsFirst, isChannelsFirst }) => {
    const x = node.inputs[0] as string;
    return isChannelsFirst(x) ? { output: g.mean(channelsFirst(x), [2]), channelsFirst: true } : undefined;
  },
  // max max(x, 0) = max(max x, 0), and both pass the gradient to the same place: the Relu behind has fewer elements
  MaxPool: ({ g, node }) => {
    const x = node.inputs[0] as string;
    if (node.outputs.length > 1) return undefined;
    const relu = g.edit.writerOf(x);
    const alone = relu?.op === "Relu" && g.edit.readersOf(x).length === 1 && !g.edit.isOutput(x);
    const from = alone ? (relu.inputs[0] as string) : x;
    const byTap = pooledByTap(g, from, node);
    if (alone) return { output: g.op("Relu", [byTap ?? g.op("MaxPool", [from], node.attrs)]) };
    return byTap === undefined ? undefined : { output: byTap };
  },
};

/** The training form of a node's operator, undefined where it has none. */
export const trainingFormOf = (node: Pick<Node, "op" | "domain">): TrainingForm | undefined =>
  TRAINING[keyOf(node.op, node.domain)];
