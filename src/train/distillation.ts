import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import type { Emitter } from "../ops/emit.ts";
import { logitsOf } from "../ops/logits.ts";
import { asRows, binaryCrossEntropy, crossEntropy, outputOf, sumAll } from "./losses.ts";
import type { Loss, LossIo } from "./step.ts";
import { suppliedBy, type Teacher } from "./teacher.ts";

export interface DistillationOptions {
  readonly teacher: Teacher;
  /** T: the scores are divided by it, so that wrong answers show how wrong they are. Default 4. */
  readonly temperature?: number;
  /** α: the share of the teacher; 1 − α is that of the labels, and with 1 none are needed. Default 0.9. */
  readonly alpha?: number;
  /** Labels are shares of classes, as mixup makes them. */
  readonly soft?: boolean;
  /** What the labels are compared by. Default: cross-entropy, for a final Sigmoid binary cross-entropy. */
  readonly hard?: Loss;
  /** The student's output that is compared. Default: the first. */
  readonly output?: string;
  /** The teacher's output it is compared with. Default: its first. */
  readonly teacherOutput?: string;
  /** The axis of classes. Default 1. */
  readonly axis?: number;
}

/**
 * Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531):
 *
 *   L = α·T²·KL(softmax(t/T) ‖ softmax(s/T)) + (1 − α)·L_hard
 *
 * with the teacher's scores t and the student's s, the mean over examples (and positions), in nats. T² keeps the gradient's
 * size where T changes. Scores of a final Sigmoid, or one alone, are each a choice between two classes. Throws
 * `train/teacher-classes` where teacher and student tell other numbers of classes apart.
 *
 * @example
 * // A float model teaches what was quantized or pruned from it, without labels.
 * const teacher = await openTeacher(float);
 * await train(aware, { data, epochs: 2, loss: distillation({ teacher, temperature: 1, alpha: 1 }) });
 */
export function distillation(options: DistillationOptions): Loss {
  const { teacher, temperature = 4, alpha = 0.9, soft: shares = false, hard, output, axis = 1 } = options;
  if (!(temperature > 0 && Number.isFinite(temperature) && alpha >= 0 && alpha <= 1))
    throw new MinnowError(`A temperature of ${temperature} with a share of ${alpha} is not possible.`, {
      code: "train/loss-options",
      mend: "The temperature is above 0, and the teacher's share (alpha) from 0 to 1.",
    });
  const own = output === undefined ? {} : { output };
  return {
    name: "distillation",
    build(g, io) {
      const { student, taught, squash } = comparedScores(g, io, options);
      const soft = softLoss(g, student, taught, temperature);
      if (alpha === 1) return soft;
      const labels =
        hard ?? (squash === "Sigmoid" ? binaryCrossEntropy(own) : crossEntropy({ ...own, axis, soft: shares }));
      return g.add(g.mul(soft, alpha), g.mul(labels.build(g, io), 1 - alpha));
    },
    supply: suppliedBy(alpha === 1 || hard === undefined ? [teacher] : [teacher, hard]),
  };
}

/** The scores of student and teacher as rows of one example's classes each, in one type. */
export function comparedScores(
  g: Emitter,
  io: LossIo,
  { teacher, output, teacherOutput, axis = 1 }: Omit<DistillationOptions, "temperature" | "alpha" | "hard">,
): { readonly student: string; readonly taught: string; readonly squash: "Softmax" | "Sigmoid" } {
  const value = outputOf(io, output);
  const behind = logitsOf(g, value, "Sigmoid");
  const squash = behind !== value || g.shape(value)[axis] === 1 ? "Sigmoid" : "Softmax";
  const student = squash === "Sigmoid" ? behind : logitsOf(g, value, squash, axis);
  const taught = teacher.scores(g, io, { output: teacherOutput, squash, axis });
  const [own, others] = [g.shape(student), g.shape(taught)];
  if (g.size(student) !== g.size(taught) || own[axis] !== others[axis])
    throw new MinnowError(`The student answers [${own}], and its teacher "${teacher.name}" [${others}].`, {
      code: "train/teacher-classes",
      mend: "Both must tell the same classes apart, in the same order: give the student a head of as many, or compare other outputs.",
    });
  const rows = (scores: string) => (squash === "Sigmoid" ? asChoices(g, scores) : asRows(g, scores, axis));
  return { student: rows(student), taught: rows(g.cast(taught, g.dtype(student))), squash };
}

/** Each score x as a choice between x and 0: softmax of it is [sigmoid(x), 1 − sigmoid(x)]. */
function asChoices(g: Emitter, scores: string): string {
  const column = g.reshape(scores, [g.size(scores), 1]);
  return g.concat([column, g.zerosLike(column)], 1);
}

/** T²·Σ p·(log p − log q) / N with p = softmax(t/T), q = softmax(s/T), over rows. */
export function softLoss(g: Emitter, student: string, taught: string, temperature: number): string {
  const [rows = 1] = g.shape(student);
  const logs = (scores: string) => g.op("LogSoftmax", [g.mul(scores, 1 / temperature)], { axis: int(-1) });
  const [q, p] = [logs(student), logs(taught)];
  return g.mul(sumAll(g, g.mul(g.op("Exp", [p]), g.sub(p, q))), temperature ** 2 / rows);
}
