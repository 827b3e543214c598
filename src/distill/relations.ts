import { int } from "../ir/attrs.ts";
import type { Emitter } from "../ops/emit.ts";
import { sameShape } from "./features.ts";
import { type Compared, flat, meanOf, overPairs, type Pair, squared, type Term, unit } from "./terms.ts";

export interface EmbeddingOptions {
  /** Values that stand for whole examples. Default: the scores. */
  readonly pairs?: readonly Pair[];
}

/** The pairs as [N, D] each, or the scores where there are none. */
const embeddings = (g: Emitter, of: Compared, each: (student: string, taught: string) => string): string => {
  if (of.pairs.length > 0) return overPairs(g, of, (a, b) => each(flat(g, a), flat(g, b)));
  const { student, taught } = of.scores();
  return each(student, taught);
};

/**
 * Relational knowledge distillation (Park et al. 2019, arXiv:1904.05068), over the examples of a batch:
 *
 *   λ_D·mean_ij l(‖t_i − t_j‖/μ_t, ‖s_i − s_j‖/μ_s) + λ_A·mean_ijk l(cos∠t_i t_j t_k, cos∠s_i s_j s_k)
 *
 * with Huber's l and μ the mean distance of two different examples. Widths may differ. λ_D = 25 and λ_A = 50 by default.
 */
export const relational = ({
  pairs,
  distance = 25,
  angle = 50,
}: EmbeddingOptions & { readonly distance?: number; readonly angle?: number } = {}): Term => ({
  name: "relational",
  ...(pairs && { pairs }),
  build: (g, of) =>
    embeddings(g, of, (student, taught) => {
      const [s, t] = [relations(g, student), relations(g, taught)];
      return g.add(g.mul(near(g, s.distances, t.distances), distance), g.mul(near(g, s.angles, t.angles), angle));
    }),
});

function relations(g: Emitter, rows: string) {
  const [n = 1, d = 1] = g.shape(rows);
  const apart = g.sub(g.reshape(rows, [1, n, d]), g.reshape(rows, [n, 1, d]));
  const lengths = g.op("Sqrt", [g.add(g.sum(squared(g, apart), [2], false), 1e-12)]);
  const mean = g.mul(g.sum(lengths, [0, 1]), 1 / Math.max(1, n * (n - 1)));
  const directions = unit(g, apart);
  return { distances: g.div(lengths, mean), angles: g.matMul(directions, directions, { transB: true }) };
}

/** The mean of Huber's loss with δ = 1: with m = min(|e|, 1), m·(|e| − m/2). */
function near(g: Emitter, a: string, b: string): string {
  const error = g.op("Abs", [g.sub(a, b)]);
  const least = g.op("Min", [error, 1]);
  return meanOf(g, g.mul(least, g.sub(error, g.mul(least, 0.5))));
}

/**
 * Contrastive distillation (after Tian et al. 2020, arXiv:1910.10699): which of the teacher's answers to the batch belongs to the
 * student's,
 *
 *   −mean_i log softmax_j(⟨ŝ_i, t̂_j⟩/τ)_i
 *
 * with vectors of length 1. The paper draws its negatives from a memory of all examples; here they are those of the batch.
 */
export const contrastive = ({ pairs, tau = 0.1 }: EmbeddingOptions & { readonly tau?: number } = {}): Term => ({
  name: "contrastive",
  ...(pairs && { pairs, projected: true }),
  build: (g, of) =>
    embeddings(g, of, (student, taught) => {
      const [a, b] = sameShape(g, student, taught);
      const [n = 1] = g.shape(a);
      const products = g.mul(g.matMul(unit(g, a), unit(g, b), { transB: true }), 1 / tau);
      const logs = g.op("LogSoftmax", [products], { axis: int(1) });
      const own = g.constant(
        g.dtype(a),
        [n, n],
        Array.from({ length: n * n }, (_, k) => +(k % (n + 1) === 0)),
      );
      return g.mul(g.sum(g.mul(logs, own), [0, 1], false), -1 / n);
    }),
});
