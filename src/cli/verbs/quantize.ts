import { existsSync, readFileSync, statSync } from "node:fs";
import { MinnowError } from "../../errors.ts";
import { quantizeStatic } from "../../quantize/index.ts";
import { bytes, percent } from "../../report/words.ts";
import { openSession } from "../../runtime/index.ts";
import { dim, green, print, printJson, progress } from "../console.ts";
import { openData, rolesFor } from "../data.ts";
import { floatModels, quantizeFolder, type Written } from "../folder.ts";
import { checkSpeed, DATALESS, datalessPass, modesOf, speedFormat, WEIGHTS } from "../formats.ts";
import { figuresOf, type Opened, openModel, outputPath, save } from "../model.ts";
import { choice, DATA, flag, onePath, text, WRITING, wrong } from "../options.ts";
import type { Given, Verb } from "../verb.ts";

const FORMATS = ["int8", ...DATALESS];
const TARGETS = ["node", "wasm", "webgpu", "webnn", "mobile"] as const;

export const verb: Verb = {
  name: "quantize",
  usage: "MODEL|FOLDER --to FORMAT[,FORMAT] [--data PATH]",
  summary: "Quantize a model in one way, without a search.",
  detail:
    "int8: static, calibrated on --data, runs in integers. The others need no data. dynamic-int8, uint8, q8: activations in 8 bits by their range at every run. q4, q2, bnb4: matrices in blocks of few bits. fp16, q4f16, q2f16: 16-bit floats, for GPUs. …-storage: small in the file and float when the model is loaded, at float speed on every runtime. A folder with onnx/model.onnx gets one file for each type, under the names Transformers.js looks for; int8 is dynamic there.",
  options: {
    to: {
      type: "string",
      value: "FORMAT",
      help: `int8 (for a folder: q8), ${DATALESS.join(", ")}.`,
    },
    target: { type: "string", value: TARGETS.join("|"), help: "Where it will run; what is slower there is refused." },
    method: {
      type: "string",
      value: "NAME",
      help: "For int8 minmax, movingAverage, percentile, entropy or mse (minmax); for q4 and q2 rtn, mse, kQuant or hqq (rtn).",
    },
    "bias-correction": { type: "boolean", help: "Correct the mean error of every layer on the calibration data." },
    "nodes-to-exclude": { type: "string", value: "A,B", help: "Nodes to leave in float, by name." },
    "per-tensor": { type: "boolean", help: "One scale for a whole weight instead of one for each channel." },
    "reduce-range": { type: "boolean", help: "7-bit weights, for x86 processors without VNNI." },
    ...WEIGHTS,
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
    ["minnow quantize my-model/ --to q4f16,q8", "Files that Transformers.js loads by dtype."],
  ],
  async run(given) {
    const path = onePath(given);
    choice(given, "target", TARGETS);
    if (existsSync(path) && statSync(path).isDirectory() && floatModels(path).length > 0) return folder(given, path);
    const to = choice(given, "to", FORMATS) ?? "int8";
    checkSpeed(given, to, to === "int8" ? "static-int8" : speedFormat(to));
    const opened = await openModel(path);
    const output = outputPath(given, opened.path);
    const made = to === "int8" ? await toInt8(given, opened) : await datalessPass(given, to).run(opened.model);
    await save(made.model, output, { externalData: flag(given, "external-data"), signal: given.signal });
    await tryLoading(given, output);
    const [before, after] = [await figuresOf(opened.model, opened.path), await figuresOf(made.model, output)];
    if (flag(given, "json")) printJson({ output, before, after, changes: made.changes });
    else
      print(
        line(output, before.bytes, after.bytes),
        ...left(made.changes),
        dim(`  Is it as good? minnow compare ${opened.path} ${output} --data DATA`),
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
  for (const mode of modes) checkSpeed(given, mode, speedFormat(mode));
  const files: Written[] = [];
  for await (const written of quantizeFolder(given, path, modes)) {
    await tryLoading(given, written.output);
    files.push(written);
    if (!flag(given, "json"))
      print(line(written.output, written.before.bytes, written.after.bytes), ...left(written.changes));
  }
  if (flag(given, "json")) printJson({ files });
  return 0;
}

/** Loads a result where it will run, as far as that is here: the native runtime, or WASM for a file of its own. */
async function tryLoading(given: Given, output: string): Promise<void> {
  const target = text(given, "target");
  if (target === "webgpu" || target === "webnn" || target === "mobile") {
    if (!flag(given, "json")) print(dim(`  Not run here: ${target} is not on this machine.`));
    return;
  }
  const wasm = target === "wasm" && !existsSync(`${output}_data`);
  try {
    const session = await openSession(wasm ? new Uint8Array(readFileSync(output)) : output, {
      runtime: wasm ? "wasm" : "node",
    });
    await session.close();
  } catch (cause) {
    if (!(cause instanceof MinnowError)) throw cause;
    throw new MinnowError(`It was written and does not load: ${cause.message}`, {
      code: "quantize/does-not-load",
      at: output,
      mend: "Leave out the nodes it names with --nodes-to-exclude or --op-block-list, or choose another format.",
      cause,
    });
  }
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
  const excluded = text(given, "nodes-to-exclude")?.split(",");
  const method = choice(given, "method", ["minmax", "movingAverage", "percentile", "entropy", "mse"]);
  const result = await quantizeStatic({
    data: learn,
    ...(method && { method }),
    ...(excluded && { nodesToExclude: excluded }),
    perChannel: !flag(given, "per-tensor"),
    reduceRange: flag(given, "reduce-range"),
    biasCorrection: flag(given, "bias-correction"),
    signal: given.signal,
    onProgress: shown.update,
  }).run(model);
  shown.end();
  return result;
}
