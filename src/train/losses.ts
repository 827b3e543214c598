import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { elements } from "../ir/tensor.ts";
import type { Emitter } from "../ops/emit.ts";
import { logitsOf } from "../ops/logits.ts";
import type { Loss, LossIo } from "./step.ts";

/** The names under which losses ask for what they compare with. */
export const LABELS = "labels";
export const TARGETS = "targets";

/** Which of the model's outputs is judged. */
export interface LossOptions {
  /** Default: the first. */
  readonly output?: string;
}

export interface CrossEntropyOptions extends LossOptions {
  /** The share ε of the target that is spread evenly over all classes (Szegedy et al. 2016). Default 0. */
  readonly labelSmoothing?: number;
  /** A weight for each class. */
  readonly classWeights?: readonly number[];
  /** Examples with this label do not count. */
  readonly ignoreIndex?: number;
  /** Targets are probabilities, `targets` float [N, C, …], rather than classes, `labels` int64 [N, …]. */
  readonly soft?: boolean;
  /** The axis of classes. Default 1. */
  readonly axis?: number;
}

/**
 * Cross-entropy, the mean over examples of −Σ_c w_c · t_c · log p_c with p = softmax(scores), in nats, as PyTorch's CrossEntropyLoss
 * defines it: with hard labels y and class weights w the mean is weighted by w_y. The output holds scores [N, C, …]; where the
 * model computes it by a Softmax, what goes into that is taken, so nothing is lost to rounding.
 *
 * @example
 * train(model, { data, loss: crossEntropy({ labelSmoothing: 0.1 }), … });
 */
export function crossEntropy(options: CrossEntropyOptions = {}): Loss {
  const { labelSmoothing: smoothing = 0, classWeights, soft = false, axis = 1 } = options;
  if (!(smoothing >= 0 && smoothing < 1)) throw wrong(`A label smoothing of ${smoothing}`, "from 0 to below 1");
  if (classWeights?.some((weight) => !(weight >= 0))) throw wrong("A class weight below 0", "0 or more");
  return {
    name: "crossEntropy",
    build(g, io) {
      const value = outputOf(io, options.output);
      const shape = g.shape(value);
      const classes = shape[axis];
      if (classes === undefined || (classWeights && classWeights.length !== classes))
        throw new MinnowError(
          `The scores "${value}" have the shape [${shape}], ${classes === undefined ? `which has no axis ${axis}` : `${classes} classes`}; there are ${classWeights?.length ?? "no"} class weights.`,
          { code: "train/loss-options", mend: "Give the axis of the classes, and one weight for each class." },
        );
      const scores = asRows(g, logitsOf(g, value, "Softmax", axis), axis);
      const logs = g.op("LogSoftmax", [scores], { axis: int(-1) });
      const weights = classWeights && g.constant(g.dtype(scores), [1, classes], classWeights);
      if (soft)
        return softEntropy(g, logs, asRows(g, io.input(TARGETS, "float32", shape), axis), { smoothing, weights });
      const places = shape.filter((_, i) => i !== axis);
      return hardEntropy(g, logs, io.input(LABELS, "int64", places), { ...options, smoothing, weights });
    },
  };
}

interface Terms {
  readonly smoothing: number;
  readonly weights: string | undefined;
  readonly ignoreIndex?: number;
}

/** L = −Σ w·((1−ε)·t + ε/C)·log p / N */
function softEntropy(g: Emitter, logs: string, targets: string, { smoothing, weights }: Terms): string {
  const [rows = 1, classes = 1] = g.shape(logs);
  const smooth = g.add(g.mul(g.cast(targets, g.dtype(logs)), 1 - smoothing), smoothing / classes);
  const weighted = weights === undefined ? smooth : g.mul(smooth, weights);
  return g.mul(sumAll(g, g.mul(logs, weighted)), -1 / rows);
}

/** L = −[(1−ε)·Σ w_y·log p_y + ε/C·Σ Σ_c w_c·log p_c] / Σ w_y, sums over the examples that count */
function hardEntropy(g: Emitter, logs: string, labels: string, { smoothing, weights, ignoreIndex }: Terms): string {
  const [rows = 1, classes = 1] = g.shape(logs);
  const column = g.reshape(g.cast(labels, "int64"), [rows, 1]);
  const ignored = ignoreIndex === undefined ? undefined : g.is("Equal", column, ignoreIndex);
  const index = ignored === undefined ? column : g.where(ignored, 0, column);
  const picked = g.op("GatherElements", [logs, index], { axis: int(1) });
  const own = weights && g.op("Gather", [g.reshape(weights, [classes]), index], { axis: int(0) });
  const counts = ignored && g.where(ignored, 0, 1, g.dtype(logs));
  const share = own && counts ? g.mul(own, counts) : (own ?? counts);
  let sum = sumAll(g, g.mul(share === undefined ? picked : g.mul(picked, share), 1 - smoothing));
  if (smoothing > 0) {
    const all = g.sum(weights === undefined ? logs : g.mul(logs, weights), [1]);
    sum = g.add(sum, g.mul(sumAll(g, counts === undefined ? all : g.mul(all, counts)), smoothing / classes));
  }
  if (share === undefined) return g.mul(sum, -1 / rows);
  return g.neg(g.div(sum, g.op("Max", [sumAll(g, share), 1e-12])));
}

export interface LanguageModelOptions extends LossOptions {
  /** The model's input of token numbers, int [N, T]. */
  readonly tokens: string;
  /** Token number that is not learned: padding. */
  readonly ignoreIndex?: number;
}

/**
 * Cross-entropy of the next token: scores [N, T, V] at position t are judged by the token at t + 1, in nats per token; the
 * last position has none. Tokens `ignoreIndex` do not count.
 */
export function languageModel({ tokens, ignoreIndex = -100, output }: LanguageModelOptions): Loss {
  return {
    name: "languageModel",
    build(g, io) {
      const scores = outputOf(io, output);
      const [n = 1, t = 1] = g.shape(tokens);
      const given = g.cast(tokens, "int64");
      const end = g.constant("int64", [n, 1], new Array<number>(n).fill(ignoreIndex));
      const next = g.concat([g.slice(given, [1], [t], [1]), end], 1);
      const logs = g.op("LogSoftmax", [asRows(g, logitsOf(g, scores, "Softmax", 2), 2)], { axis: int(-1) });
      return hardEntropy(g, logs, next, { smoothing: 0, weights: undefined, ignoreIndex });
    },
  };
}

export interface TargetOptions extends LossOptions {
  /** A value of the graph to compare with, the input for an autoencoder; default `targets`, fed with each batch. */
  readonly target?: string;
}

/**
 * Binary cross-entropy of logits x with targets t in 0..1: the mean of (1 + (w − 1)·t)·softplus(−x) + (1 − t)·x, where w, the
 * weight of positives, is 1 by default. The input of a final Sigmoid is taken as the logits.
 */
export function binaryCrossEntropy(options: TargetOptions & { readonly positiveWeight?: number } = {}): Loss {
  const { positiveWeight: weight = 1 } = options;
  return {
    name: "binaryCrossEntropy",
    build(g, io) {
      const value = outputOf(io, options.output);
      const [x, t] = [logitsOf(g, value, "Sigmoid"), targetOf(g, io, value, options.target)];
      // w = 1: softplus(−x) + x − t·x = softplus(x) − t·x
      if (weight === 1) return meanAll(g, g.sub(g.op("Softplus", [x]), g.mul(t, x)));
      const positive = g.mul(g.add(g.mul(t, weight - 1), 1), g.op("Softplus", [g.neg(x)]));
      return meanAll(g, g.add(positive, g.mul(g.sub(1, t), x)));
    },
  };
}

/** Mean squared error: the mean of (y − t)² over all numbers. */
export function meanSquaredError(options: TargetOptions = {}): Loss {
  return {
    name: "meanSquaredError",
    build(g, io) {
      const y = outputOf(io, options.output);
      const error = g.sub(y, targetOf(g, io, y, options.target));
      return meanAll(g, g.mul(error, error));
    },
  };
}

/** Huber's loss (1964): with e = |y − t| the mean of e²/2 where e ≤ δ, of δ·(e − δ/2) beyond. δ is 1 by default. */
export function huber(options: TargetOptions & { readonly delta?: number } = {}): Loss {
  const { delta = 1 } = options;
  if (!(delta > 0)) throw wrong(`A delta of ${delta}`, "above 0");
  return {
    name: "huber",
    build(g, io) {
      const y = outputOf(io, options.output);
      const error = g.op("Abs", [g.sub(y, targetOf(g, io, y, options.target))]);
      // with m = min(e, δ): m·(e − m/2) is both cases
      const least = g.op("Min", [error, delta]);
      return meanAll(g, g.mul(least, g.sub(error, g.mul(least, 0.5))));
    },
  };
}

/** The value of an output, the first where none is named. */
export function outputOf(io: LossIo, wanted: string | undefined): string {
  const found = wanted === undefined ? Object.values(io.outputs)[0] : io.outputs[wanted];
  if (found !== undefined) return found;
  throw new MinnowError(wanted === undefined ? "The model has no outputs." : `The model has no output "${wanted}".`, {
    code: "train/loss-output",
    mend: `Its outputs are ${Object.keys(io.outputs).join(", ") || "none"}.`,
  });
}

function targetOf(g: Emitter, io: LossIo, like: string, given: string | undefined): string {
  const target = given ?? io.input(TARGETS, "float32", g.shape(like));
  if (g.size(target) !== g.size(like))
    throw new MinnowError(`"${target}" has the shape [${g.shape(target)}], and the output [${g.shape(like)}].`, {
      code: "train/loss-target",
      mend: "Compare an output with something of its size.",
    });
  return g.reshape(g.cast(target, g.dtype(like)), g.shape(like));
}

/** [N, C, …] as rows [N·…, C]. */
export function asRows(g: Emitter, value: string, axis: number): string {
  const shape = g.shape(value);
  const last = g.transpose(value, [...shape.keys()].filter((i) => i !== axis).concat(axis));
  const classes = shape[axis] ?? 1;
  return g.reshape(last, [elements(shape) / classes, classes]);
}

export const sumAll = (g: Emitter, value: string): string => g.sum(value, [...g.shape(value).keys()], false);
export const meanAll = (g: Emitter, value: string): string => g.mul(sumAll(g, value), 1 / g.size(value));

const wrong = (what: string, range: string): MinnowError =>
  new MinnowError(`${what} is not possible.`, { code: "train/loss-options", mend: `It can be ${range}.` });
