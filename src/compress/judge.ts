import type { Dataset, Skipped } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { compare } from "../measure/compare.ts";
import { type EvaluateOptions, evaluate } from "../measure/evaluate.ts";
import { type Judgement, METRICS, type MetricName } from "../measure/metrics.ts";

/** What the search goes by: a metric of labelled data, agreement with the float model, or closeness of the outputs. */
export type Quality = MetricName | "agreement" | "sqnr";

/** A model judged on a dataset. */
export interface Verdict {
  /** 0 … 1. For `sqnr`: 1 − noise / signal, so that a drop of 1 % is 20 dB. */
  readonly quality: number;
  /** Every metric that was computed. */
  readonly metrics: Readonly<Record<string, number>>;
  /** For each example whether it was right; empty for `sqnr`. */
  readonly right: readonly boolean[];
  readonly judgement?: Judgement;
  readonly skipped: readonly Skipped[];
  readonly samples: number;
}

/** Judges models on one dataset by one metric, the float model being the measure where there are no labels. */
export interface Judge {
  readonly quality: Quality;
  readonly reference: Verdict;
  judge(model: Model, options?: Pick<EvaluateOptions, "signal" | "onProgress">): Promise<Verdict>;
}

/**
 * A judge over a dataset. Labelled data goes by `metric` (accuracy); data without labels by agreement with the reference
 * where that is a classifier, else by the signal-to-noise ratio of its outputs.
 */
export async function judgeBy(
  reference: Model,
  data: Dataset,
  options: EvaluateOptions & { readonly metric?: Quality } = {},
): Promise<Judge> {
  const labelled = data.labels !== undefined || data.classes !== undefined;
  const quality = options.metric ?? (labelled ? "accuracy" : isClassifier(reference) ? "agreement" : "sqnr");
  if (quality === "sqnr") return judgeByCloseness(reference, data, options);
  const first = await evaluate(reference, data, wanted(quality, options));
  if (first.broken > 0)
    throw new MinnowError(`The model's scores are not finite on ${first.broken} of ${first.samples} examples.`, {
      code: "compress/not-finite",
      mend: "A weight or an input holds NaN, or numbers overflow; export the model again, and check the preprocessing.",
    });
  const verdict = (
    judgement: Judgement,
    metrics: Readonly<Record<string, number>>,
  ): Pick<Verdict, "right" | "quality" | "metrics"> => {
    if (quality === "agreement") {
      const right = [...judgement.predictions].map((p, i) => p === first.judgement.predictions[i]);
      const share = right.filter(Boolean).length / Math.max(1, right.length);
      return { right, quality: share, metrics: { agreement: share } };
    }
    return { right: [...judgement.ranks].map((rank) => rank === 0), quality: metrics[quality] ?? Number.NaN, metrics };
  };
  const full = (e: typeof first): Verdict => ({
    ...verdict(e.judgement, e.metrics as Record<string, number>),
    judgement: e.judgement,
    skipped: e.skipped,
    samples: e.samples,
  });
  if (quality !== "agreement") aboveChance(first.judgement, quality, data);
  return {
    quality,
    reference: full(first),
    judge: async (model, more = {}) => full(await evaluate(model, data, { ...wanted(quality, options), ...more })),
  };
}

const wanted = (quality: Quality, options: EvaluateOptions): EvaluateOptions => {
  const { metrics: _, ...rest } = options;
  if (quality === "agreement" || quality === "accuracy" || quality === "sqnr") return rest;
  return { ...rest, metrics: ["accuracy", quality] };
};

async function judgeByCloseness(reference: Model, data: Dataset, options: EvaluateOptions): Promise<Judge> {
  const { metrics: _, ...rest } = options;
  const judge: Judge["judge"] = async (model, more = {}) => {
    const { outputs, samples, agreement } = await compare(reference, model, data, { ...rest, ...more });
    const sqnr = Math.min(...outputs.map((o) => o.sqnr));
    const quality = Math.max(0, 1 - 10 ** (-sqnr / 10));
    return {
      quality,
      metrics: { sqnr, ...(Number.isNaN(agreement) ? {} : { agreement }) },
      right: [],
      skipped: [],
      samples,
    };
  };
  const reads: Verdict = { quality: 1, metrics: { sqnr: Infinity }, right: [], skipped: [], samples: data.size };
  return { quality: "sqnr", reference: reads, judge };
}

/** Whether the only output looks like scores `[N, classes]`: 2 to 100 000 classes, and not an input's shape again, as an autoencoder's is. */
function isClassifier({ graph: { inputs, outputs } }: Model): boolean {
  const shapeOf = ({ type }: (typeof outputs)[number]) => (type?.kind === "tensor" ? type.shape : undefined);
  const [only, another] = outputs;
  const shape = only && shapeOf(only);
  if (shape?.length !== 2 || another !== undefined) return false;
  const classes = shape[1];
  const again = inputs.some((input) => shapeOf(input)?.length === 2 && shapeOf(input)?.[1] === classes);
  return typeof classes === "number" && classes > 1 && classes <= 100_000 && !again;
}

/** An accuracy near chance says that the question is wrong, not the model. */
function aboveChance(judgement: Judgement, quality: Quality, data: Dataset): void {
  if (quality !== "accuracy" && quality !== "top5" && quality !== "f1") return;
  const counts = new Map<number, number>();
  for (const label of judgement.labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const total = judgement.labels.length;
  if (counts.size < 2 || total < 20) return;
  const chance = Math.max(...counts.values()) / total;
  const accuracy = METRICS.accuracy(judgement);
  const noise = 2 * Math.sqrt((chance * (1 - chance)) / total);
  if (accuracy > chance + noise || accuracy > 0.9) return;
  throw new MinnowError(
    `The model is right on ${(accuracy * 100).toFixed(1)} % of ${total} examples; always saying the most frequent class is right on ${(chance * 100).toFixed(1)} %.`,
    {
      code: "compress/chance",
      mend: `Most likely the preprocessing (--preprocess) or the class numbers (--labels, --label-offset) are not the model's: it has ${judgement.classes} classes, the data ${data.classes?.length ?? counts.size}.`,
    },
  );
}
