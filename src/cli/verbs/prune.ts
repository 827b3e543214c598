import {
  applyPlan,
  GROUP_REDUCTIONS,
  KINDS,
  type Plan,
  planPruning,
  SCORES,
  type StructuredPruningOptions,
  type Target,
} from "../../prune/index.ts";
import { bytes, clip, count, percent, plural, table } from "../../report/words.ts";
import { bold, dim, green, print, printJson, progress } from "../console.ts";
import { openData, rolesFor } from "../data.ts";
import { figuresOf, type Opened, openModel, outputPath, save } from "../model.ts";
import {
  amount,
  choice,
  DATA,
  flag,
  number,
  onePath,
  RUNNING,
  runningOf,
  share,
  text,
  time,
  WRITING,
  wrong,
} from "../options.ts";
import { RESTRUCTURING, type Restructuring, restructuring } from "../restructure.ts";
import { answers, compared, SPARSE, sparsify } from "../sparse.ts";
import { checkTuning, FINETUNE, tuned } from "../tuning.ts";
import type { Given, Verb } from "../verb.ts";
import { PART, verb as train } from "./train.ts";

/** `--size` of a file has a unit; of a picture it has none. */
const isFileSize = (value: string | undefined): boolean => value !== undefined && /(?:b|%)\s*$/i.test(value);

const { schedule } = train.options;
/** Options of `train` that mean nothing here, or another thing. */
const OWN = ["schedule", "patience", "only"];
const TUNING = Object.fromEntries(Object.entries(PART).filter(([name]) => !OWN.includes(name)));

/** Options that go with training alone. */
const LEARNING = Object.keys(TUNING).filter((name) => !Object.hasOwn({ ...WRITING, ...DATA, ...RUNNING }, name));

export const verb: Verb = {
  name: "prune",
  usage: "MODEL --macs 50%",
  summary: "Remove whole channels, heads and hidden units.",
  detail:
    "What is left is a smaller model of the same operators, faster on every runtime. Give what may be left: --macs, --params, --size, --latency (several have to be met together), or --ratio, the share of the channels that goes. With --data, the layers behind a cut are fitted to what they gave before. Accuracy falls until the model is trained again: --finetune.",
  options: {
    macs: { type: "string", value: "50%|300M", help: "Most multiply-adds of one example." },
    params: { type: "string", value: "30%|2M", help: "Most parameters." },
    latency: { type: "string", value: "20ms|50%", help: "Most milliseconds a run, measured on --target." },
    ratio: {
      type: "string",
      value: "0.5",
      help: "Share of the channels that goes; 0.5 where nothing else is asked for.",
    },
    score: { type: "string", value: "NAME", help: `What a channel is worth: ${SCORES.join(", ")} (l2).` },
    "group-reduction": {
      type: "string",
      value: "NAME",
      help: `Of the layers of a group: ${GROUP_REDUCTIONS.join(", ")} (mean).`,
    },
    normalizer: {
      type: "string",
      value: "NAME",
      help: "none, sum, mean, max, standarization, gaussian, lamp or sentinel_0.5 (mean).",
    },
    global: { type: "boolean", help: "Rank the channels of all layers together." },
    "per-cost": { type: "boolean", help: "… by what they are worth for what they cost." },
    isomorphic: { type: "boolean", help: "Rank layers of one kind together." },
    "round-to": {
      type: "string",
      value: "N",
      help: "Keep a multiple of N channels; default what the target's kernels want: 16 in Node on x64, 1 in WASM.",
    },
    "max-ratio": { type: "string", value: "0.9", help: "Most of one layer that may go (1)." },
    "ignored-layers": {
      type: "string",
      value: "A,B",
      help: "Layers or weights to leave as they are; * stands for anything.",
    },
    layers: { type: "string", value: "A,B", help: "Cut only these layers or weights." },
    only: { type: "string", value: "heads,ffn", help: `Cut only groups of these kinds: ${KINDS.join(", ")}.` },
    exact: { type: "boolean", help: "Leave what a normalization averages over." },
    "no-reconstruction": { type: "boolean", help: "Do not fit the layers behind a cut to --data." },
    plan: { type: "boolean", help: "Only say what would be cut." },
    ...SPARSE,
    ...RESTRUCTURING,
    "lr-schedule": { ...schedule, type: "string", help: "How the learning rate goes on (cosine)." },
    ...TUNING,
    ...FINETUNE,
    ...WRITING,
    ...DATA,
    ...RUNNING,
    size: {
      type: "string",
      value: "1MB|30%",
      help: "Most bytes of the file. A number without a unit is the side of the image.",
    },
  },
  examples: [
    ["minnow prune model.onnx --macs 50% --plan", "What would be cut, layer by layer, and what that does."],
    ["minnow prune model.onnx --macs 50% --data photos/", "Half the work, the layers behind each cut fitted again."],
    ["minnow prune llm.onnx --only heads,ffn --ratio 0.25", "A quarter of the heads and of the feed-forward units."],
    ["minnow prune model.onnx --drop-blocks 2 --data photos/", "The two residual blocks that say least."],
    [
      "minnow prune model.onnx --low-rank 70% --data photos/",
      "Two layers of low rank for one: 70 % of the MACs are left.",
    ],
    [
      "minnow prune model.onnx --macs 50% --data photos/ --finetune 10 --schedule linear:3 --teacher self",
      "In three cuts, with training behind each, taught by the model as it is.",
    ],
    [
      "minnow prune model.onnx --sparsity 70% --data photos/",
      "Zeros among the weights: a smaller download once it is compressed.",
    ],
    [
      "minnow prune model.onnx --sparsity 90% --schedule gradual --data photos/ --epochs 10",
      "More and more zeros while the rest is trained; the last third of the epochs trains what is left.",
    ],
  ],
  async run(given) {
    checkTuning(given, LEARNING);
    if (text(given, "sparsity") !== undefined) return sparsify(given, dataOf);
    const opened = await openModel(onePath(given));
    const output = flag(given, "plan") ? "" : outputPath(given, opened.path);
    const shown = progress("pruning", flag(given, "quiet"));
    const other = await restructuring(given, opened.model, () => dataOf(given, opened), shown.update);
    if (other !== undefined) return restructure(given, opened, output, other, shown.end);
    const options = await optionsOf(given, opened);
    if (text(given, "finetune") !== undefined) {
      shown.end();
      return tune(given, opened, output, options);
    }
    const plan = await planPruning(opened.model, { ...options, onProgress: shown.update });
    const result = flag(given, "plan") ? undefined : await applyPlan(plan, { ...options, onProgress: shown.update });
    shown.end();
    if (result === undefined) {
      if (flag(given, "json")) printJson(planAsJson(plan));
      else printPlan(plan);
      return 0;
    }
    const comparison = await compared(given, opened.model, result.model, options.data);
    await save(result.model, output);
    const [before, after] = [await figuresOf(opened.model, opened.path), await figuresOf(result.model, output)];
    if (flag(given, "json"))
      printJson({ output, before, after, ...planAsJson(plan), comparison, changes: result.changes });
    else {
      printPlan(plan);
      print(
        `${green("✔")} ${output}  ${bytes(before.bytes)} → ${bytes(after.bytes)} (${percent(after.bytes / before.bytes, 0)})`,
        ...answers(comparison),
        dim("  Train it before it is used: --finetune 10 --data DATA"),
      );
    }
    return 0;
  },
};

/** Takes blocks out, or factors layers. */
async function restructure(given: Given, opened: Opened, output: string, asked: Restructuring, end: () => void) {
  const planned = flag(given, "plan");
  const result = planned ? undefined : await asked.apply();
  end();
  if (result === undefined) {
    if (flag(given, "json")) printJson({ plan: asked.json });
    else print(...asked.lines);
    return 0;
  }
  const comparison = await compared(given, opened.model, result.model, await dataOf(given, opened));
  await save(result.model, output);
  const [before, after] = [await figuresOf(opened.model, opened.path), await figuresOf(result.model, output)];
  if (flag(given, "json")) printJson({ output, before, after, plan: asked.json, comparison, changes: result.changes });
  else
    print(
      ...asked.lines,
      "",
      `${green("✔")} ${output}  ${bytes(before.bytes)} → ${bytes(after.bytes)} (${percent(after.bytes / before.bytes, 0)})`,
      ...answers(comparison),
      dim(`  Tune it before it is used: minnow finetune ${output} --data DATA`),
    );
  return 0;
}

/** Cuts and trains. */
async function tune(given: Given, opened: Opened, output: string, options: StructuredPruningOptions): Promise<number> {
  const { result, roles, before, after } = await tuned(given, opened, output, options);
  const comparison = await compared(given, opened.model, result.model, roles.judge);
  await save(result.model, output);
  const [was, is] = [await figuresOf(opened.model, opened.path), await figuresOf(result.model, output)];
  if (flag(given, "json")) {
    const { cuts, history: epochs, changes } = result;
    printJson({
      output,
      before: { ...was, metrics: before },
      after: { ...is, metrics: after },
      cuts,
      epochs,
      comparison,
      changes,
    });
    return 0;
  }
  const learned = Object.entries(after).map(
    ([name, value]) =>
      `${name} ${percent(before[name as keyof typeof before] ?? Number.NaN, 2)} → ${bold(percent(value, 2))}`,
  );
  const part = (a: number | undefined, b: number | undefined) =>
    a === undefined || b === undefined ? "" : percent(b / a);
  const [first, last] = [result.cuts[0]?.before, result.cuts.at(-1)?.after];
  print(
    "",
    `${green("✔")} ${output}  ${bytes(was.bytes)} → ${bytes(is.bytes)} (${percent(is.bytes / was.bytes, 0)})`,
    `  ${part(first?.macs, last?.macs)} of the MACs and ${part(first?.parameters, last?.parameters)} of the parameters left`,
    ...learned.map((line) => `  ${line}`),
    ...answers(comparison),
  );
  return 0;
}

/** The examples to measure on; a size of the file is none of the picture's. */
async function dataOf(given: Given, { model, path }: Opened) {
  if (text(given, "data") === undefined) return undefined;
  const fileSize = isFileSize(text(given, "size"));
  const forData: Given = fileSize ? { ...given, options: { ...given.options, size: undefined } } : given;
  return (await rolesFor(forData, model, path, await openData(forData, model, path))).learn;
}

/** The options of the command line in the library's words. */
async function optionsOf(given: Given, opened: Opened): Promise<StructuredPruningOptions> {
  const data = await dataOf(given, opened);
  const [macs, parameters, latency] = [target(given, "macs"), target(given, "params"), latencyOf(given)];
  const size = isFileSize(text(given, "size")) ? target(given, "size") : undefined;
  const [ratio, most] = [share(given, "ratio")?.value, share(given, "max-ratio")?.value];
  const score = choice(given, "score", SCORES);
  const reduction = choice(given, "group-reduction", GROUP_REDUCTIONS);
  const normalizer = text(given, "normalizer") as StructuredPruningOptions["normalizer"];
  const roundTo = number(given, "round-to", { least: 1 });
  const list = (name: string) => text(given, name)?.split(",");
  const [ignoredLayers, layers] = [list("ignored-layers"), list("layers")];
  const only = list("only") as StructuredPruningOptions["only"];
  return {
    ...runningOf(given),
    signal: given.signal,
    seed: number(given, "seed") ?? 0,
    globalPruning: flag(given, "global"),
    perCost: flag(given, "per-cost"),
    isomorphic: flag(given, "isomorphic"),
    exact: flag(given, "exact"),
    reconstruct: data !== undefined && !flag(given, "no-reconstruction"),
    ...(data && { data }),
    ...(macs && { macs }),
    ...(parameters && { parameters }),
    ...(latency && { latency }),
    ...(size && { size }),
    ...(ratio !== undefined && { pruningRatio: ratio }),
    ...(most !== undefined && { maxPruningRatio: most }),
    ...(score && { score }),
    ...(reduction && { groupReduction: reduction }),
    ...(normalizer && { normalizer }),
    ...(roundTo && { roundTo }),
    ...(ignoredLayers && { ignoredLayers }),
    ...(layers && { layers }),
    ...(only && { only }),
  };
}

/** `50%`, or a count with a unit. */
function target(given: Given, name: string): Target | undefined {
  const value = text(given, name);
  return value?.trim().endsWith("%") ? percentOf(value, name) : amount(given, name);
}

/** `50%`, or a time with a unit. */
function latencyOf(given: Given): Target | undefined {
  const value = text(given, "latency");
  return value?.trim().endsWith("%") ? percentOf(value, "latency") : time(given, "latency");
}

function percentOf(value: string, name: string): Target {
  const parsed = Number(value.trim().slice(0, -1));
  if (!(parsed > 0 && parsed < 100)) throw wrong(`--${name} is "${value}".`, "Give a share between 0% and 100%.");
  return `${parsed}%`;
}

function planAsJson(plan: Plan) {
  const { before, after, channelRatio, roundTo, coverage } = plan;
  return {
    plan: {
      before,
      after,
      channelRatio,
      roundTo,
      coverage,
      groups: plan.groups.map(({ group, kind, kept }) => ({
        name: group.name,
        kind,
        size: group.size,
        kept,
        counted: group.counted,
        members: group.members,
      })),
      left: plan.left.map(({ name, size }) => ({ name, size })),
      frozen: plan.frozen,
    },
  };
}

/** Lines shown of what stays as it is. */
const MOST_REASONS = 6;

function printPlan({ groups, before, after, channelRatio, roundTo, frozen, left }: Plan): void {
  const rows = groups.map(({ group, kind, kept }) => [
    clip(group.name, 44),
    `${group.size} → ${kept}`,
    percent(kept / group.size, 0),
    plural(new Set(group.members.map(({ weight }) => weight)).size, "weight"),
    dim(kind),
    group.counted.length > 0 ? dim("counted") : "",
  ]);
  print(...table([["group", "channels", "kept", "in", "", ""], ...rows], [1, 2, 3]), "");
  const part = (was: number, is: number) => `${count(was)} → ${count(is)}, ${percent(is / was)} left`;
  print(
    ...table([
      ["channels", `${percent(channelRatio)} of all go, in multiples of ${roundTo}`],
      ["parameters", part(before.parameters, after.parameters)],
      ["MACs", part(before.macs, after.macs)],
      ["weights", `${bytes(before.weightBytes)} → ${bytes(after.weightBytes)}`],
    ]),
    "",
  );
  if (left.length > 0) print(dim(`  ${plural(left.length, "group")} left as asked`), "");
  const reasons = new Map<string, string[]>();
  for (const { weight, axis, reason } of frozen)
    reasons.set(reason, [...(reasons.get(reason) ?? []), `${weight} [${axis}]`]);
  if (reasons.size > 0) print(bold("Stays as it is"));
  const shown = [...reasons].sort(([, a], [, b]) => b.length - a.length).slice(0, MOST_REASONS);
  print(
    ...table(
      shown.map(([reason, at]) => [
        clip(reason, 56),
        `${clip(at[0] ?? "", 30)}${at.length > 1 ? ` and ${at.length - 1} more` : ""}`,
      ]),
    ),
  );
  if (reasons.size > shown.length) print(dim(`  and ${reasons.size - shown.length} reasons more; --json has all`));
}
