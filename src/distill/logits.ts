import { int } from "../ir/attrs.ts";
import type { Emitter } from "../ops/emit.ts";
import { softLoss } from "../train/distillation.ts";
import { meanOf, squared, type Term, unit } from "./terms.ts";

export interface TemperatureOptions {
  /** T, by which scores are divided. Default 4. */
  readonly temperature?: number;
}

/** T²·KL(softmax(t/T) ‖ softmax(s/T)), the mean over examples (Hinton et al. 2015, arXiv:1503.02531). */
export const softTargets = ({ temperature = 4 }: TemperatureOptions = {}): Term => ({
  name: "softTargets",
  build(g, of) {
    const { student, taught } = of.scores();
    return softLoss(g, student, taught, temperature);
  },
});

export interface DecoupledOptions extends TemperatureOptions {
  /** α, of how sure the teacher is of the right class. Default 1. */
  readonly target?: number;
  /** β, of how it tells the others apart. Default 8. */
  readonly others?: number;
}

/**
 * Decoupled knowledge distillation (Zhao et al. 2022, arXiv:2203.08679): with p, q the softmax of t/T, s/T, y the right class,
 *
 *   T²·[α·KL([p_y, 1 − p_y] ‖ [q_y, 1 − q_y]) + β·KL(p̂ ‖ q̂)], p̂ = softmax of the scores other than y
 *
 * Without labels y is the teacher's likeliest class.
 */
export const decoupled = ({ temperature = 4, target = 1, others = 8 }: DecoupledOptions = {}): Term => ({
  name: "decoupled",
  build(g, of) {
    const { student, taught } = of.scores();
    const [rows = 1, classes = 1] = g.shape(student);
    const places = g.constant("int64", [1, classes], [...Array(classes).keys()]);
    const own = g.mask(g.is("Equal", places, g.reshape(of.labels(), [rows, 1])), student);
    const parts = (scores: string) => {
      const scaled = g.mul(scores, 1 / temperature);
      // −1000 at the class itself leaves the others' softmax.
      const without = g.sub(scaled, g.mul(own, 1000));
      const rest = g.op("ReduceLogSumExp", [without, g.ints([1])], { keepdims: int(1) });
      const right = g.sum(g.mul(scaled, own), [1]);
      const two = g.op("LogSoftmax", [g.concat([right, rest], 1)], { axis: int(1) });
      return { two, others: g.op("LogSoftmax", [without], { axis: int(1) }) };
    };
    const [s, t] = [parts(student), parts(taught)];
    const kl = (p: string, q: string) => g.sum(g.mul(g.op("Exp", [p]), g.sub(p, q)), [0, 1], false);
    const sum = g.add(g.mul(kl(t.two, s.two), target), g.mul(kl(t.others, s.others), others));
    return g.mul(sum, temperature ** 2 / rows);
  },
});

/** The mean of (s − t)² over all scores (Ba and Caruana 2014, arXiv:1312.6184; Kim et al. 2021, arXiv:2105.08919). */
export const scoresSquared = (): Term => ({
  name: "scoresSquared",
  build(g, of) {
    const { student, taught } = of.scores();
    return meanOf(g, squared(g, g.sub(student, taught)));
  },
});

/** 1 − cos(s, t) of an example's scores, the mean over examples (DistilBERT's is of hidden states: Sanh et al. 2019, arXiv:1910.01108). */
export const scoresCosine = (): Term => ({
  name: "scoresCosine",
  build(g, of) {
    const { student, taught } = of.scores();
    return cosineDistance(g, student, taught);
  },
});

/** The mean over rows of 1 − cos. */
export function cosineDistance(g: Emitter, a: string, b: string): string {
  return g.sub(1, meanOf(g, g.sum(g.mul(unit(g, a), unit(g, b)), [g.rank(a) - 1])));
}
