import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { guessPreprocess } from "../compress/preprocess.ts";
import { describeFeatures, resolveFeatures, type SoundOptions } from "../data/audio.ts";
import { feedInputs } from "../data/bind.ts";
import { classNamesIn } from "../data/classes.ts";
import { type Dataset, split } from "../data/dataset.ts";
import { openDataset } from "../data/open.node.ts";
import { type PreprocessOptions, type Preset, presets } from "../data/preprocess.ts";
import { readPreprocessorConfig } from "../data/preprocessor-config.ts";
import { openTokenizer, type TokenizerJson } from "../data/tokenizer.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { percent } from "../report/words.ts";
import { choice, number, numbers, text, wrong } from "./options.ts";
import { asTokens, isTexts, tokenizerBeside, vocabularyFor } from "./texts.ts";
import type { Given } from "./verb.ts";

/** Data as a verb works with it, and what is to be said of it. */
export interface DataGiven {
  readonly all: Dataset;
  readonly parts: ReadonlyMap<string, Dataset>;
  /** Lines for people: what the folder holds, how it is preprocessed. */
  readonly lines: readonly (readonly [label: string, text: string])[];
  readonly preprocess: PreprocessOptions | undefined;
  /** Texts only: they are strings still, as there is no tokenizer yet; {@link learningRoles} makes one. */
  readonly untokenized?: boolean;
  /** Texts only: sizes of the model's symbolic axes. */
  readonly sizes?: ReadonlyMap<string, number>;
}

/** Opens `--data` (or `--test-data`) for a model: labels matched, preprocessing as given, beside the model, or guessed by measuring. */
export async function openData(
  given: Given,
  model: Model,
  modelPath: string,
  option: "data" | "test-data" = "data",
  known?: PreprocessOptions,
  { untrained = false, as = "--data" }: { readonly untrained?: boolean; readonly as?: string } = {},
): Promise<DataGiven> {
  const path = text(given, option);
  if (path === undefined)
    throw wrong(
      `--${option} is missing.`,
      "Give a folder of images or sounds, an .npz, a table of texts or a minnow.config.mjs.",
    );
  const labelsFile = text(given, "labels");
  const labels = labelsFile === undefined ? classNamesIn(model) : linesOf(labelsFile);
  const opened = await openDataset(path, {
    seed: number(given, "seed") ?? 0,
    labelOffset: number(given, "label-offset") ?? 0,
    labelPattern: pattern(given, "label-pattern"),
    sound: soundOf(given),
    ...(labels && { labels }),
  });
  const limit = number(given, "limit", { least: 1 });
  const seed = number(given, "seed") ?? 0;
  const few = (data: Dataset): Dataset => (limit === undefined ? data : sample(data, limit, seed));
  const limited = few(opened.data);
  const raw = { all: limited, parts: new Map([...opened.parts].map(([name, part]) => [name, few(part)])) };
  if (await isTexts(limited, model)) {
    const tokenizer = await tokenizerBeside(modelPath);
    const lines = [[path, opened.how]] as const;
    if (tokenizer === undefined && untrained) return { ...raw, lines, preprocess: undefined, untokenized: true };
    const as = asTokens(tokenizer, model, modelPath);
    const parts = new Map([...raw.parts].map(([name, part]) => [name, as.tokens(part)]));
    return { all: as.tokens(limited), parts, lines: [...lines, as.line], preprocess: undefined, sizes: as.sizes };
  }
  const chosen =
    known === undefined || limited.prepare === undefined
      ? await choosePreprocess(given, model, modelPath, limited, untrained)
      : { options: known, how: `as for ${as}` };
  const shape = feedInputs(model.graph)[0]?.type?.shape;
  const prepared = (data: Dataset): Dataset => data.prepare?.(chosen?.options, shape) ?? data;
  const sounds = limited.prepare !== undefined && limited.preprocess === undefined;
  const how = sounds ? describeFeatures(resolveFeatures(soundOf(given), shape)) : chosen?.how;
  return {
    all: prepared(limited),
    parts: new Map([...raw.parts].map(([name, part]) => [name, prepared(part)])),
    lines: [[path, opened.how], ...(how === undefined ? [] : [["preprocessing", how] as const])],
    preprocess: chosen?.options,
  };
}

/** A seeded choice of at most `count` examples, each class in its share. */
const sample = (data: Dataset, count: number, seed: number): Dataset =>
  data.size <= count ? data : split(data, count, { seed })[0];

/** What a data path is split into, and the words for it. */
export interface Roles {
  readonly learn: Dataset;
  readonly judge: Dataset;
  readonly how: string;
}

/** Calibration takes the source's own training part, or 20 % of it (500 at most), and the rest judges. `--test-data` judges where it is given. */
export async function rolesFor(given: Given, model: Model, modelPath: string, data: DataGiven): Promise<Roles> {
  const seed = number(given, "seed") ?? 0;
  const most = 500;
  if (text(given, "test-data") !== undefined) {
    const test = await openData(given, model, modelPath, "test-data", data.preprocess);
    const learn = data.parts.get("train") ?? data.all;
    const judge = test.parts.get("test") ?? test.parts.get("val") ?? test.all;
    return {
      learn: sample(learn, most, seed),
      judge,
      how: `${Math.min(most, learn.size)} for calibration, ${judge.size} of --test-data to judge`,
    };
  }
  const learn = data.parts.get("train");
  const judge = data.parts.get("val") ?? data.parts.get("test");
  if (learn !== undefined && judge !== undefined)
    return {
      learn: sample(learn, most, seed),
      judge,
      how: `${Math.min(most, learn.size)} of train for calibration, ${judge.size} to judge`,
    };
  const [some, rest] = split(data.all, Math.min(most, Math.max(1, Math.round(0.2 * data.all.size))), { seed });
  return { learn: some, judge: rest, how: `${some.size} for calibration, ${rest.size} to judge (seed ${seed})` };
}

/** Data that is learned from, what each epoch is judged on, and what the end is. */
export interface LearningRoles {
  /** Texts only: sizes of the model's symbolic axes. */
  readonly sizes?: ReadonlyMap<string, number>;
  /** Texts without a tokenizer only: the words of `learn`, as the tokenizer.json that is to lie beside the model. */
  readonly vocabulary?: TokenizerJson;
  readonly learn: Dataset;
  readonly validation: Dataset;
  readonly judge: Dataset;
  readonly how: string;
}

/**
 * Learning takes the source's own training part, or 80 % of it. Epochs are judged on its validation part, the end on
 * `--test-data` or its test part; where there is only one other part it judges both.
 */
export async function learningRoles(
  given: Given,
  model: Model,
  modelPath: string,
  data: DataGiven,
): Promise<LearningRoles> {
  const roles = await chosenRoles(given, model, modelPath, data);
  if (!data.untokenized) return { ...roles, ...(data.sizes && { sizes: data.sizes }) };
  const vocabulary = await vocabularyFor(roles.learn, model);
  const { tokens, sizes, line } = asTokens(await openTokenizer(vocabulary), model, modelPath);
  return {
    learn: tokens(roles.learn),
    validation: tokens(roles.validation),
    judge: tokens(roles.judge),
    how: `${roles.how}; ${line[1]}, made of what is learned from`,
    sizes,
    vocabulary,
  };
}

async function chosenRoles(given: Given, model: Model, modelPath: string, data: DataGiven): Promise<LearningRoles> {
  const seed = number(given, "seed") ?? 0;
  const others =
    text(given, "test-data") === undefined
      ? undefined
      : await openData(given, model, modelPath, "test-data", data.preprocess, { untrained: data.untokenized === true });
  const [val, own] = [data.parts.get("val"), data.parts.get("test")];
  const test = others === undefined ? own : (others.parts.get("test") ?? others.parts.get("val") ?? others.all);
  const judge = test ?? val;
  if (judge === undefined) {
    const [learn, rest] = split(data.all, 0.8, { seed });
    return {
      learn,
      validation: rest,
      judge: rest,
      how: `${learn.size} to learn from, ${rest.size} to judge (seed ${seed})`,
    };
  }
  const learn = data.parts.get("train") ?? data.all;
  const validation = val ?? judge;
  const epochs = val === undefined || val === judge ? "" : `, ${val.size} of val to judge epochs`;
  return { learn, validation, judge, how: `${learn.size} to learn from${epochs}, ${judge.size} to judge` };
}

async function choosePreprocess(given: Given, model: Model, modelPath: string, data: Dataset, untrained: boolean) {
  if (data.prepare === undefined || data.preprocess === undefined) return undefined;
  const overrides = overridesOf(given);
  const named = text(given, "preprocess");
  const found = await preprocessFrom(named, modelPath);
  if (found !== undefined) return { options: { ...found.options, ...overrides }, how: found.how };
  const few = sample(data, 200, number(given, "seed") ?? 0);
  const guesses = await guessPreprocess(model, few, overrides, { signal: given.signal });
  const [best, next] = guesses;
  // Scores that are hardly better than chance say nothing: the model has yet to learn.
  const chance = 1 / Math.max(1, data.classes?.length ?? 1);
  if (best === undefined || (untrained && best.accuracy < chance + 0.25 * (1 - chance)))
    return {
      options: { preset: "imagenet" as const, ...overrides },
      how: `imagenet (${best === undefined ? "a guess" : "the model answers by chance as yet"}; set it with --preprocess)`,
    };
  const rival = next === undefined ? "" : `; next best ${next.name} ${percent(next.accuracy, 0)}`;
  return {
    options: best.preprocess,
    how: `${best.name} (guessed on ${few.size} images: ${percent(best.accuracy, 0)} right${rival}; set it with --preprocess)`,
  };
}

/** The preprocessing that is named, or that a `preprocessor_config.json` beside the model (or above its `onnx/`) says. */
async function preprocessFrom(named: string | undefined, modelPath: string) {
  if (named !== undefined && (presets as readonly string[]).includes(named))
    return { options: { preset: named as Preset }, how: named };
  const beside = [dirname(modelPath), dirname(dirname(modelPath))].map((folder) =>
    join(folder, "preprocessor_config.json"),
  );
  const path = named ?? beside.find((file) => existsSync(file));
  if (path === undefined) return undefined;
  if (!existsSync(path))
    throw wrong(
      `--preprocess is "${path}", which is neither a preset nor a file.`,
      `The presets are ${presets.join(", ")}.`,
    );
  return { options: readPreprocessorConfig(readFileSync(path, "utf8"), path), how: path };
}

function soundOf(given: Given): SoundOptions {
  return {
    sampleRate: number(given, "sample-rate", { least: 1 }),
    seconds: number(given, "seconds", { whole: false }),
  };
}

function pattern(given: Given, option: string): RegExp | undefined {
  const said = text(given, option);
  try {
    return said === undefined ? undefined : new RegExp(said);
  } catch {
    throw wrong(`--${option} is "${said}".`, "Give a regular expression whose first group is the class: '^(\\d)_'.");
  }
}

function overridesOf(given: Given): PreprocessOptions {
  const size = number(given, "size", { least: 1 });
  const crop = number(given, "crop", { least: 0, whole: false });
  const resize = choice(given, "resize", ["shortest", "exact"]);
  const interpolation = choice(given, "interpolation", ["bilinear", "bicubic"]);
  const channels = choice(given, "channels", ["rgb", "bgr", "gray"]);
  const layout = choice(given, "layout", ["nchw", "nhwc"]);
  const [mean, std] = [numbers(given, "mean"), numbers(given, "std")];
  return {
    ...(size && { size }),
    ...(crop && { crop }),
    ...(resize && { resize }),
    ...(interpolation && { interpolation }),
    ...(channels && { channels }),
    ...(layout && { layout }),
    ...(mean && { mean }),
    ...(std && { std }),
  };
}

const linesOf = (path: string): string[] => {
  try {
    return readFileSync(path, "utf8")
      .split(/\r?\n/)
      .filter((line) => line.trim() !== "");
  } catch (cause) {
    throw new MinnowError("The labels cannot be read.", {
      code: "cli/labels",
      at: path,
      mend: "Give a text file with one class name a line.",
      cause,
    });
  }
};
