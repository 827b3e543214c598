import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { MinnowError } from "../../errors.ts";
import type { Model } from "../../ir/graph.ts";
import { evaluate } from "../../measure/evaluate.ts";
import type { MetricName } from "../../measure/metrics.ts";
import { trainingReport } from "../../report/training-report.ts";
import { count, duration, percent, plural, table } from "../../report/words.ts";
import type { EpochRecord } from "../../train/progress.ts";
import { type TrainProgress, type TrainResult, train } from "../../train/train.ts";
import { bold, dim, green, log, print, printJson, statusLine, yellow } from "../console.ts";
import { type LearningRoles, learningRoles, openData } from "../data.ts";
import { figuresOf, type Opened, openModel, outputPath, save } from "../model.ts";
import { DATA, flag, metricsOf, onePath, RUNNING, runningOf, text, WRITING } from "../options.ts";
import { commandLine, machineWords } from "../report.ts";
import { TRAINING, trainingOptions } from "../training.ts";
import type { Given, Verb } from "../verb.ts";

export const verb: Verb = {
  name: "train",
  usage: "MODEL --data PATH [--epochs 10]",
  summary: "Train a model, or train it further, on your data.",
  detail:
    "The backward pass and the optimizer become part of the graph; ONNX Runtime runs it. With one source of data, 80 % is learned from and the rest judges. The state is kept after every epoch and when Ctrl-C stops the training; --resume goes on from there, with the same result as if it had never stopped.",
  options: {
    ...TRAINING,
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
  ],
  async run(given) {
    const opened = await openModel(onePath(given));
    const output = outputPath(given, opened.path, "trained.onnx");
    const checkpoint = text(given, "checkpoint") ?? `${output.replace(/\.onnx$/i, "")}.checkpoint.safetensors`;
    const resume = resumeFrom(given, checkpoint);
    const metrics = metricsOf(given);
    const data = await openData(given, opened.model, opened.path, "data", undefined, { untrained: true });
    const roles = await learningRoles(given, opened.model, opened.path, data);
    const { options, lines } = trainingOptions(given, opened.model, roles.learn);
    const words = [...data.lines, ["", roles.how] as const, ...lines];
    if (!flag(given, "json")) print(...table([[bold(opened.path), ""], ...words.map((line) => [...line])]), "");
    const judge = (model: Model) => judged(given, model, roles, metrics);
    const before = await judge(opened.model);
    const shown = teller(given);
    const result = await train(opened.model, {
      ...options,
      ...runningOf(given),
      data: roles.learn,
      validation: roles.validation,
      checkpoint,
      ...(metrics && { metrics }),
      ...(resume && { resume }),
      signal: given.signal,
      onProgress: shown.progress,
      onEpoch: shown.epoch,
    });
    shown.end();
    if (result.stopped === "interrupted") throw interrupted(result, checkpoint);
    const after = await judge(result.model);
    return conclude({ given, opened, output, checkpoint, result, before, after, lines: words });
  },
};

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
  readonly opened: Opened;
  readonly output: string;
  readonly checkpoint: string;
  readonly result: TrainResult;
  readonly before: Metrics;
  readonly after: Metrics;
  readonly lines: readonly (readonly [string, string])[];
}

async function conclude({ given, opened, output, checkpoint, result, before, after, lines }: Made): Promise<number> {
  await save(result.model, output);
  const { history, best, untouched, stopped } = result;
  const report = text(given, "report") ?? `${output.replace(/(\.trained)?\.onnx$/i, "")}.report.html`;
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
      command: commandLine("train", given),
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
      after: { ...(await figuresOf(result.model, output)), metrics: after },
      epochs: history,
      best,
      stopped,
      untouched,
      changes: result.changes,
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
