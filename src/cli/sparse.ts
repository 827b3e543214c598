import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { type Comparison, compare, randomExamples } from "../measure/index.ts";
import { pruningMasks, sparsePruning, sparsityOf } from "../prune/index.ts";
import { bytes, decibel, percent, plural } from "../report/words.ts";
import type { WeightMasks } from "../train/masks.ts";
import { dim, green, print, printJson, progress } from "./console.ts";
import { figuresOf, type Opened, openModel, outputPath, save } from "./model.ts";
import { choice, flag, number, onePath, runningOf, share, text, wrong } from "./options.ts";
import type { Given, OptionSpecs } from "./verb.ts";
import { learn } from "./verbs/train.ts";

/** What `minnow prune` takes for single weights. */
export const SPARSE: OptionSpecs = {
  sparsity: {
    type: "string",
    value: "50%|2:4",
    help: "Cut nothing, but set single weights to 0: smaller downloads, no faster runs.",
  },
  method: {
    type: "string",
    value: "NAME",
    help: "Of --sparsity: magnitude, wanda or sparsegpt, in training magnitude or movement (magnitude).",
  },
  scope: {
    type: "string",
    value: "NAME",
    help: "Of --sparsity: what is ranked together, global, layer or row (layer).",
  },
  schedule: {
    type: "string",
    value: "gradual|linear:4",
    help: "Of --sparsity, gradual or one-shot: zeros come while the rest is trained on --data, and are held; --epochs and the options of train say how. Of --finetune, in how many cuts: one-shot, linear:N, exponential:N, regrow:N.",
  },
  begin: { type: "string", value: "EPOCHS", help: "Of --schedule: before the first zeros (0; with movement 1)." },
  end: { type: "string", value: "EPOCHS", help: "Of --schedule: until there are all of them (two thirds of all)." },
};

const SCOPES = ["global", "layer", "row"] as const;

/** Sets single weights to 0. */
export async function sparsify(
  given: Given,
  dataOf: (given: Given, opened: Opened) => Promise<Dataset | undefined>,
): Promise<number> {
  const others = ["macs", "params", "latency", "ratio", "plan", "drop-blocks", "low-rank"];
  const said = others.find((name) => given.options[name] !== undefined);
  if (said !== undefined)
    throw wrong(
      `--sparsity and --${said} are given together.`,
      "Zeros change no size: give one of them, and run twice for both.",
    );
  if (text(given, "schedule") !== undefined || text(given, "epochs") !== undefined) return sparsifyInTraining(given);
  const opened = await openModel(onePath(given));
  const output = outputPath(given, opened.path);
  const data = await dataOf(given, opened);
  const method = choice(given, "method", ["magnitude", "wanda", "sparsegpt"]);
  const scope = choice(given, "scope", SCOPES);
  const ignoredLayers = text(given, "ignored-layers")?.split(",");
  const shown = progress("pruning", flag(given, "quiet"));
  const { model, changes } = await sparsePruning({
    ...amountOf(given),
    ...runningOf(given),
    signal: given.signal,
    onProgress: shown.update,
    ...(data && { data }),
    ...(method && { method }),
    ...(scope && { scope }),
    ...(ignoredLayers && { ignoredLayers }),
  }).run(opened.model);
  shown.end();
  const comparison = await compared(given, opened.model, model, data);
  await save(model, output);
  const [before, after] = [await figuresOf(opened.model, opened.path), await figuresOf(model, output)];
  if (flag(given, "json")) printJson({ output, before, after, comparison, changes });
  else
    print(
      `${green("✔")} ${output}  ${changes.at(-1)?.what ?? ""}`,
      ...(after.brotliBytes && before.brotliBytes
        ? [`  download (brotli) ${bytes(before.brotliBytes)} → ${bytes(after.brotliBytes)}`]
        : []),
      ...answers(comparison),
    );
  return 0;
}

/** The masks of a training, whose other options are those of `train`. */
function sparsifyInTraining(given: Given): Promise<number> {
  const method = choice(given, "method", ["magnitude", "movement"]);
  const [scope, pruningSchedule] = [choice(given, "scope", SCOPES), choice(given, "schedule", ["gradual", "one-shot"])];
  const epochs = number(given, "epochs", { least: 1 }) ?? 10;
  const begin = number(given, "begin", { whole: false }) ?? (method === "movement" ? Math.min(1, epochs / 4) : 0);
  const end = number(given, "end", { whole: false });
  const ignoredLayers = text(given, "ignored-layers")?.split(",");
  let masks: WeightMasks;
  return learn(
    { ...given, options: { ...given.options, schedule: given.options["lr-schedule"] } },
    {
      verb: "prune",
      output: "min.onnx",
      async start(model) {
        const held = await pruningMasks(model, {
          ...amountOf(given),
          epochs,
          begin,
          ...(end !== undefined && { end }),
          ...(method && { method }),
          ...(scope && { scope }),
          ...(pruningSchedule && { pruningSchedule }),
          ...(ignoredLayers && { ignoredLayers }),
        });
        masks = held.masks;
        const line = `${text(given, "sparsity")}, ${pruningSchedule ?? "gradual"}, by ${method ?? "magnitude"}`;
        return { model: held.model, options: { masks }, lines: [["zeros", line]] };
      },
      async finish(model) {
        const sparsity = await sparsityOf(model, masks);
        return { model, line: dim(`  ${percent(sparsity)} of the weights are 0`), json: { sparsity } };
      },
    },
  );
}

function amountOf(given: Given): { sparsity: number } | { pattern: `${number}:${number}` } {
  const value = text(given, "sparsity") ?? "";
  if (value.includes(":")) return { pattern: value as `${number}:${number}` };
  const sparsity = share(given, "sparsity")?.value;
  if (sparsity === undefined || sparsity <= 0 || sparsity >= 1)
    throw wrong(`--sparsity is "${text(given, "sparsity")}".`, "Give a share between 0% and 100%, or 2:4.");
  return { sparsity };
}

/** Runs both models before anything is written: a pruned model that does not run, or gives no numbers, is none. */
export async function compared(
  given: Given,
  model: Model,
  small: Model,
  data: Dataset | undefined,
): Promise<Comparison> {
  const examples = data?.take(64) ?? randomExamples(model);
  const comparison = await compare(model, small, examples, { ...runningOf(given), signal: given.signal });
  const broken = comparison.outputs.find(({ sqnr }) => Number.isNaN(sqnr));
  if (broken !== undefined)
    throw new MinnowError(`Its output "${broken.name}" is no number after the cut; nothing was written.`, {
      code: "prune/broken",
      mend: "Cut less, or leave out the layers it comes from with --ignored-layers.",
    });
  return comparison;
}

export function answers({ outputs, agreement, samples }: Comparison): string[] {
  const [first] = outputs;
  const same = Number.isFinite(agreement) ? `, the same answer on ${percent(agreement)}` : "";
  return first === undefined
    ? []
    : [`  against the model before, on ${plural(samples, "example")}: ${decibel(first.sqnr)}${same}`];
}
