import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import type { Emitter } from "../ops/emit.ts";
import { sameShape } from "./features.ts";
import { meanOf, overPairs, type Pair, squared, type Term } from "./terms.ts";

interface LayerOptions {
  readonly pairs: readonly Pair[];
}

/** The mean over heads, or the value itself where both have as many: [N, H, T, T]. */
const sameHeads = (g: Emitter, a: string, b: string): [string, string] =>
  g.shape(a)[1] === g.shape(b)[1] ? sameShape(g, a, b) : sameShape(g, g.mean(a, [1]), g.mean(b, [1]));

/**
 * TinyBERT's attention loss (Jiao et al. 2020, arXiv:1909.10351): the mean of (A_s − A_t)² over scores of attention before their
 * softmax, [N, H, T, T]; over the means of the heads where their numbers differ.
 */
export const attentionSquared = ({ pairs }: LayerOptions): Term => ({
  name: "attentionSquared",
  pairs,
  build: (g, of) =>
    overPairs(g, of, (student, taught) => {
      const [a, b] = sameHeads(g, student, taught);
      return meanOf(g, squared(g, g.sub(a, b)));
    }),
});

/** TinyBERT's hidden-state loss (as above): the mean of (H_s·W − H_t)², W learned, of [N, T, D]. */
export const hiddenSquared = ({ pairs }: LayerOptions): Term => ({
  name: "hiddenSquared",
  pairs,
  projected: true,
  build: (g, of) =>
    overPairs(g, of, (student, taught) => meanOf(g, squared(g, g.sub(...sameShape(g, student, taught))))),
});

/**
 * MiniLM's attention loss (Wang et al. 2020, arXiv:2002.10957): KL(A_t ‖ A_s) of attention after its softmax, [N, H, T, T], the
 * mean over examples, heads and positions.
 */
export const attentionDivergence = ({ pairs }: LayerOptions): Term => ({
  name: "attentionDivergence",
  pairs,
  build: (g, of) =>
    overPairs(g, of, (student, taught) => {
      const [a, b] = sameHeads(g, student, taught);
      const log = (p: string) => g.op("Log", [g.op("Max", [p, 1e-12])]);
      return divergence(g, b, log(b), log(a));
    }),
});

/**
 * MiniLM's value relation (as above): KL(R_t ‖ R_s) with R = softmax(V·Vᵀ/√d) of values (or queries, or keys) [N, H, T, d]; d may
 * differ. The mean over examples, heads and positions.
 */
export const valueRelation = ({ pairs }: LayerOptions): Term => ({
  name: "valueRelation",
  pairs,
  build: (g, of) =>
    overPairs(g, of, (student, taught) => {
      const relation = (value: string) => {
        const product = g.matMul(value, value, { transB: true });
        return g.op("LogSoftmax", [g.mul(product, 1 / Math.sqrt(g.shape(value).at(-1) ?? 1))], { axis: int(-1) });
      };
      const [a, b] = sameShape(g, relation(student), relation(taught));
      return divergence(g, g.op("Exp", [b]), b, a);
    }),
});

/** Σ p·(log p − log q) along the last axis, the mean over all others. */
const divergence = (g: Emitter, p: string, logP: string, logQ: string): string =>
  meanOf(g, g.sum(g.mul(p, g.sub(logP, logQ)), [g.rank(p) - 1]));

/**
 * Which layer of the teacher each layer of the student learns from, as pairs of the values given: `uniform` takes every n-th,
 * ending with the last (TinyBERT's g(m) = n·m); `last` the last ones; or the places themselves, counted from 0.
 *
 * @example
 * hiddenSquared({ pairs: layerMap(["h.0", "h.1"], ["h.0", "h.1", "h.2", "h.3"]) }); // h.0 ← h.1, h.1 ← h.3
 */
export function layerMap(
  student: readonly string[],
  teacher: readonly string[],
  map: "uniform" | "last" | readonly number[] = "uniform",
): readonly Pair[] {
  const [own, others] = [student.length, teacher.length];
  const at = (i: number): number => {
    if (typeof map === "object") return map[i] ?? -1;
    return map === "last" ? others - own + i : Math.round(((i + 1) * others) / own) - 1;
  };
  return student.map((name, i) => {
    const other = teacher[at(i)];
    if (other !== undefined) return { student: name, teacher: other };
    throw new MinnowError(`Layer ${i} of the student learns from layer ${at(i)} of a teacher of ${others} layers.`, {
      code: "distill/layer-map",
      mend: "Give one layer of the teacher, counted from 0, for each of the student's; a student has no more layers than its teacher.",
    });
  });
}
