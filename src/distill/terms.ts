import type { Emitter } from "../ops/emit.ts";

/** A value of the student and the one of its teacher that it is compared with, by their names. */
export interface Pair {
  readonly student: string;
  readonly teacher: string;
}

/** What a term is built from: names of values in the step's graph. */
export interface Compared {
  /** The scores of student and teacher, as rows [N, classes]. */
  scores(): { readonly student: string; readonly taught: string };
  /** The class of each row of scores, int64 [N]: its label, or what the teacher takes for the likeliest. */
  labels(): string;
  /** The term's pairs, projected where it asks for that. */
  readonly pairs: readonly Pair[];
}

/** One way of comparing a student with its teacher. */
export interface Term {
  readonly name: string;
  /** What it compares besides the scores; `stages`: the last values of each resolution that both have. */
  readonly pairs?: readonly Pair[] | "stages";
  /** The student's values go through a learned linear map to as many channels as the teacher's have. It is thrown away after. */
  readonly projected?: boolean;
  /** Emits one number. */
  build(g: Emitter, of: Compared): string;
}

/** Mean over the pairs of a term. */
export const overPairs = (g: Emitter, { pairs }: Compared, each: (student: string, taught: string) => string): string =>
  g.mul(g.total(pairs.map(({ student, teacher }) => each(student, teacher))), 1 / pairs.length);

/** Mean over rows of a value [rows, 1] or [rows]. */
export const meanOf = (g: Emitter, value: string): string =>
  g.mul(g.sum(value, [...g.shape(value).keys()], false), 1 / g.size(value));

export const squared = (g: Emitter, value: string): string => g.mul(value, value);

/** v / max(‖v‖₂, ε) along the last axis, which keeps its gradient finite at 0. */
export function unit(g: Emitter, value: string): string {
  const length = g.op("Sqrt", [g.add(g.sum(squared(g, value), [g.rank(value) - 1]), 1e-12)]);
  return g.div(value, length);
}

/** Examples as rows: [N, …] → [N, D]. */
export const flat = (g: Emitter, value: string): string => {
  const [n = 1] = g.shape(value);
  return g.reshape(value, [n, g.size(value) / n]);
};
