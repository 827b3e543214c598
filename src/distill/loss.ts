import { int } from "../ir/attrs.ts";
import { comparedScores } from "../train/distillation.ts";
import { binaryCrossEntropy, crossEntropy, LABELS, outputOf } from "../train/losses.ts";
import type { Loss } from "../train/step.ts";
import { suppliedBy, type Teacher } from "../train/teacher.ts";
import type { Pair, Term } from "./terms.ts";

/** A term with its weight, and the values it compares as the student and the teacher have them now. */
export interface Part {
  readonly term: Term;
  readonly weight: number;
  readonly pairs: readonly Pair[];
}

export interface TeachingOptions {
  readonly teacher: Teacher;
  readonly parts: readonly Part[];
  /** α: the share of the teacher; 1 − α is the labels'. */
  readonly alpha: number;
  readonly labelled: boolean;
  /** Labels are shares of classes, as mixup makes them. */
  readonly soft?: boolean | undefined;
  readonly hard?: Loss | undefined;
  readonly output?: string | undefined;
  readonly teacherOutput?: string | undefined;
  readonly axis?: number | undefined;
}

/** L = α·Σ_i w_i·L_i + (1 − α)·L_hard */
export function teaching(options: TeachingOptions): Loss {
  const { teacher, parts, alpha, labelled, soft = false, hard, output, teacherOutput, axis = 1 } = options;
  const own = output === undefined ? {} : { output };
  return {
    name: `distill(${parts.map(({ term }) => term.name).join("+")})`,
    build(g, io) {
      let known: ReturnType<typeof comparedScores> | undefined;
      const scores = () => {
        known ??= comparedScores(g, io, { teacher, axis, ...own, ...(teacherOutput && { teacherOutput }) });
        return known;
      };
      const labels = () => {
        const { taught } = scores();
        const [rows = 1] = g.shape(taught);
        const shape = g.shape(outputOf(io, output));
        if (!labelled) return g.op("ArgMax", [taught], { axis: int(1), keepdims: int(0) });
        return g.reshape(
          io.input(
            LABELS,
            "int64",
            shape.filter((_, i) => i !== axis),
          ),
          [rows],
        );
      };
      const terms = parts.map(({ term, weight, pairs }) => {
        const values = pairs.map((pair) => ({ ...pair, teacher: teacher.value(g, io, pair.teacher) }));
        return g.mul(term.build(g, { scores, labels, pairs: values }), alpha * weight);
      });
      if (alpha === 1) return g.total(terms);
      const squash = hard === undefined ? scores().squash : undefined;
      const told = hard ?? (squash === "Sigmoid" ? binaryCrossEntropy(own) : crossEntropy({ ...own, axis, soft }));
      return g.total([...terms, g.mul(told.build(g, io), 1 - alpha)]);
    },
    supply: suppliedBy(hard === undefined ? [teacher] : [teacher, hard]),
  };
}
