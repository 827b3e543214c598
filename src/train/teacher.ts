import { MinnowError } from "../errors.ts";
import { isKnown } from "../ir/dim.ts";
import type { Model } from "../ir/graph.ts";
import type { Emitter } from "../ops/emit.ts";
import { logitsOf } from "../ops/logits.ts";
import { upgrade } from "../passes/index.ts";
import type { Runtime } from "../runtime/index.ts";
import { readyToTrain } from "./prepare.ts";
import type { Loss, LossIo } from "./step.ts";
import { type Asked, inlined, located, misfit, type ScoreOptions, sourcesOf, unknownValue } from "./teacher-graph.ts";
import { openAnswers } from "./teacher-session.ts";

/** A model whose outputs a loss compares with. */
export interface Teacher {
  /** Unique among the teachers of a loss; what a step is fed with for it is called after it. */
  readonly name: string;
  /**
   * The value in the step's graph that holds the scores of an output (default the first) for the batch: what a final Softmax
   * (over `axis`) or Sigmoid makes it from, where there is one.
   */
  scores(g: Emitter, io: LossIo, options: ScoreOptions): string;
  /** The same for any value of the teacher by its name, as it is. */
  value(g: Emitter, io: LossIo, name: string): string;
  /** What the step has to be fed with, where the teacher runs apart. */
  readonly supply?: Loss["supply"];
  /** Where it runs, and why; said once a step was made. */
  readonly where: string;
  /** Where its answers are kept: for how many examples it ran, and how many it knew. */
  readonly counts?: { readonly computed: number; readonly found: number } | undefined;
  close(): Promise<void>;
}

export interface TeacherOptions {
  /** Default `teacher`. */
  readonly name?: string;
  /**
   * `step`: the teacher becomes part of the graph of a step. `session`: it runs in a session of its own, on the batches as
   * they are augmented, and the step is fed with what it says. Default: in the step where it fits into that graph.
   */
  readonly where?: "step" | "session";
  /**
   * Answers are computed once and kept, in memory (true) or also in a file, by the bits of what was asked; the teacher then
   * runs in a session of its own.
   */
  readonly cache?: boolean | string;
  /** Its scores are probabilities where no Softmax is found that makes them: their logarithms are taken. */
  readonly probabilities?: boolean;
  readonly runtime?: Runtime;
  readonly threads?: number;
}

/**
 * A trained model as a teacher: any that ONNX Runtime runs, quantized or not. It is frozen and in inference mode. Its inputs
 * read the student's of the same name, type and sizes, or a single one the single one; what it reads besides, the examples
 * must hold under `<name>.<input>`: the same picture in the size and the preprocessing of the teacher.
 *
 * @example
 * const teacher = await openTeacher(await load("large.onnx"));
 * const { model } = await train(small, { data, epochs: 10, loss: distillation({ teacher, temperature: 4 }) });
 * await teacher.close();
 */
export async function openTeacher(given: Model, options: TeacherOptions = {}): Promise<Teacher> {
  const { name = "teacher", cache, where: _where, probabilities = false, ...running } = options;
  const where = cache ? "session" : options.where;
  const model = await modern(given);
  const lifted = where === "session" ? [] : await forms(model);
  const answers = openAnswers(model, name, { ...running, cache });
  const inside = new WeakMap<Emitter, ReadonlyMap<string, string>>();
  let told = "nowhere yet";

  const asScores = (g: Emitter, value: string): string =>
    probabilities ? g.op("Log", [g.op("Max", [value, 1e-7])]) : value;
  const inStep = (g: Emitter, io: LossIo, asked: Asked, form: Model): string => {
    const known = inside.get(g) ?? inlined(g, form, sourcesOf(g, io, model, name), name);
    inside.set(g, known);
    const value = known.get(asked.of);
    if (value === undefined) throw unknownValue(model, asked.of);
    if (asked.scores === undefined) return value;
    const scores = logitsOf(g, value, asked.scores.squash, asked.scores.axis);
    return scores === value ? asScores(g, value) : scores;
  };
  const fed = (g: Emitter, io: LossIo, asked: Asked): string => {
    const sources = sourcesOf(g, io, model, name);
    const { value, shape } = located(g, model, sources, asked);
    if (!shape?.every(isKnown))
      throw new MinnowError(`The shape of the teacher's "${asked.of}" is ${shape ? `[${shape}]` : "not known"}.`, {
        code: "train/teacher-shape",
        mend: "Export the teacher with inputs of fixed sizes.",
      });
    const feed = `${name}.${value}`;
    answers.ask({ feed, value, shape: shape as readonly number[] }, sources);
    const given = io.input(feed, "float32", shape as readonly number[]);
    return asked.scores !== undefined && value === asked.of ? asScores(g, given) : given;
  };
  const get = (g: Emitter, io: LossIo, asked: Asked): string => {
    const form = lifted.find(({ opsets }) => opsets.get("") === g.opsets.get(""));
    const reason = where === "session" ? (cache ? "its answers are kept" : "as asked for") : misfit(g, model, form);
    if (where === "step" && reason !== undefined)
      throw new MinnowError(`The teacher cannot become part of a step: ${reason}.`, {
        code: "train/teacher-step",
        mend: "Let it run in a session of its own.",
      });
    told = reason === undefined ? "in the graph of the step" : `in a session of its own: ${reason}`;
    return form === undefined || reason !== undefined ? fed(g, io, asked) : inStep(g, io, asked, form);
  };
  return {
    name,
    scores: (g, io, scores) => get(g, io, { of: scores.output ?? model.graph.outputs[0]?.name ?? "", scores }),
    value: (g, io, of) => get(g, io, { of }),
    supply: answers.supply,
    get where() {
      return told;
    },
    get counts() {
      return answers.counts();
    },
    close: answers.close,
  };
}

/** The opsets of ai.onnx that students are trained in: the one Minnow works in, and the one 4 bits need. */
const OPSETS = [18, 21];

/** The model in the operators' forms of today, whose shapes are known; itself where it cannot be lifted. */
export const modern = async (model: Model): Promise<Model> =>
  (await attempt(() => upgrade().run(model)))?.model ?? model;

/** What comes of it; undefined where it ends in a MinnowError. */
export async function attempt<T>(make: () => Promise<T>): Promise<T | undefined> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof MinnowError) return undefined;
    throw error;
  }
}

/** The teacher as its nodes may stand in a student's graph; none where it cannot be lifted. */
async function forms(model: Model): Promise<Model[]> {
  const ready = await attempt(() => readyToTrain(model));
  if (ready === undefined) return [];
  return Promise.all(OPSETS.map(async (to) => (await upgrade({ to }).run(ready.model)).model));
}

/**
 * Several teachers as one, whose scores are the mean of theirs, weighted if `weights` are given: the geometric mean of what
 * they take for probable (Hinton et al. 2015, arXiv:1503.02531).
 */
export function ensemble(teachers: readonly Teacher[], weights?: readonly number[]): Teacher {
  const names = teachers.map(({ name }) => name);
  const share = weights ?? teachers.map(() => 1);
  const total = share.reduce((a, b) => a + b, 0);
  if (teachers.length === 0 || new Set(names).size !== names.length || share.length !== names.length || !(total > 0))
    throw new MinnowError(`An ensemble of the teachers ${names.join(", ") || "(none)"} cannot be made.`, {
      code: "train/ensemble",
      mend: "Give each teacher a name of its own (openTeacher's name), and one weight for each.",
    });
  const mean = (g: Emitter, values: readonly string[]): string => {
    const sizes = values.map((value) => `[${g.shape(value)}]`);
    const other = sizes.findIndex((size) => size !== sizes[0]);
    if (other > 0)
      throw new MinnowError(`The teacher "${names[other]}" answers ${sizes[other]}, and "${names[0]}" ${sizes[0]}.`, {
        code: "train/ensemble",
        mend: "Teachers of one ensemble tell the same classes apart.",
      });
    return g.total(values.map((value, i) => g.mul(value, (share[i] as number) / total)));
  };
  return {
    name: names.join("+"),
    scores: (g, io, options) =>
      mean(
        g,
        teachers.map((teacher) => teacher.scores(g, io, options)),
      ),
    value: (g, io, of) => (teachers[0] as Teacher).value(g, io, of),
    supply: suppliedBy(teachers),
    get where() {
      return teachers.map(({ name, where }) => `${name} ${where}`).join("; ");
    },
    async close() {
      for (const teacher of teachers) await teacher.close();
    },
  };
}

/** What several suppliers supply together. */
export function suppliedBy(
  all: readonly { readonly supply?: Loss["supply"] | undefined }[],
): NonNullable<Loss["supply"]> {
  return async (batch) => {
    let found: Awaited<ReturnType<NonNullable<Loss["supply"]>>> = {};
    for (const { supply } of all) if (supply !== undefined) found = { ...found, ...(await supply(batch)) };
    return found;
  };
}
