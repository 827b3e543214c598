import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { MinnowError } from "../errors.ts";
import { evaluate } from "../measure/evaluate.ts";
import type { MetricName } from "../measure/metrics.ts";
import {
  type CutRecord,
  type PruneOptions,
  type PruneResult,
  prune,
  REGULARIZERS,
  type RegularizeMethod,
  type StructuredPruningOptions,
  scheduleNamed,
} from "../prune/index.ts";
import { duration, percent, plural } from "../report/words.ts";
import { log, statusLine } from "./console.ts";
import { type LearningRoles, learningRoles, openData } from "./data.ts";
import { type Opened, openModel } from "./model.ts";
import { flag, number, runningOf, text, wrong } from "./options.ts";
import { trainingOptions } from "./training.ts";
import type { Given, OptionSpecs } from "./verb.ts";

/** Options of training behind a cut, besides those of `train`. */
export const FINETUNE: OptionSpecs = {
  finetune: {
    type: "string",
    value: "EPOCHS",
    help: "Train behind the cut, so many epochs in all, on labelled --data; the options of train go with it.",
  },
  regularize: {
    type: "string",
    value: "NAME[=F]",
    help: `Of --finetune: before the cut, a third of the epochs with a penalty: ${REGULARIZERS.join(", ")}.`,
  },
  teacher: {
    type: "string",
    value: "self|PATH",
    help: "Of --finetune: learn from the scores of the model before the cut, or of another, besides the labels.",
  },
};

type Metrics = Readonly<Partial<Record<MetricName, number>>>;

/** What a pruning with training gave, and how good the models are. */
export interface Tuned {
  readonly result: PruneResult;
  readonly roles: LearningRoles;
  readonly before: Metrics;
  readonly after: Metrics;
}

/** A MinnowError where options of a training are given without one, or --finetune with what it does not go with. */
export function checkTuning(given: Given, training: readonly string[]): void {
  const isGiven = (name: string): boolean => given.options[name] !== undefined;
  const idle = [...training, "lr-schedule", "schedule", "regularize", "teacher"].find(isGiven);
  if (idle !== undefined && !isGiven("finetune") && !isGiven("sparsity"))
    throw wrong(`--${idle} is given without --finetune.`, "Give --finetune and a number of epochs, or leave it out.");
  const other = ["plan", "sparsity", "drop-blocks", "low-rank", "epochs"].find(isGiven);
  if (isGiven("finetune") && other !== undefined)
    throw wrong(`--${other} and --finetune are given together.`, "Give one of them; minnow train trains any model.");
}

/** Cuts and trains, as the options of {@link FINETUNE} and of `train` say. */
export async function tuned(
  given: Given,
  { model, path }: Opened,
  output: string,
  options: StructuredPruningOptions,
): Promise<Tuned> {
  const epochs = number(given, "finetune", { least: 1 });
  const data = await openData(given, model, path);
  const roles = await learningRoles(given, model, path, data);
  const training: Given = {
    ...given,
    options: { ...given.options, epochs: String(epochs), schedule: given.options["lr-schedule"] },
  };
  const { options: finetune } = trainingOptions(training, model, roles.learn);
  const checkpoint = text(given, "checkpoint") ?? `${output.replace(/\.onnx$/i, "")}.checkpoint.safetensors`;
  const resume = resumeFrom(given, checkpoint);
  const said = text(given, "teacher");
  const teacher = said === undefined ? undefined : said === "self" ? model : (await openModel(said)).model;
  const regularize = regularizeOf(given);
  const quiet = flag(given, "quiet");
  const line = statusLine(quiet);
  // What is cut by must not be what judges: examples are drawn from those that are learned from.
  const { data: _calibration, ...cut } = options;
  const whole: PruneOptions = {
    ...cut,
    schedule: scheduleNamed(text(given, "schedule") ?? "one-shot"),
    ...(regularize && { regularize }),
    ...(resume && { resume }),
    checkpoint,
    finetune: {
      ...finetune,
      data: roles.learn,
      validation: roles.validation,
      ...(roles.sizes && { sizes: roles.sizes }),
      ...(teacher && { teacher }),
      onProgress: ({ epoch, loss, secondsLeft }) =>
        line.show(() => `epoch ${epoch}/${epochs} · loss ${loss.toPrecision(4)} · ${duration(secondsLeft)} left`),
      onEpoch: ({ epoch, loss, metrics }) => {
        const figures = Object.entries(metrics).map(([name, value]) => `${name} ${percent(value, 2)}`);
        if (!quiet) log(`  epoch ${String(epoch).padStart(3)}  loss ${loss.toPrecision(4)}  ${figures.join("  ")}`);
      },
    },
    onCut: (cut) => {
      if (!quiet) log(`  ${cutWords(cut)}`);
    },
  };
  const judge = async (judged: typeof model) =>
    (await evaluate(judged, roles.judge, { ...runningOf(given), signal: given.signal })).metrics;
  const before = await judge(model);
  const result = await prune(model, whole);
  line.end();
  if (result.stopped !== undefined)
    throw new MinnowError(
      `Interrupted after ${plural(result.history.length, "epoch")}; the state is in ${checkpoint}.`,
      {
        code: "cli/interrupted",
        mend: "The same command with --resume goes on from there.",
      },
    );
  const after = await judge(result.model);
  await rm(checkpoint, { force: true });
  return { result, roles, before, after };
}

const cutWords = ({ before, after, epoch }: CutRecord): string =>
  `cut after ${plural(epoch, "epoch")}: ${percent(after.macs / before.macs)} of the MACs stay, ${percent(after.parameters / before.parameters)} of the parameters`;

function resumeFrom(given: Given, checkpoint: string): string | undefined {
  const there = existsSync(checkpoint);
  if (flag(given, "resume") && !there)
    throw new MinnowError("There is no checkpoint to go on from.", {
      code: "cli/no-checkpoint",
      at: checkpoint,
      mend: "Give the --output or --checkpoint the pruning had, or leave --resume out.",
    });
  if (there && !flag(given, "resume") && !flag(given, "force"))
    throw new MinnowError("A pruning that was stopped left its state there.", {
      code: "cli/exists",
      at: checkpoint,
      mend: "Give --resume to go on from it, or --force to begin anew.",
    });
  return there && flag(given, "resume") ? checkpoint : undefined;
}

function regularizeOf(given: Given): PruneOptions["regularize"] | undefined {
  const said = text(given, "regularize");
  if (said === undefined) return undefined;
  const [method = "", value] = said.split("=");
  const strength = value === undefined ? undefined : Number(value);
  if (!(REGULARIZERS as readonly string[]).includes(method) || (strength !== undefined && !(strength > 0)))
    throw wrong(
      `--regularize is "${said}".`,
      `Give one of ${REGULARIZERS.join(", ")}, a strength behind it as =0.001.`,
    );
  return { method: method as RegularizeMethod, ...(strength !== undefined && { strength }) };
}
