import { existsSync, readFileSync, statSync } from "node:fs";
import { compress } from "../../compress/compress.ts";
import { MinnowError } from "../../errors.ts";
import type { Model } from "../../ir/graph.ts";
import { benchmark } from "../../measure/benchmark.ts";
import { randomFeeds } from "../../measure/feeds.ts";
import { load } from "../../onnx/index.ts";
import { quantizeStatic } from "../../quantize/index.ts";
import { bytes, milliseconds, percent, speed } from "../../report/words.ts";
import { openSession, type Target } from "../../runtime/index.ts";
import { BUDGET, budgetOf, qualityOf } from "../budget.ts";
import { dim, green, print, printJson, progress } from "../console.ts";
import { openData, rolesFor } from "../data.ts";
import { floatModels, quantizeFolder, type Written } from "../folder.ts";
import {
  checkSpeed,
  DATALESS,
  datalessPass,
  modesOf,
  reducesRange,
  slow,
  speedFormats,
  speedsOf,
  WEIGHTS,
} from "../formats.ts";
import { unfusedNodes } from "../fusion.ts";
import { isMeasured, METHODS, measuredPass, needsData } from "../measured.ts";
import { figuresOf, fileBytes, type Opened, openModel, outputPath, save } from "../model.ts";
import { choice, DATA, flag, number, onePath, runningOf, text, WRITING, wrong } from "../options.ts";
import { commandLine, readingOf } from "../report.ts";
import { conclude, teller } from "../tell.ts";
import type { Given, Verb } from "../verb.ts";

const FORMATS = ["int8", ...DATALESS, "auto"];
const TARGETS = ["node", "wasm", "webgpu", "webnn", "mobile"] as const;

export const verb: Verb = {
  name: "quantize",
  usage: "MODEL|FOLDER --to FORMAT[,FORMAT] [--data PATH]",
  summary: "Quantize a model in one way, without a search.",
  detail:
    "int8: static, calibrated on --data, runs in integers. The others need no data. dynamic-int8, uint8, q8: activations in 8 bits by their range at every run. q4, q2, bnb4: matrices in blocks of few bits. fp16, q4f16, q2f16: 16-bit floats, for GPUs. …-storage: small in the file and float when the model is loaded, at float speed on every runtime. auto: measures these and mixtures of them on --data, and takes the smallest that keeps the budget; with --target, of those that are fastest there. A folder with onnx/model.onnx gets one file for each type, under the names Transformers.js looks for; int8 is dynamic there.",
  options: {
    to: {
      type: "string",
      value: "FORMAT",
      help: `int8 (for a folder: q8), ${DATALESS.join(", ")}, auto.`,
    },
    target: { type: "string", value: TARGETS.join("|"), help: "Where it will run; what is slower there is refused." },
    method: {
      type: "string",
      value: "NAME",
      help: "For int8 minmax, movingAverage, percentile, entropy or mse (minmax); for q4 and q2 rtn, mse, kQuant or hqq (rtn).",
    },
    ...METHODS,
    "bias-correction": { type: "boolean", help: "Correct the mean error of every layer on the calibration data." },
    "nodes-to-exclude": { type: "string", value: "A,B", help: "Nodes to leave in float, by name." },
    "per-tensor": { type: "boolean", help: "One scale for a whole weight instead of one for each channel." },
    "reduce-range": { type: "boolean", help: "7-bit weights, for x86 processors without VNNI." },
    ...WEIGHTS,
    ...BUDGET,
    threads: { type: "string", value: "N", help: "Threads of one run, for auto (1)." },
    "external-data": { type: "boolean", help: "Weights in a data file beside the model, whatever its size." },
    ...WRITING,
    ...DATA,
  },
  examples: [
    [
      "minnow quantize model.onnx --data photos/",
      "Static int8; check it with minnow compare, or let minnow compress search.",
    ],
    ["minnow quantize model.onnx --to int8-storage", "A quarter of the download, float speed everywhere."],
    [
      "minnow quantize model.onnx --to auto --target wasm --data photos/ --max-drop 1%",
      "Formats, layer by layer, that are fastest in WebAssembly and lose at most one point; of those the smallest.",
    ],
    ["minnow quantize my-model/ --to q4f16,q8", "Files that Transformers.js loads by dtype."],
  ],
  async run(given) {
    const path = onePath(given);
    choice(given, "target", TARGETS);
    if (existsSync(path) && statSync(path).isDirectory() && floatModels(path).length > 0) return folder(given, path);
    const to = choice(given, "to", FORMATS) ?? "int8";
    if (to === "auto") return automatic(given, path);
    checkSpeed(given, to);
    const opened = await openModel(path);
    const output = outputPath(given, opened.path);
    const made = to === "int8" ? await toInt8(given, opened) : await toWeights(given, to, opened);
    const seen = await timed(given, to, opened, made.model);
    await save(made.model, output, { externalData: flag(given, "external-data"), signal: given.signal });
    const ran = await tryRunning(given, output);
    const unfused = to === "int8" ? await unfusedNodes(made.model, excludedIn(given)) : [];
    const notes = [...speedNotes(given, to), ...seen, ...ran, ...unfusedNotes(unfused)];
    const [before, after] = [await figuresOf(opened.model, opened.path), await figuresOf(made.model, output)];
    if (flag(given, "json")) printJson({ output, before, after, changes: made.changes, unfused, notes });
    else
      print(
        line(output, before.bytes, after.bytes),
        ...left(made.changes),
        ...notes.map((note) => dim(`  ${note}`)),
        dim(`  Is it as good? ${commandLine("compare", { ...readingOf(given), paths: [opened.path, output] })}`),
      );
    return 0;
  },
};

const line = (output: string, before: number, after: number): string =>
  `${green("✔")} ${output}  ${bytes(before)} → ${bytes(after)} (${percent(after / before, 0)})`;

/** What was left in float, and why. */
const left = (changes: Written["changes"]): string[] =>
  changes
    .filter(({ what }) => what.startsWith("Left "))
    .map(({ what, at, times = 1 }) => dim(`  ${what} ${at}${times > 1 ? ` and ${times - 1} more` : ""}`));

async function folder(given: Given, path: string): Promise<number> {
  const modes = modesOf(given);
  for (const mode of modes) checkSpeed(given, mode, speedFormats(mode === "int8" ? "dynamic-int8" : mode));
  const files: Written[] = [];
  for await (const written of quantizeFolder(given, path, modes)) {
    const notes = await tryRunning(given, written.output);
    files.push(written);
    if (!flag(given, "json"))
      print(
        line(written.output, written.before.bytes, written.after.bytes),
        ...left(written.changes),
        ...notes.map((note) => dim(`  ${note}`)),
      );
  }
  if (flag(given, "json")) printJson({ files });
  return 0;
}

/** Larger models are not timed, nor run in WebAssembly, which has 4 GB. */
const MOST_BYTES = 1e9;

/** Where the table says that it depends on the model, the model is timed on the target; one that is slower there is refused. */
async function timed(given: Given, to: string, { model, bytes: size }: Opened, small: Model): Promise<string[]> {
  const target = text(given, "target");
  if ((target !== "node" && target !== "wasm") || size > MOST_BYTES) return [];
  if (speedsOf(target, speedFormats(to)).every(({ verdict }) => verdict === "fast" || verdict === "same")) return [];
  const options = { runtime: target, seconds: 0.5, runs: 10 } as const;
  const [before, after] = await benchmark([model, small], randomFeeds(model), options);
  const words = `${speed(before!.medianMs, after!.medianMs)} (${milliseconds(before!.medianMs)} → ${milliseconds(after!.medianMs)}, one thread)`;
  if (after!.medianMs > SLOWER * before!.medianMs && !flag(given, "force"))
    throw slow(`${to} makes this model ${words} on ${target}, measured here; nothing was written.`);
  return [`Measured on ${target}: ${words}.`];
}

/** What is slower by less may be chance. */
const SLOWER = 1.15;

/** What nobody measured on the target. */
const speedNotes = (given: Given, to: string): string[] => {
  const target = text(given, "target") as Target | undefined;
  return target === undefined
    ? []
    : speedsOf(target, speedFormats(to))
        .filter(({ verdict }) => verdict === "unknown")
        .map(({ why, source }) => `How fast ${to} is on ${target} is not known: ${why} (${source}).`);
};

const unfusedNotes = (nodes: readonly string[]): string[] =>
  nodes.length === 0
    ? []
    : [
        `Runs in float though it is quantized, as the runtime has no kernel: ${nodes.slice(0, 5).join(", ")}${nodes.length > 5 ? ` and ${nodes.length - 5} more` : ""}.`,
      ];

/**
 * Loads a result, and runs it once on random numbers, where it is to run as far as that is here; says where it was not.
 */
async function tryRunning(given: Given, output: string): Promise<string[]> {
  const target = text(given, "target");
  const large = existsSync(`${output}_data`) || fileBytes(output) > MOST_BYTES;
  const runtime = target === "wasm" && !large ? "wasm" : "node";
  const notes =
    target === undefined || target === runtime
      ? []
      : [
          `Not run on ${target}${target === "wasm" ? ", as it has a data file" : ", which is not on this machine"}; it loads in node.`,
        ];
  const session = await openSession(runtime === "wasm" ? new Uint8Array(readFileSync(output)) : output, {
    runtime,
  }).catch((cause) => {
    if (!(cause instanceof MinnowError)) throw cause;
    throw new MinnowError(`It was written and does not load: ${cause.message}`, {
      code: "quantize/does-not-load",
      at: output,
      mend: "Leave out the nodes it names with --nodes-to-exclude or --op-block-list, or choose another format.",
      cause,
    });
  });
  try {
    if (!large) await session.run(randomFeeds(await load(output)));
    return notes;
  } catch (error) {
    if (!(error instanceof MinnowError)) throw error;
    return [...notes, `It loads; on random numbers it could not be run: ${error.message}`];
  } finally {
    await session.close();
  }
}

/** Lets the search of `compress` choose; `--target` is where everything is measured. */
async function automatic(given: Given, path: string): Promise<number> {
  const target = text(given, "target");
  if (target === "webgpu" || target === "webnn" || target === "mobile")
    throw wrong(
      `--to auto measures on the target, and ${target} is not on this machine.`,
      "Name a format, or measure on --target node or wasm.",
    );
  const { runtime, threads } = runningOf(given);
  const opened = await openModel(path);
  const output = outputPath(given, opened.path);
  const budget = budgetOf(given);
  const metric = qualityOf(given);
  const data = await openData(given, opened.model, opened.path);
  const { learn, judge } = await rolesFor(given, opened.model, opened.path, data);
  const tell = teller(given);
  const result = await compress(opened.model, {
    ...{ calibration: learn, judged: judge, budget, signal: given.signal, onEvent: tell.event },
    seed: number(given, "seed") ?? 0,
    ...(runtime && { target: runtime }),
    ...(threads && { threads }),
    ...(metric && { metric }),
  });
  tell.end();
  const { model, chosen, before, after, met, changes } = result;
  if (model !== undefined) {
    await save(model, output, { externalData: flag(given, "external-data"), signal: given.signal });
    for (const note of await tryRunning(given, output)) print(dim(`  ${note}`));
  }
  if (flag(given, "json"))
    printJson({ output: model && output, met, before, after, format: chosen?.name, recipe: chosen?.recipe, changes });
  else conclude(result, output, budget, chosen && `    it is ${chosen.name}`);
  return met ? 0 : 1;
}

const excludedIn = (given: Given): readonly string[] => text(given, "nodes-to-exclude")?.split(",") ?? [];

/** A format of weights alone; examples are opened where a method looks at them. */
async function toWeights(given: Given, to: string, { model, path }: Opened) {
  if (!isMeasured(given)) return datalessPass(given, to).run(model);
  if (!needsData(given)) return measuredPass(given, to, undefined).run(model);
  if (text(given, "data") === undefined)
    throw wrong("--rounding and --equalize look at examples, and --data is missing.", "Give typical examples.");
  const data = await openData(given, model, path);
  const { learn } = await rolesFor(given, model, path, data);
  return measuredPass(given, to, learn).run(model);
}

async function toInt8(given: Given, { model, path }: Opened) {
  if (text(given, "data") === undefined)
    throw wrong(
      "Static int8 is calibrated, and --data is missing.",
      "Give some images, or use --to int8-storage or dynamic-int8, which need none.",
    );
  const data = await openData(given, model, path);
  const { learn } = await rolesFor(given, model, path, data);
  const shown = progress("calibrating", flag(given, "quiet"));
  const method = choice(given, "method", ["minmax", "movingAverage", "percentile", "entropy", "mse"]);
  const equalize = choice(given, "equalize", ["crossLayer", "smoothQuant"]);
  const result = await quantizeStatic({
    data: learn,
    ...(equalize && { equalize }),
    ...(method && { method }),
    nodesToExclude: excludedIn(given),
    perChannel: !flag(given, "per-tensor"),
    reduceRange: reducesRange(given),
    biasCorrection: flag(given, "bias-correction"),
    alignInputs: flag(given, "align-inputs"),
    splitChannels: flag(given, "split-channels"),
    gptq: choice(given, "rounding", ["gptq"]) === "gptq",
    signal: given.signal,
    onProgress: shown.update,
  }).run(model);
  shown.end();
  return result;
}
