import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { type Dataset, split } from "../../data/dataset.ts";
import type { PreprocessOptions } from "../../data/preprocess.ts";
import { MinnowError } from "../../errors.ts";
import type { Model } from "../../ir/graph.ts";
import { evaluate } from "../../measure/evaluate.ts";
import type { MetricName } from "../../measure/metrics.ts";
import { freezeQuantized, quantizationAware } from "../../quantize/index.ts";
import { trainingReport } from "../../report/training-report.ts";
import { count, duration, percent, plural, table } from "../../report/words.ts";
import { updateBatchNorm } from "../../train/batch-norm.ts";
import type { EpochRecord } from "../../train/progress.ts";
import { type TrainOptions, type TrainProgress, type TrainResult, train } from "../../train/train.ts";
import { bold, dim, green, log, print, printJson, statusLine, yellow } from "../console.ts";
import { type LearningRoles, learningRoles, openData } from "../data.ts";
import { figuresOf, type Opened, openModel, outputPath, save } from "../model.ts";
import {
  choice,
  DATA,
  flag,
  metricsOf,
  number,
  onePath,
  RUNNING,
  runningOf,
  text,
  WRITING,
  wrong,
} from "../options.ts";
import { commandLine, machineWords } from "../report.ts";
import { keepVocabulary } from "../texts.ts";
import { augmentOf, TRAINING, trainingOptions } from "../training.ts";
import type { Given, Verb } from "../verb.ts";

const QAT = ["int8", "int4"] as const;

/** Examples that ranges of activations are taken from. */
const CALIBRATION = 256;

/** Examples that the statistics of normalizations are measured on after training. */
const SETTLING = 5000;

/** Options of training with rounded weights. */
const AWARE: Verb["options"] = {
  qat: {
    type: "string",
    value: QAT.join("|"),
    help: "Train with rounded weights, and activations of 8 bits, and write the integer model; a tenth of the usual --lr, and --clip-norm 1.",
  },
  "first-last": {
    type: "string",
    value: QAT.join("|"),
    help: "With --qat: weights of the first and the last layer, which papers keep in 8 bits (as --qat says).",
  },
  "live-batch-norm": {
    type: "boolean",
    help: "With --qat: train normalizations on each batch, fold them afterwards.",
  },
};

export const verb: Verb = {
  name: "train",
  usage: "MODEL --data PATH [--epochs 10]",
  summary: "Train a model, or train it further, on your data.",
  detail:
    "The backward pass and the optimizer become part of the graph; ONNX Runtime runs it. With one source of data, 80 % is learned from and the rest judges. The state is kept after every epoch and when Ctrl-C stops the training; --resume goes on from there, with the same result as if it had never stopped.",
  options: {
    ...TRAINING,
    ...AWARE,
    resume: { type: "boolean", help: "Go on from the checkpoint of a training that was stopped." },
    metric: { type: "string", value: "NAMES", help: "What epochs are judged by; the first decides which is best." },
    checkpoint: { type: "string", value: "PATH", help: "Where the state goes; default MODEL.checkpoint.safetensors." },
    report: { type: "string", value: "PATH", help: "Where the report goes; default MODEL.report.html." },
    ...WRITING,
    output: {
      type: "string",
      short: "o",
      value: "PATH",
      help: "Where to write; default MODEL.trained.onnx beside it.",
    },
    ...DATA,
    ...RUNNING,
  },
  examples: [
    ["minnow train net.onnx --data photos/ --epochs 20", "A trained model, with a report of how it learned."],
    [
      "minnow train net.onnx --data photos/ --freeze 'features.*' --lr 0.01",
      "Trains the head alone and leaves the features as they are.",
    ],
    [
      "minnow train net.trained.onnx --data photos/ --qat int4 --epochs 5",
      "Quantization-aware: weights of 4 bits that have learned to be such.",
    ],
  ],
  run: (given) => learn(given, { verb: "train", output: "trained.onnx", ...quantizing(given) }),
};

/** Options of a training that is part of another command, which says itself what it writes and does not round. */
export const PART: Verb["options"] = Object.fromEntries(
  Object.entries(verb.options).filter(([name]) => name !== "output" && !Object.hasOwn(AWARE, name)),
);

/** What `--qat` does before and after the training; nothing where it is not given. */
function quantizing(given: Given): Pick<Way, "start" | "finish"> {
  const weightType = choice(given, "qat", QAT);
  const edgeWeightType = choice(given, "first-last", QAT);
  const live = flag(given, "live-batch-norm");
  if (weightType === undefined) {
    const idle = edgeWeightType !== undefined ? "--first-last" : live ? "--live-batch-norm" : undefined;
    if (idle !== undefined)
      throw wrong(`${idle} is an option of --qat.`, "Give --qat int8 or --qat int4 too, or leave it out.");
    return { start: async (model) => ({ model }) };
  }
  let learned: Dataset | undefined;
  return {
    async start(model, learn) {
      learned = split(learn, Math.min(SETTLING, learn.size), { seed: number(given, "seed") ?? 0 })[0];
      const data: Dataset = split(learn, Math.min(CALIBRATION, learn.size), { seed: number(given, "seed") ?? 0 })[0];
      const options = {
        data,
        weightType,
        ...(edgeWeightType && { edgeWeightType }),
        foldBatchNorm: !live,
        signal: given.signal,
        ...runningOf(given),
      };
      const edges = edgeWeightType === undefined ? "" : ` (first and last ${edgeWeightType})`;
      const line = `weights ${weightType}${edges}, activations uint8, calibrated on ${plural(data.size, "example")}`;
      return { model: (await quantizationAware(options).run(model)).model, lines: [["quantization-aware", line]] };
    },
    async finish(trained) {
      const settled =
        learned === undefined || !live
          ? trained
          : (
              await updateBatchNorm({
                data: learned,
                augment: augmentOf(given),
                signal: given.signal,
                ...runningOf(given),
              }).run(trained)
            ).model;
      const { model } = await freezeQuantized().run(settled);
      return { model };
    },
  };
}

/** What a verb that trains does before and after. */
export interface Way {
  readonly verb: string;
  /** Ending of the path that is written. */
  readonly output: string;
  /** What is trained, where it is not the model that the command line names; and how its pictures are preprocessed. */
  readonly opened?: Opened;
  readonly preprocess?: PreprocessOptions | undefined;
  /** How it is trained; default {@link train}. */
  train?(model: Model, options: TrainOptions): Promise<TrainResult>;
  /** What is trained in the place of the model, how, and the lines for people. */
  start(
    model: Model,
    learn: Dataset,
  ): Promise<{
    readonly model: Model;
    readonly options?: Partial<TrainOptions>;
    readonly lines?: readonly (readonly [string, string])[];
  }>;
  /** What is written of what was trained; also what it left elsewhere, for people and for `--json`. */
  finish?(
    trained: Model,
    base: Model,
  ): Promise<{
    readonly model: Model;
    /** What is judged, where that is another. */
    readonly judged?: Model;
    readonly line?: string;
    readonly json?: Readonly<Record<string, unknown>>;
  }>;
}

/** Trains, judges and reports: what `train` and the verbs like it have in common. */
export async function learn(given: Given, way: Way): Promise<number> {
  const opened = way.opened ?? (await openModel(onePath(given)));
  const output = outputPath(given, opened.path, way.output);
  const checkpoint = text(given, "checkpoint") ?? `${output.replace(/\.onnx$/i, "")}.checkpoint.safetensors`;
  const resume = resumeFrom(given, checkpoint);
  const metrics = metricsOf(given);
  const data = await openData(given, opened.model, opened.path, "data", way.preprocess, {
    untrained: true,
    as: "the teacher",
  });
  const roles = await learningRoles(given, opened.model, opened.path, data);
  const keep = keepVocabulary(output, roles.vocabulary, flag(given, "force"));
  const start = await way.start(opened.model, roles.learn);
  const { options, lines } = trainingOptions(given, start.model, roles.learn);
  const words = [...data.lines, ["", roles.how] as const, ...lines, ...(start.lines ?? [])];
  if (!flag(given, "json")) print(...table([[bold(opened.path), ""], ...words.map((line) => [...line])]), "");
  const judge = (model: Model) => judged(given, model, roles, metrics);
  const before = await judge(opened.model);
  const shown = teller(given);
  const result = await (way.train ?? train)(start.model, {
    ...options,
    ...start.options,
    ...runningOf(given),
    data: roles.learn,
    validation: roles.validation,
    checkpoint,
    ...(roles.sizes && { sizes: roles.sizes }),
    ...(metrics && { metrics }),
    ...(resume && { resume }),
    signal: given.signal,
    onProgress: shown.progress,
    onEpoch: shown.epoch,
  });
  shown.end();
  if (result.stopped === "interrupted") throw interrupted(result, checkpoint);
  const finished = await way.finish?.(result.model, opened.model);
  const model = finished?.model ?? result.model;
  const after = await judge(finished?.judged ?? model);
  await keep();
  return conclude({ given, way, opened, output, checkpoint, result, model, finished, before, after, lines: words });
}

/** The checkpoint to go on from; one that lies there unasked is an unfinished training, not to be lost. */
function resumeFrom(given: Given, checkpoint: string): string | undefined {
  const there = existsSync(checkpoint);
  if (flag(given, "resume")) {
    if (there) return checkpoint;
    throw new MinnowError("There is no checkpoint to go on from.", {
      code: "cli/no-checkpoint",
      at: checkpoint,
      mend: "Give the --output or --checkpoint the training had, or leave --resume out.",
    });
  }
  if (there && !flag(given, "force"))
    throw new MinnowError("A training that was stopped left its state there.", {
      code: "cli/exists",
      at: checkpoint,
      mend: "Give --resume to go on from it, or --force to begin anew.",
    });
  return undefined;
}

type Metrics = Readonly<Record<string, number>>;

async function judged(given: Given, model: Model, { judge }: LearningRoles, metrics?: MetricName[]): Promise<Metrics> {
  if (judge.labels === undefined) return {};
  const options = { ...runningOf(given), ...(metrics && { metrics }), signal: given.signal };
  return (await evaluate(model, judge, options)).metrics as Metrics;
}

/** Says on stderr how far the training is, and how each epoch went. */
function teller(given: Given) {
  const line = statusLine(flag(given, "quiet"));
  return {
    progress: ({ epoch, epochs, loss, accuracy, samplesPerSecond, secondsLeft }: TrainProgress) =>
      line.show(() => {
        const right = accuracy === undefined ? "" : ` · ${percent(accuracy)} right`;
        return `epoch ${epoch}/${epochs} · loss ${loss.toPrecision(4)}${right} · ${count(samplesPerSecond)}/s · ${duration(secondsLeft)} left`;
      }),
    epoch({ epoch, loss, metrics, samplesPerSecond }: EpochRecord) {
      if (flag(given, "quiet")) return;
      const figures = Object.entries(metrics).map(([name, value]) =>
        name === "loss" ? `validation loss ${value.toPrecision(4)}` : `${name} ${percent(value, 2)}`,
      );
      log(
        `  epoch ${String(epoch).padStart(3)}  loss ${loss.toPrecision(4)}  ${figures.join("  ")}  ${count(samplesPerSecond)}/s`,
      );
    },
    end: line.end,
  };
}

const interrupted = ({ history }: TrainResult, checkpoint: string): MinnowError =>
  new MinnowError(`Interrupted after ${plural(history.length, "epoch")}; the state is in ${checkpoint}.`, {
    code: "cli/interrupted",
    mend: "The same command with --resume goes on from there.",
  });

interface Made {
  readonly given: Given;
  readonly way: Way;
  readonly opened: Opened;
  readonly output: string;
  readonly checkpoint: string;
  readonly result: TrainResult;
  readonly model: Model;
  readonly finished: Awaited<ReturnType<NonNullable<Way["finish"]>>> | undefined;
  readonly before: Metrics;
  readonly after: Metrics;
  readonly lines: readonly (readonly [string, string])[];
}

async function conclude(made: Made): Promise<number> {
  const { given, way, opened, output, checkpoint, result, model, finished, before, after, lines } = made;
  await save(model, output);
  const { history, best, untouched, stopped } = result;
  const report =
    text(given, "report") ?? `${output.replace(/(\.(trained|finetuned|distilled))?\.onnx$/i, "")}.report.html`;
  await writeFile(
    report,
    trainingReport({
      model: opened.path,
      output,
      epochs: history,
      best,
      before,
      after,
      lines,
      untouched,
      command: commandLine(way.verb, given),
      machine: await machineWords(),
      date: new Date().toISOString().slice(0, 10),
    }),
  );
  await rm(checkpoint, { force: true });
  if (flag(given, "json")) {
    printJson({
      output,
      report,
      before: { ...(await figuresOf(opened.model, opened.path)), metrics: before },
      after: { ...(await figuresOf(model, output)), metrics: after },
      epochs: history,
      best,
      stopped,
      untouched,
      changes: result.changes,
      ...finished?.json,
    });
    return 0;
  }
  const names = Object.keys(after);
  print(
    "",
    `${green("✔")} ${output}${stopped === "early" ? `  stopped early; epoch ${best} was best` : ""}`,
    ...table(
      names.map((name) => [
        name,
        `${percent(before[name] ?? Number.NaN, 2)} → ${bold(percent(after[name] ?? Number.NaN, 2))}`,
      ]),
    ),
    ...(finished?.line === undefined ? [] : [finished.line]),
    ...(untouched.length > 0
      ? [
          yellow(
            `  ${plural(untouched.length, "weight")} left as they were: ${untouched[0]?.name} (${untouched[0]?.why})${untouched.length > 1 ? ", …" : ""}`,
          ),
        ]
      : []),
    dim(`  ${report}`),
  );
  return 0;
}
