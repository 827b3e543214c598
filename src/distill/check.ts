import { classNamesIn } from "../data/classes.ts";
import { type Dataset, split } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { isKnown } from "../ir/dim.ts";
import type { Model } from "../ir/graph.ts";
import { evaluate, feedBatches } from "../measure/evaluate.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { attempt } from "../train/teacher.ts";
import type { DistillOptions } from "./distill.ts";
import type { Named } from "./views.ts";

type Metrics = Readonly<Record<string, number>>;

/** Examples that a teacher is judged on before it teaches. */
const JUDGED = 500;

/**
 * What the teachers are worth (the mean of their metrics), and which of them answer with probabilities. Throws
 * `train/teacher-nan` where an answer is no number; notes what they are worth, and a teacher that is worse than
 * the student is already.
 */
export async function judgeTeachers(
  student: Model,
  teachers: readonly Named[],
  options: DistillOptions,
  note: (line: string) => void,
): Promise<readonly [Metrics, readonly boolean[]]> {
  const { data, teacherData, validation, seed = 0, metrics } = options;
  const from = validation ?? data;
  const seen = teacherData ?? from;
  const [own, theirs] = [few(from, seed), few(seen, seed)];
  const judge = async (model: Model, on: Dataset) => {
    if (inferModel(model).get(model.graph.outputs[0]?.name ?? "")?.shape?.length !== 2) return undefined;
    const { runtime, threads, signal } = options;
    return evaluate(model, on, {
      ...(runtime && { runtime }),
      ...(threads && { threads }),
      ...(signal && { signal }),
      ...(metrics && { metrics }),
    });
  };
  const found = [];
  for (const { name, model } of teachers) {
    const evaluation = await judge(model, theirs);
    if (evaluation !== undefined && evaluation.broken > 0)
      throw new MinnowError(
        `The teacher "${name}" answers ${evaluation.broken} of ${evaluation.samples} examples with numbers that are none: NaN or infinite.`,
        {
          code: "train/teacher-nan",
          mend: "Check its preprocessing, and whether a float16 or an integer in it overflows.",
        },
      );
    found.push(evaluation);
  }
  const worth = meanOf(
    found.flatMap((evaluation) => (evaluation === undefined ? [] : [evaluation.metrics as Metrics])),
  );
  const said = shares(worth).map(([name, value]) => `${name} ${percent(value)}`);
  if (said.length > 0)
    note(
      `The teacher${teachers.length > 1 ? "s are, in the mean," : " is"} at ${said.join(", ")} on ${theirs.size} examples.`,
    );
  const before = Object.keys(worth).length === 0 ? undefined : await attempt(() => judge(student, own));
  for (const line of worse(worth, (before?.metrics ?? {}) as Metrics, "before anything is learned")) note(line);
  return [worth, await Promise.all(teachers.map(({ model }) => answersProbabilities(model, theirs)))];
}

/** Throws `distill/classes` where student and teacher both name their classes, and name others. */
export function sameClasses(student: Model, teachers: readonly Named[]): void {
  const own = classNamesIn(student);
  for (const { name, model } of teachers) {
    const theirs = classNamesIn(model);
    const at = own?.findIndex((word, i) => theirs?.[i] !== word) ?? -1;
    if (own === undefined || theirs === undefined || (at < 0 && own.length === theirs.length)) continue;
    const [mine, other] = [own[at] ?? "nothing", theirs[at < 0 ? own.length : at] ?? "nothing"];
    throw new MinnowError(
      `The student and its teacher "${name}" tell other classes apart: number ${at < 0 ? own.length : at} is "${mine}" there and "${other}" here.`,
      {
        code: "distill/classes",
        mend: "Give the student a head for the teacher's classes, in their order, or mend the metadata.",
      },
    );
  }
}

/** Lines for metrics by which the student is better than its teacher. */
export function worse(teacher: Metrics, student: Metrics, when: string): string[] {
  return shares(teacher)
    .filter(([name, value]) => (student[name] ?? -Infinity) > value)
    .map(
      ([name, value]) =>
        `The student is better than its teacher ${when}: ${name} ${percent(student[name] as number)} against ${percent(value)}.`,
    );
}

/** Notes classes of which there is no example: their scores are learned from what the teacher says of the others. */
export function lacksClasses(student: Model, { labels, classes }: Dataset, note: (line: string) => void): void {
  const [, count, ...rest] = inferModel(student).get(student.graph.outputs[0]?.name ?? "")?.shape ?? [];
  if (labels === undefined || count === undefined || !isKnown(count) || rest.length > 0) return;
  const there = new Set(labels);
  const missing = Array.from({ length: count }, (_, c) => c).filter((c) => !there.has(c));
  if (missing.length === 0 || missing.length === count) return;
  const names = missing.map((c) => (classes?.[c] === undefined ? `${c}` : `${c} (${classes[c]})`));
  note(
    `No example of ${missing.length === 1 ? "class" : "classes"} ${names.join(", ")}: what the teacher says of the others teaches them, and their bias will be too low.`,
  );
}

/** Whether the first output of a classifier holds numbers from 0 that sum to 1, on the first examples. */
async function answersProbabilities(model: Model, data: Dataset): Promise<boolean> {
  const shape = inferModel(model).get(model.graph.outputs[0]?.name ?? "")?.shape;
  if (shape?.length !== 2 || shape[1] === 1) return false;
  const session = await openSession(model);
  try {
    for await (const { feeds } of feedBatches(model, data.take(16), { batch: 16 })) {
      const [name = ""] = session.outputs;
      const scores = (await session.run(feeds, [name]))[name];
      const [rows = 0, classes = 1] = scores?.shape ?? [];
      const values = Array.from((scores?.data ?? []) as Float32Array, Number);
      for (let i = 0; i < rows; i++) {
        const row = values.slice(i * classes, (i + 1) * classes);
        if (row.some((v) => v < 0) || Math.abs(row.reduce((a, b) => a + b, 0) - 1) > 0.02) return false;
      }
    }
    return true;
  } finally {
    await session.close();
  }
}

/** At most {@link JUDGED} examples, each class in its share. */
const few = (data: Dataset, seed: number): Dataset => (data.size <= JUDGED ? data : split(data, JUDGED, { seed })[0]);

function meanOf(all: readonly Metrics[]): Metrics {
  const names = Object.keys(all[0] ?? {});
  return Object.fromEntries(names.map((name) => [name, all.reduce((sum, m) => sum + (m[name] ?? 0), 0) / all.length]));
}

/** The metrics that are shares of 1. */
const shares = (metrics: Metrics) => Object.entries(metrics).filter(([name]) => name !== "loss");

const percent = (value: number): string => `${(100 * value).toFixed(2)} %`;
