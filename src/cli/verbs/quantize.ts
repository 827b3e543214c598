import { optimize, sequence } from "../../passes/index.ts";
import { quantizeStatic, storeWeights } from "../../quantize/index.ts";
import { bytes, percent } from "../../report/words.ts";
import { dim, green, print, printJson, progress } from "../console.ts";
import { openData, rolesFor } from "../data.ts";
import { figuresOf, type Opened, openModel, outputPath, save } from "../model.ts";
import { choice, DATA, flag, onePath, text, WRITING, wrong } from "../options.ts";
import type { Given, Verb } from "../verb.ts";

const FORMATS = ["int8", "int8-storage", "fp16-storage"] as const;

export const verb: Verb = {
  name: "quantize",
  usage: "MODEL --to FORMAT [--data PATH]",
  summary: "Quantize a model in one way, without a search.",
  detail:
    "int8: static, calibrated on --data, runs in integers. int8-storage, fp16-storage: needs no data; the weights are small in the file and become float when the model is loaded, so that it runs at float speed on every runtime.",
  options: {
    to: { type: "string", value: FORMATS.join("|"), help: "The format (int8)." },
    method: { type: "string", value: "NAME", help: "minmax, movingAverage, percentile, entropy or mse (minmax)." },
    "bias-correction": { type: "boolean", help: "Correct the mean error of every layer on the calibration data." },
    "nodes-to-exclude": { type: "string", value: "A,B", help: "Nodes to leave in float, by name." },
    "per-tensor": { type: "boolean", help: "One scale for a whole weight instead of one for each channel." },
    "reduce-range": { type: "boolean", help: "7-bit weights, for x86 processors without VNNI." },
    ...WRITING,
    ...DATA,
  },
  examples: [
    [
      "minnow quantize model.onnx --data photos/",
      "Static int8; check it with minnow compare, or let minnow compress search.",
    ],
    ["minnow quantize model.onnx --to int8-storage", "A quarter of the download, float speed everywhere."],
  ],
  async run(given) {
    const opened = await openModel(onePath(given));
    const output = outputPath(given, opened.path);
    const to = choice(given, "to", FORMATS) ?? "int8";
    const made =
      to === "int8"
        ? await toInt8(given, opened)
        : await sequence([optimize(), storeWeights({ to: to === "int8-storage" ? "int8" : "fp16" })]).run(opened.model);
    await save(made.model, output);
    const [before, after] = [await figuresOf(opened.model, opened.path), await figuresOf(made.model, output)];
    if (flag(given, "json")) printJson({ output, before, after, changes: made.changes });
    else
      print(
        `${green("✔")} ${output}  ${bytes(before.bytes)} → ${bytes(after.bytes)} (${percent(after.bytes / before.bytes, 0)})`,
        dim(`  Is it as good? minnow compare ${opened.path} ${output} --data DATA`),
      );
    return 0;
  },
};

async function toInt8(given: Given, { model, path }: Opened) {
  if (text(given, "data") === undefined)
    throw wrong(
      "Static int8 is calibrated, and --data is missing.",
      "Give some images, or use --to int8-storage, which needs none.",
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
