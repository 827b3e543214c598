import { MinnowError } from "../errors.ts";
import type { Emitter } from "../ops/emit.ts";
import { cosineDistance } from "./logits.ts";
import { flat, meanOf, overPairs, type Pair, squared, type Term, unit } from "./terms.ts";

export interface PairOptions {
  /** Which values are compared. Default: the last of each resolution that both nets have. */
  readonly pairs?: readonly Pair[] | "stages";
}

/**
 * Hints (FitNets: Romero et al. 2015, arXiv:1412.6550): ½·(r(h_s) − h_t)², the mean over all numbers, where r is learned, a 1×1
 * convolution or a linear map to the teacher's channels. Maps of another size are averaged to the smaller one.
 */
export const hints = ({ pairs = "stages" }: PairOptions = {}): Term => ({
  name: "hints",
  pairs,
  projected: true,
  build: (g, of) =>
    overPairs(g, of, (student, taught) => {
      const [a, b] = sameSize(g, student, taught);
      return g.mul(meanOf(g, squared(g, g.sub(a, b))), 0.5);
    }),
});

/**
 * Attention transfer (Zagoruyko and Komodakis 2017, arXiv:1612.03928): ½·‖Q_s/‖Q_s‖ − Q_t/‖Q_t‖‖², the mean over examples, with
 * Q = Σ_c A_c² over the channels of a map [N, C, H, W].
 */
export const attentionTransfer = ({ pairs = "stages" }: PairOptions = {}): Term => ({
  name: "attentionTransfer",
  pairs,
  build: (g, of) =>
    overPairs(g, of, (student, taught) => {
      const maps = sameSize(g, g.sum(squared(g, student), [1]), g.sum(squared(g, taught), [1]));
      const [a, b] = maps.map((map) => unit(g, flat(g, map))) as [string, string];
      return g.mul(meanOf(g, g.sum(squared(g, g.sub(a, b)), [1])), 0.5);
    }),
});

/** 1 − cos of each vector of hidden states [N, T, D] or [N, D] (DistilBERT: Sanh et al. 2019, arXiv:1910.01108). */
export const hiddenCosine = ({ pairs }: { readonly pairs: readonly Pair[] }): Term => ({
  name: "hiddenCosine",
  pairs,
  projected: true,
  build: (g, of) => overPairs(g, of, (student, taught) => cosineDistance(g, ...sameShape(g, student, taught))),
});

/** Maps [N, C, H, W] brought to one size: the larger becomes means of its patches. Other values must have one shape. */
export function sameSize(g: Emitter, a: string, b: string): [string, string] {
  const [s, t] = [g.shape(a), g.shape(b)];
  if (s.length !== 4 || t.length !== 4) return sameShape(g, a, b);
  const pooled = (value: string, from: readonly number[], to: readonly number[]) => {
    const [n = 1, c = 1, h = 1, w = 1] = from;
    const [height, width] = [Math.min(h, to[2] ?? 1), Math.min(w, to[3] ?? 1)];
    if (h % height !== 0 || w % width !== 0) throw unlike(s, t);
    const patches = g.reshape(value, [n, c, height, h / height, width, w / width]);
    return h === height && w === width ? value : g.mean(patches, [3, 5], false);
  };
  return [pooled(a, s, t), pooled(b, t, s)];
}

export function sameShape(g: Emitter, a: string, b: string): [string, string] {
  if (`${g.shape(a)}` !== `${g.shape(b)}`) throw unlike(g.shape(a), g.shape(b));
  return [a, b];
}

const unlike = (a: readonly number[], b: readonly number[]): MinnowError =>
  new MinnowError(`A value of the student is [${a}], and the teacher's [${b}].`, {
    code: "distill/shapes",
    mend: "Pair values of one length and of maps whose sizes divide each other, or use a term that compares relations (relational).",
  });
