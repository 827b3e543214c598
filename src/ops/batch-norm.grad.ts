import { float } from "../ir/attrs.ts";
import type { Backward, Gradients } from "./gradient.ts";
import { spatialAxes } from "./slide.grad.ts";

/** Everything but the channels. */
const others = (g: Backward, x: string): number[] => [0, ...spatialAxes(g.rank(x) - 2)];

/** x · scale + bias, a number a channel: BatchNormalization with nothing to subtract, one pass over x. */
function affine(g: Backward, x: string, scale: string, bias: string): string {
  const channels = g.shape(scale);
  const [zeros, ones] = [g.expand(g.scalar(0, g.dtype(x)), channels), g.expand(g.scalar(1, g.dtype(x)), channels)];
  return g.op("BatchNormalization", [x, scale, bias, zeros, ones], { epsilon: float(0) });
}

/** A number a channel, so that it meets the channels of x. */
const perChannel = (g: Backward, value: string, x: string): string =>
  g.reshape(value, [g.size(value), ...spatialAxes(g.rank(x) - 2).map(() => 1)]);

/** Mean and variance the batch was normalized by: the outputs themselves where the old statistics have no part in them. */
function statistics(g: Backward, x: string): { readonly mean: string; readonly variance: string } {
  const [, mean, variance] = g.ys;
  if (g.float("momentum", 0.9) === 0 && mean && variance) return { mean, variance };
  const own = g.mean(x, others(g, x), false);
  const away = g.sub(x, perChannel(g, own, x));
  return { mean: own, variance: g.mean(g.mul(away, away), others(g, x), false) };
}

/**
 * With the batch's own statistics, n = elements a channel, r = 1/√(var + ε), S₁ = Σ dy, S₂ = Σ dy·x:
 * dγ = r(S₂ − mean·S₁), dβ = S₁, dx = γr(dy − S₁/n − x̂·dγ/n) = γr(dy + B·x + C) (Ioffe & Szegedy 2015, arXiv:1502.03167).
 * The product with γr comes last: a convolution in front takes it into its kernel (`unscaled`).
 * The statistics that are given on, momentum·old + (1 − momentum)·batch, add (taken/n)(d mean + 2 d var (x − mean)).
 */
function trained(g: Backward): readonly (string | undefined)[] {
  const [x, scale] = g.x as [string, string];
  const { mean, variance } = statistics(g, x);
  const count = g.size(x) / (g.shape(x)[1] as number);
  const r = g.div(1, g.op("Sqrt", [g.add(variance, g.float("epsilon", 1e-5))]));
  const bias = g.sum(g.dy, others(g, x), false);
  const gain = g.mul(r, g.sub(g.sum(g.mul(g.dy, x), others(g, x), false), g.mul(mean, bias)));
  const [kept, taken] = [g.float("momentum", 0.9), 1 - g.float("momentum", 0.9)];
  const [, dMean, dVariance] = g.dys;
  const old = [dMean && g.mul(dMean, kept), dVariance && g.mul(dVariance, kept)];
  if (!g.wants(0)) return [undefined, gain, bias, ...old];
  const b = g.mul(g.mul(r, gain), -1 / count);
  const c = g.sub(g.mul(bias, -1 / count), g.mul(b, mean));
  const dx = g.mul(g.add(g.dy, affine(g, x, b, c)), perChannel(g, g.mul(scale, r), x));
  if (!dMean && !dVariance) return [dx, gain, bias, ...old];
  const rate = g.mul(dVariance ?? g.zerosLike(mean), (2 * taken) / count);
  const shift = g.sub(g.mul(dMean ?? g.zerosLike(mean), taken / count), g.mul(rate, mean));
  return [g.add(dx, affine(g, x, rate, shift)), gain, bias, ...old];
}

/** With given statistics: y = γ(x − mean)r + β is affine in x. */
function fixed(g: Backward): readonly (string | undefined)[] {
  const [x, scale, , mean, variance] = g.x as [string, string, string, string, string];
  const r = g.div(1, g.op("Sqrt", [g.add(variance, g.float("epsilon", 1e-5))]));
  const a = g.mul(scale, r);
  const bias = g.sum(g.dy, others(g, x), false);
  const moved = [1, 4].some((i) => g.wants(i))
    ? g.sub(g.sum(g.mul(g.dy, x), others(g, x), false), g.mul(mean, bias))
    : bias;
  return [
    g.wants(0) ? g.mul(g.dy, perChannel(g, a, x)) : undefined,
    g.mul(r, moved),
    bias,
    g.wants(3) ? g.neg(g.mul(a, bias)) : undefined,
    g.wants(4) ? g.mul(g.mul(a, g.mul(g.mul(r, r), -0.5)), moved) : undefined,
  ];
}

export const batchNormGradients: Gradients = {
  BatchNormalization: (g) => (g.int("training_mode", 0) === 1 ? trained(g) : fixed(g)),
};
