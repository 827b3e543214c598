import {
  ARCHITECTURES,
  type ArchitectureOptions,
  architectures,
  create,
  type FitBudget,
  fitBudget,
  type Loaded,
  loadWeights,
  type Mismatch,
} from "../../architectures/index.ts";
import { MinnowError } from "../../errors.ts";
import { readSafetensors } from "../../files/safetensors.ts";
import type { Model } from "../../ir/graph.ts";
import { costOf } from "../../measure/cost.ts";
import { bytes, clip, count, table } from "../../report/words.ts";
import { dim, green, log, print, printJson, progress, yellow } from "../console.ts";
import { figuresOf, outputPath, save } from "../model.ts";
import { amount, flag, number, text, WRITING, wrong } from "../options.ts";
import type { Given, OptionSpecs, Verb } from "../verb.ts";

/** Options of the nets, by their names on the command line. */
const NET: OptionSpecs = {
  classes: { type: "string", value: "N", help: "What the net tells apart (what its paper has)." },
  channels: { type: "string", value: "N", help: "Of the image: 3 for colour, 1 for gray." },
  resolution: { type: "string", value: "N", help: "Height and width of the image in pixels." },
  width: { type: "string", value: "F", help: "Multiplies the channels of all layers." },
  depth: { type: "string", value: "F", help: "Multiplies how often blocks are repeated." },
  vocabulary: { type: "string", value: "N", help: "Text: tokens there are." },
  length: { type: "string", value: "N", help: "Text: tokens of one input; 0 leaves it open." },
  layers: { type: "string", value: "N", help: "Text: blocks of the transformer." },
  dimension: { type: "string", value: "N", help: "Text: channels of a token." },
  heads: { type: "string", value: "N", help: "Text: heads of attention." },
  "kv-heads": { type: "string", value: "N", help: "Text: heads of keys and values; 0 for as many." },
  inner: { type: "string", value: "N", help: "Text: channels inside the feed-forward networks." },
  seed: { type: "string", value: "N", help: "Of the first weights (0)." },
};

export const verb: Verb = {
  name: "create",
  usage: "NAME [options]",
  summary: "Make a light net, with first weights or with those of a checkpoint.",
  detail:
    "Names, layers and weights are torchvision's and timm's, so that their checkpoints load. BatchNorm is kept for training; minnow optimize folds it, and the branches of MobileOne.",
  options: {
    list: { type: "boolean", help: "List all nets with parameters, multiply-adds and paper." },
    ...NET,
    macs: { type: "string", value: "50M", help: "Most multiply-adds: picks width, depth and resolution." },
    params: { type: "string", value: "1M", help: "Most parameters: picks width and depth." },
    weights: {
      type: "string",
      value: "FILE",
      help: "A .safetensors checkpoint; with other --classes the head starts anew.",
    },
    ...WRITING,
    output: { type: "string", short: "o", value: "PATH", help: "Where to write; default NAME.onnx." },
  },
  examples: [
    ["minnow create --list", "Shows every net there is."],
    ["minnow create mobilenet_v2 --classes 10 --resolution 96 --macs 50M", "Picks the width and says what it picked."],
    ["minnow create mobilenet_v3_small --weights checkpoint.safetensors", "Writes a trained net as ONNX."],
  ],
  async run(given) {
    if (flag(given, "list")) return list(given);
    const name = nameIn(given);
    const output = outputPath(given, name, "onnx");
    const { model, options, fitted } = asUsage(() => made(name, given));
    const loaded = await weightsFor(model, given, options);
    await save(loaded?.model ?? model, output);
    // First weights are noise, which brotli only slows down at.
    const after = await figuresOf(loaded?.model ?? model, output, loaded === undefined ? 0 : undefined);
    if (flag(given, "json")) {
      const { model: _, ...weights } = loaded ?? {};
      printJson({ output, before: null, after, ...(fitted && { options }), ...(loaded && { weights }) });
      return 0;
    }
    print(
      `${green("✔")} ${output}  ${count(after.parameters)} parameters · ${count(after.macs)} multiply-adds · ${bytes(after.bytes)}`,
    );
    if (fitted) print(dim(`  picked ${picked(given, options)}`));
    if (loaded !== undefined) tell(loaded);
    return 0;
  },
};

function nameIn({ paths: [name, another] }: Given): string {
  if (name === undefined) throw wrong("The name of a net is missing.", "See minnow create --list.");
  if (another !== undefined) throw wrong(`"${another}" is one argument too many.`, "Give one name.");
  return name;
}

interface Made {
  readonly model: Model;
  readonly options: Partial<ArchitectureOptions>;
  /** Whether a budget picked some of the options. */
  readonly fitted: boolean;
}

function made(name: string, given: Given): Made {
  const options = optionsIn(given);
  const [macs, parameters] = [amount(given, "macs"), amount(given, "params")];
  if (macs === undefined && parameters === undefined) return { model: create(name, options), options, fitted: false };
  const budget: FitBudget = { ...(macs && { macs }), ...(parameters && { parameters }) };
  const { options: fit } = fitBudget(name, budget, options);
  return { model: create(name, fit), options: fit, fitted: true };
}

/** The options of the net that were given. */
function optionsIn(given: Given): Partial<ArchitectureOptions> {
  const entries = Object.keys(NET).map((name) => {
    const whole = name !== "width" && name !== "depth";
    return [name === "kv-heads" ? "kvHeads" : name, number(given, name, { whole })] as const;
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

const picked = (given: Given, options: Partial<ArchitectureOptions>): string =>
  Object.entries(options)
    .filter(([name]) => text(given, name) === undefined)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");

/** What the command line is at fault for, and no budget or file. */
const FAULTS: ReadonlySet<string> = new Set(
  ["name-unknown", "option", "resolution", "no-channels", "heads", "length", "fit"].map(
    (code) => `architectures/${code}`,
  ),
);

function asUsage<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof MinnowError && FAULTS.has(error.code))
      throw wrong(error.at === undefined ? error.what : `${error.at}: ${error.what}`, error.mend ?? "");
    throw error;
  }
}

/** The model with the weights of `--weights`; another number of classes leaves the head as it starts. */
async function weightsFor(
  model: Model,
  given: Given,
  { classes }: Partial<ArchitectureOptions>,
): Promise<(Loaded & { head?: readonly string[] }) | undefined> {
  const path = text(given, "weights");
  if (path === undefined) return undefined;
  const { tensors } = await readSafetensors(path);
  const loaded = await loadWeights(model, tensors);
  const isHead = ({ model: [own, ...rest], checkpoint: [, ...others] }: Mismatch) =>
    (classes === undefined || own === classes) && `${rest}` === `${others}`;
  const wrongShapes = loaded.mismatched.filter((one) => classes === undefined || !isHead(one));
  const [first] = wrongShapes;
  if (first !== undefined)
    throw new MinnowError(
      `${wrongShapes.length} of its weights have other shapes: "${first.name}" is [${first.checkpoint}] there and [${first.model}] in the net.`,
      {
        code: "weights/shape",
        at: path,
        mend: wrongShapes.every(isHead)
          ? `Give --classes ${first.checkpoint[0]}, or another number, for which the head starts anew.`
          : "Give the width, depth, channels and resolution it was trained with.",
      },
    );
  return loaded.mismatched.length === 0 ? loaded : { ...loaded, head: loaded.mismatched.map(({ name }) => name) };
}

function tell({ loaded, missing, unexpected, mismatched }: Loaded): void {
  print(dim(`  ${loaded.length} weights from the checkpoint`));
  const [head] = mismatched;
  if (head !== undefined)
    print(
      `  Replaced the head: ${head.checkpoint[0]} classes became ${head.model[0]}; ${mismatched.map(({ name }) => name).join(" and ")} start anew.`,
    );
  for (const [says, names] of [
    ["not in the checkpoint, which keep their first values", missing],
    ["of the checkpoint that the net has not", unexpected],
  ] as const)
    if (names.length > 0) {
      const more = names.length > 5 ? ` and ${names.length - 5} more` : "";
      log(`${yellow("!")} ${names.length} weights ${says}: ${names.slice(0, 5).join(", ")}${more}`);
    }
}

function list(given: Given): number {
  const names = architectures();
  const shown = progress("nets", flag(given, "quiet") || flag(given, "json"));
  const nets = names.map((name, i) => {
    const { parameters, macs } = costOf(create(name));
    shown.update(i + 1, names.length);
    const { paper, defaults } = ARCHITECTURES[name]!;
    return { name, parameters, macs, resolution: defaults.resolution ?? null, paper };
  });
  shown.end();
  if (flag(given, "json")) printJson({ architectures: nets });
  else {
    const rows = nets.map(({ name, parameters, macs, resolution, paper }) => [
      name,
      count(parameters),
      count(macs),
      `${resolution ?? ""}`,
      clip(`${paper.id} ${paper.title}`, 48),
    ]);
    print(...table([["name", "parameters", "MACs", "at", "paper"], ...rows], [1, 2, 3], ""));
  }
  return 0;
}
