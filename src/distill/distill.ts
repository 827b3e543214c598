import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { inferModel } from "../ops/infer.ts";
import type { Pixels } from "../train/augment.ts";
import { readyToTrain } from "../train/prepare.ts";
import type { Loss } from "../train/step.ts";
import { ensemble, modern, openTeacher, type Teacher } from "../train/teacher.ts";
import { type TrainOptions, type TrainResult, train } from "../train/train.ts";
import { meanLoss } from "../train/validate.ts";
import { judgeTeachers, lacksClasses, sameClasses, worse } from "./check.ts";
import { softTargets } from "./logits.ts";
import { type Part, teaching } from "./loss.ts";
import type { Term } from "./terms.ts";
import { stagePairs, withOutputs, withoutOutputs, withProjections } from "./values.ts";
import { ownView, viewsFor } from "./views.ts";

export interface DistillOptions extends Omit<TrainOptions, "loss"> {
  /** A trained model, as it is: float, quantized, of another opset, with another input; or several, whose scores are averaged. */
  readonly teacher: Model | readonly Model[];
  /** One weight for each of several teachers. */
  readonly teacherWeights?: readonly number[];
  /** The same examples as the teachers read them, where their preprocessing is another; default `data` in the size of their inputs. */
  readonly teacherData?: Dataset;
  /** What is learned from the teacher. Default `softTargets()`. */
  readonly losses?: readonly (Term | Weighted)[];
  /** α: the share of the teacher, 1 − α that of the labels. Default 0.9, and 1 where there are no labels. */
  readonly alpha?: number;
  /** What the labels are compared by. Default: cross-entropy, for a final Sigmoid binary cross-entropy. */
  readonly hard?: Loss;
  /** The student's output that is compared, and the teacher's. Default: the first. */
  readonly output?: string;
  readonly teacherOutput?: string;
  /** The axis of classes. Default 1. */
  readonly axis?: number;
  /**
   * The teacher's answers are computed once and kept, in memory (true) or in this file from one training to the next. Default:
   * in memory where each example is the same in every epoch, else the teacher answers in each step.
   */
  readonly cache?: boolean | string;
  /** Told what is worth knowing: where the teacher runs and why, weights of terms, a teacher that is worse than its student. */
  readonly onNote?: (note: string) => void;
}

export interface Weighted {
  readonly term: Term;
  readonly weight: number;
}

export interface DistillResult extends TrainResult {
  readonly notes: readonly string[];
  /** The weight of each term, by name: as given, or as balanced. */
  readonly weights: Readonly<Record<string, number>>;
  /** What the teacher is worth on the validation data, where that is labelled. */
  readonly teacherMetrics: Readonly<Record<string, number>>;
  /** For how many examples the teacher ran and how many answers it knew, where they are kept. */
  readonly answers?: { readonly computed: number; readonly found: number };
}

/**
 * Trains a student to answer as its teacher does (and, with labels, as they say): {@link train} with
 *
 *   L = α·Σ_i w_i·L_i + (1 − α)·L_labels
 *
 * Terms without a weight are balanced: each weighs as much as the first, measured before the first update. With unlabelled data
 * the teacher's answers are all that is learned. What comes back has the student's inputs, outputs and weight names; learned
 * projections and inner outputs are gone. Throws what {@link train} throws, `train/teacher-…` where teacher, student and data do
 * not go together, and `distill/…` for values that cannot be compared.
 *
 * @example
 * const { model } = await distill(student, {
 *   teacher, data, epochs: 20, losses: [softTargets({ temperature: 4 }), hints()], augment: { flip: true, crop: 4 },
 * });
 */
export async function distill(student: Model, options: DistillOptions): Promise<DistillResult> {
  const notes: string[] = [];
  const note = (line: string) => {
    notes.push(line);
    options.onNote?.(line);
  };
  const setup = await prepared(student, options, note);
  const { teacher } = setup;
  try {
    const { weights, loss } = await balanced(setup, options, note);
    const { data, validation, pixels } = setup;
    const only = options.only && { only: [...options.only, ...setup.projections] };
    const result = await train(setup.student, {
      ...options,
      ...only,
      data,
      loss,
      ...(validation && { validation }),
      ...(pixels && { pixels }),
    });
    note(`The teacher ran ${teacher.where}.`);
    if (teacher.counts)
      note(`It ran for ${teacher.counts.computed} examples; ${teacher.counts.found} answers were known.`);
    const last = result.history.at(-1)?.metrics ?? {};
    for (const line of worse(setup.judged, last, "after training")) note(line);
    return {
      ...result,
      model: await withoutOutputs(result.model, student.graph.outputs.length),
      notes,
      weights,
      teacherMetrics: setup.judged,
      ...(teacher.counts && { answers: { ...teacher.counts } }),
    };
  } finally {
    await teacher.close();
  }
}

interface Setup {
  readonly student: Model;
  readonly teacher: Teacher;
  readonly data: Dataset;
  readonly validation: Dataset | undefined;
  readonly pixels: Pixels | undefined;
  readonly parts: readonly (Omit<Part, "weight"> & { readonly weight: number | undefined })[];
  readonly projections: readonly string[];
  readonly judged: Readonly<Record<string, number>>;
}

async function prepared(given: Model, options: DistillOptions, note: (line: string) => void): Promise<Setup> {
  const { data, validation, seed = 0, losses = [softTargets()] } = options;
  const teachers = await Promise.all(teachersOf(options).map(modern));
  const named = teachers.map((model, i) => ({ name: i === 0 ? "teacher" : `teacher${i + 1}`, model }));
  const [first] = teachers;
  if (first === undefined)
    throw new MinnowError("There is no teacher.", { code: "distill/no-teacher", mend: "Give at least one model." });
  sameClasses(given, named);
  const terms = losses.map((loss) => ("term" in loss ? loss : { term: loss, weight: undefined }));
  const lifted = await modern(given);
  const wanted = terms.map(({ term: { pairs = [] } }) => (pairs === "stages" ? stagePairs(lifted, first) : pairs));
  let student = withOutputs(
    lifted,
    wanted.flat().map((pair) => pair.student),
    "student",
  );
  student = (await readyToTrain(student)).model;
  const projections: string[] = [];
  const parts = terms.map(({ term, weight }, i) => {
    const pairs = wanted[i] ?? [];
    if (!term.projected || pairs.length === 0) return { term, weight, pairs };
    const made = withProjections(student, first, pairs, seed + i);
    student = made.model;
    projections.push(...made.weights);
    return { term, weight, pairs: made.pairs };
  });
  const values = wanted.flat().map((pair) => pair.teacher);
  const views = named.filter(({ model }) => options.teacherData !== undefined || ownView(given, model));
  if (views.length > 0 && options.augment?.mixup !== undefined)
    throw new MinnowError("The teacher sees each picture as it is, so it cannot answer to mixed ones.", {
      code: "distill/mixup",
      mend: "Leave mixup out, or take a teacher with the student's input size and preprocessing.",
    });
  const see = (from: Dataset) =>
    viewsFor(from, given, views, options.teacherData === undefined ? from : options.teacherData);
  const [judged, probabilities] = await judgeTeachers(given, named, options, note);
  const cache = cacheOf(options, first, { inner: values.length > 0, views: views.length > 0 }, note);
  const running = {
    ...(options.runtime && { runtime: options.runtime }),
    ...(options.threads && { threads: options.threads }),
  };
  const opened = await Promise.all(
    named.map(({ name, model }, i) =>
      openTeacher(i === 0 ? withOutputs(model, values, "teacher") : model, {
        name,
        ...running,
        ...(probabilities[i] && { probabilities: true }),
        ...(cache && { cache: typeof cache === "string" && i > 0 ? `${cache}.${i + 1}` : cache }),
      }),
    ),
  );
  lacksClasses(given, data, note);
  return {
    student,
    teacher: opened.length === 1 ? (opened[0] as Teacher) : ensemble(opened, options.teacherWeights),
    data: views.length > 0 ? see(data).data : data,
    validation: validation && views.length > 0 && options.teacherData === undefined ? see(validation).data : validation,
    pixels: options.pixels ?? (views.length > 0 ? see(data).pixels : undefined),
    parts,
    projections,
    judged,
  };
}

const teachersOf = ({ teacher }: DistillOptions): readonly Model[] =>
  Array.isArray(teacher) ? (teacher as readonly Model[]) : [teacher as Model];

/** Whether the teacher's answers are kept, and the reason. */
function cacheOf(
  { cache, augment, epochs, teacherOutput }: DistillOptions,
  model: Model,
  { inner, views }: { inner: boolean; views: boolean },
  note: (line: string) => void,
): boolean | string {
  const output = teacherOutput ?? model.graph.outputs[0]?.name ?? "";
  const rank = inferModel(model).get(output)?.shape?.length ?? 0;
  const why =
    cache !== undefined
      ? "as asked for"
      : augment !== undefined && augment.views === undefined && !views
        ? "pictures are augmented, so no batch is like another"
        : epochs === 1
          ? "there is one epoch"
          : inner
            ? "inner values are compared, which are large"
            : rank > 2
              ? "its answers are large"
              : undefined;
  const kept = cache ?? why === undefined;
  note(
    kept
      ? `Each answer of the teacher is computed once and kept ${typeof kept === "string" ? `in ${kept}` : "in memory"}: ${why ?? (augment?.views === undefined ? "examples are the same in every epoch" : `each example has ${augment.views} views`)}.`
      : `The teacher answers in every step: ${why}.`,
  );
  if (views && augment !== undefined)
    note("The teacher sees each picture as it is; what augmentation does, the student alone sees.");
  return kept;
}

/** The loss, its terms weighted: each as much as the first, where no weight is given. */
async function balanced(setup: Setup, options: DistillOptions, note: (line: string) => void) {
  const { student, teacher, data } = setup;
  const labelled = data.labels !== undefined;
  const alpha = options.alpha ?? (labelled ? 0.9 : 1);
  if (!(alpha >= 0 && alpha <= 1))
    throw new MinnowError(`The teacher's share is ${alpha}.`, { code: "distill/alpha", mend: "alpha is from 0 to 1." });
  const { hard, output, teacherOutput, axis, batch = 64, runtime, threads, sizes } = options;
  const soft = options.augment?.mixup !== undefined;
  const common = { teacher, labelled, soft, hard, output, teacherOutput, axis };
  const judge = async (part: Part) => {
    const loss = teaching({ ...common, parts: [part], alpha: 1 });
    const size = Math.min(batch, data.size);
    return meanLoss(student, data.take(2 * size), { loss, batch: size, runtime, threads, sizes });
  };
  const parts: Part[] = [];
  let first: number | undefined;
  for (const { term, pairs, weight } of setup.parts) {
    const open = weight === undefined && setup.parts.length > 1;
    const value = open ? await judge({ term, pairs, weight: 1 }) : 1;
    if (!Number.isFinite(value))
      throw new MinnowError(`${term.name} is ${value} before anything is learned.`, {
        code: "distill/not-finite",
        mend: "Check teacher and student on this data with evaluate.",
      });
    if (open) first ??= value;
    parts.push({ term, pairs, weight: weight ?? (open && value > 0 ? (first as number) / value : 1) });
  }
  const weights = Object.fromEntries(parts.map(({ term, weight }) => [term.name, weight]));
  if (parts.length > 1)
    note(`Weights: ${parts.map(({ term, weight }) => `${term.name} ${weight.toPrecision(3)}`).join(", ")}.`);
  return { weights, loss: teaching({ ...common, parts, alpha }) };
}
