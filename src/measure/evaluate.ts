import { batches } from "../data/batches.ts";
import { bindInputs, feedInputs } from "../data/bind.ts";
import type { Dataset, Skipped } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { openSession, type Runtime, type Session } from "../runtime/index.ts";
import { type Judgement, METRICS, type MetricName } from "./metrics.ts";

export interface EvaluateOptions {
  /** Default: accuracy, and top5 where there are more than 5 classes. */
  readonly metrics?: readonly MetricName[];
  readonly runtime?: Runtime;
  readonly threads?: number;
  /** Examples per run; default as many as keep a run short. A model with a fixed batch decides itself. */
  readonly batch?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Evaluation {
  /** Examples that were judged. */
  readonly samples: number;
  readonly skipped: readonly Skipped[];
  /** Fractions, 0 … 1; empty where the data has no labels. */
  readonly metrics: Partial<Record<MetricName, number>>;
  readonly judgement: Judgement;
  /** Examples whose scores are not finite; they count as wrong. */
  readonly broken: number;
}

/**
 * Runs a classifier over a dataset and judges its first output, scores `[N, classes]`, by the labels.
 * Memory does not grow with the dataset but for a few numbers an example.
 *
 * @example
 * const { metrics } = await evaluate(model, photos);   // { accuracy: 0.703, top5: 0.891 }
 */
export async function evaluate(model: Model, data: Dataset, options: EvaluateOptions = {}): Promise<Evaluation> {
  const session = await openSession(model, pick(options));
  try {
    const judge = judgeOf(data);
    const skipped: Skipped[] = [];
    let done = 0;
    for await (const { feeds, labels, indices, skipped: passed } of feedBatches(model, data, options)) {
      const scores = await runScores(session, feeds, indices.length);
      judge.add(scores, labels, indices);
      skipped.push(...passed);
      done += indices.length + passed.length;
      options.onProgress?.(done, data.size);
    }
    const judgement = judge.result();
    const labelled = judgement.labels.length > 0 && judgement.labels.every((label) => label >= 0);
    const names =
      options.metrics ?? (judgement.classes > 5 ? (["accuracy", "top5"] as const) : (["accuracy"] as const));
    const metrics = labelled ? Object.fromEntries(names.map((name) => [name, METRICS[name](judgement)])) : {};
    return { samples: judgement.indices.length, skipped, metrics, judgement, broken: judge.broken() };
  } finally {
    await session.close();
  }
}

/** Batches under the names of the model's inputs, of the size the model or the caller wants. */
export function feedBatches(model: Model, data: Dataset, options: Pick<EvaluateOptions, "batch" | "signal"> = {}) {
  return batches(bindInputs(data, model.graph), batchSizeOf(model, options.batch), { signal: options.signal });
}

/** The batch a model fixes, else what is asked for, else as many examples as hold about 2 MB of input, 32 at most. */
export function batchSizeOf(model: Model, wanted?: number): number {
  const shapes = feedInputs(model.graph).map(({ type }) => type?.shape);
  const fixed = shapes[0]?.[0];
  if (typeof fixed === "number" && fixed > 0) return fixed;
  const numbers = shapes[0]?.slice(1).reduce<number>((a, b) => a * (typeof b === "number" ? b : 128), 1) ?? 1;
  return wanted ?? Math.max(1, Math.min(32, Math.floor(500_000 / numbers)));
}

const pick = ({ runtime, threads }: EvaluateOptions) => ({
  ...(runtime !== undefined && { runtime }),
  ...(threads !== undefined && { threads }),
});

async function runScores(session: Session, feeds: Record<string, TensorData>, count: number): Promise<TensorData> {
  const name = session.outputs[0] ?? "";
  const scores = (await session.run(feeds, [name]))[name];
  if (scores === undefined || !scores.dtype.startsWith("float") || scores.shape[0] !== count || scores.shape.length < 2)
    throw new MinnowError(
      `Its first output "${name}" is ${scores?.dtype} [${scores?.shape}] for ${count} examples; a classifier gives scores [N, classes].`,
      { code: "measure/no-classifier", mend: "Use compare, or give the metric and data in a minnow.config.mjs." },
    );
  return scores;
}

/** Collects what a classifier says; constant work an example. */
function judgeOf(data: Dataset) {
  const [predictions, labels, ranks, indices, margins]: number[][] = [[], [], [], [], []];
  let classes = 0;
  let broken = 0;
  return {
    broken: () => broken,
    add(scores: TensorData, truth: Int32Array | undefined, at: Int32Array) {
      classes = scores.data.length / at.length;
      const values = scores.data as ArrayLike<number>;
      for (let i = 0; i < at.length; i++) {
        const label = truth === undefined ? -1 : truth[i]!;
        if (label >= classes)
          throw new MinnowError(`An example has the class ${label}; the model knows ${classes} classes.`, {
            code: "measure/labels",
            at: data.classes?.[label],
            mend: "Check the class folders, --labels and --label-offset.",
          });
        const { best, rank, finite } = rankOf(values, i * classes, classes, label);
        if (!finite) broken++;
        predictions!.push(best);
        labels!.push(label);
        ranks!.push(rank);
        indices!.push(at[i]!);
        margins!.push(classes > 1 ? values[i * classes + 1]! - values[i * classes]! : values[i]!);
      }
    },
    result: (): Judgement => ({
      indices: Int32Array.from(indices!),
      predictions: Int32Array.from(predictions!),
      labels: Int32Array.from(labels!),
      ranks: Int32Array.from(ranks!),
      margins: Float32Array.from(margins!),
      classes,
    }),
  };
}

/** The best class of one row, and how many classes beat `label` (a tie counts against the later one, NaN against all). */
function rankOf(values: ArrayLike<number>, start: number, classes: number, label: number) {
  let [best, top, rank, finite] = [0, -Infinity, 0, true];
  const own = label < 0 ? Number.NaN : values[start + label]!;
  for (let c = 0; c < classes; c++) {
    const score = values[start + c]!;
    finite &&= Number.isFinite(score);
    if (score > top) [best, top] = [c, score];
    if (c !== label && !(score < own || (score === own && c > label))) rank++;
  }
  return { best, rank: label < 0 ? -1 : rank, finite };
}
