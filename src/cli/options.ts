import { MinnowError } from "../errors.ts";
import { isMetric, METRICS, type MetricName } from "../measure/metrics.ts";
import type { Runtime } from "../runtime/index.ts";
import type { Given, OptionSpecs } from "./verb.ts";

/** Every verb has these. */
export const COMMON: OptionSpecs = {
  json: { type: "boolean", help: "Print one JSON object on stdout and nothing else there." },
  quiet: { type: "boolean", short: "q", help: "No progress." },
  help: { type: "boolean", short: "h", help: "Show this." },
};

/** Verbs that run a model. */
export const RUNNING: OptionSpecs = {
  target: {
    type: "string",
    value: "node|wasm",
    help: "The runtime the model is for; things are measured there.",
  },
  threads: { type: "string", value: "N", help: "Threads of one run (1)." },
};

/** Verbs that write a model. */
export const WRITING: OptionSpecs = {
  output: {
    type: "string",
    short: "o",
    value: "PATH",
    help: "Where to write; default MODEL.min.onnx beside the model.",
  },
  force: { type: "boolean", help: "Write over a file that is there." },
};

/** Verbs that read data. */
export const DATA: OptionSpecs = {
  data: {
    type: "string",
    value: "PATH",
    help: "A folder of class folders of images or .wav, a flat folder, .npz, idx, .jsonl or .csv of texts, a config.",
  },
  "test-data": { type: "string", value: "PATH", help: "Data to judge on, where it is apart." },
  limit: { type: "string", value: "N", help: "Only the first N examples of a seeded shuffle." },
  labels: { type: "string", value: "FILE", help: "The model's class names, one a line." },
  preprocess: {
    type: "string",
    value: "PRESET|FILE",
    help: "imagenet, tf, unit, raw or a preprocessor_config.json; default guessed by measuring.",
  },
  size: { type: "string", value: "N", help: "Side of the image in pixels; default the model's." },
  crop: { type: "string", value: "F", help: "Share of the resized image that is kept, from its centre." },
  resize: { type: "string", value: "shortest|exact", help: "What is brought to the size: the shortest side, or both." },
  interpolation: { type: "string", value: "bilinear|bicubic", help: "How images are resized." },
  mean: { type: "string", value: "R,G,B", help: "Subtracted from the channels." },
  std: { type: "string", value: "R,G,B", help: "The channels are divided by it." },
  channels: { type: "string", value: "rgb|bgr|gray", help: "Order of the channels." },
  layout: { type: "string", value: "nchw|nhwc", help: "Order of the axes; default the model's." },
  "sample-rate": { type: "string", value: "HZ", help: "Rate that sounds are brought to (16000)." },
  seconds: { type: "string", value: "F", help: "Length that sounds are cut or filled to (1)." },
  "label-pattern": {
    type: "string",
    value: "REGEXP",
    help: "The class is its first group in a file's name, not the folder: '^(\\d)_'.",
  },
  "label-offset": {
    type: "string",
    value: "N",
    help: "The model's number of the first class: 1 where class 0 is a background.",
  },
  seed: { type: "string", value: "N", help: "Seed of everything random (0)." },
};

/** Wrong words on the command line: exit code 2. */
export const wrong = (what: string, mend: string): MinnowError => new MinnowError(what, { code: "cli/usage", mend });

/** The one model a verb works on. */
export function onePath(given: Given, what = "MODEL"): string {
  const [path, another] = given.paths;
  if (path === undefined) throw wrong(`${what} is missing.`, "Give the path of an .onnx file.");
  if (another !== undefined) throw wrong(`"${another}" is one argument too many.`, `Give one ${what}.`);
  return path;
}

export function text(given: Given, name: string): string | undefined {
  const value = given.options[name];
  return typeof value === "string" ? value : undefined;
}

export const flag = (given: Given, name: string): boolean => given.options[name] === true;

/** A number ≥ `least`, whole where `whole`. */
export function number(
  given: Given,
  name: string,
  { least = 0, whole = true }: { least?: number; whole?: boolean } = {},
): number | undefined {
  const value = text(given, name);
  if (value === undefined) return undefined;
  const parsed = Number(value);
  if (value.trim() === "" || !Number.isFinite(parsed) || parsed < least || (whole && !Number.isInteger(parsed)))
    throw wrong(`--${name} is "${value}".`, `Give a ${whole ? "whole " : ""}number from ${least} on.`);
  return parsed;
}

/** One of some words. */
export function choice<T extends string>(given: Given, name: string, words: readonly T[]): T | undefined {
  const value = text(given, name);
  if (value === undefined || (words as readonly string[]).includes(value)) return value as T | undefined;
  throw wrong(`--${name} is "${value}".`, `Give one of ${words.join(", ")}.`);
}

/** Numbers joined by commas. */
export function numbers(given: Given, name: string): number[] | undefined {
  const value = text(given, name);
  const parsed = value?.split(",").map(Number);
  if (parsed?.some((n) => !Number.isFinite(n)))
    throw wrong(`--${name} is "${value}".`, "Give numbers, such as 0.485,0.456,0.406.");
  return parsed;
}

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
};

/** A count or size with a unit: `700kB`, `1.5MB`, `50M`. */
export function amount(given: Given, name: string): number | undefined {
  const value = text(given, name);
  if (value === undefined) return undefined;
  const [, digits, unit = ""] = /^\s*([\d.]+)\s*([a-z]*)\s*$/i.exec(value) ?? [];
  const scale = unit === "" ? 1 : UNITS[unit.toLowerCase()];
  const parsed = Number(digits) * (scale ?? Number.NaN);
  if (!(parsed > 0)) throw wrong(`--${name} is "${value}".`, "Give a number with a unit, such as 700kB, 1.5MB or 50M.");
  return parsed;
}

/** A share: `1%`, `0.01`, `relative:1%`. */
export function share(given: Given, name: string): { value: number; relative: boolean } | undefined {
  const value = text(given, name);
  if (value === undefined) return undefined;
  const [, relative, digits, sign] = /^(relative:)?\s*([\d.]+)\s*(%?)$/.exec(value) ?? [];
  const parsed = Number(digits) / (sign === "%" ? 100 : 1);
  if (!(parsed >= 0 && parsed <= 1))
    throw wrong(`--${name} is "${value}".`, "Give a share such as 1%, 0.01 or relative:1%.");
  return { value: parsed, relative: relative !== undefined };
}

/** A time in milliseconds: `20ms`, `1.5s`. */
export function time(given: Given, name: string): number | undefined {
  const value = text(given, name);
  if (value === undefined) return undefined;
  const [, digits, unit] = /^\s*([\d.]+)\s*(ms|s)\s*$/.exec(value) ?? [];
  const parsed = Number(digits) * (unit === "s" ? 1000 : 1);
  if (!(parsed > 0)) throw wrong(`--${name} is "${value}".`, "Give a time such as 20ms.");
  return parsed;
}

export const targetOf = (given: Given): Runtime | undefined => choice(given, "target", ["node", "wasm", "webgpu"]);

/** Runtime and threads as sessions take them. */
export function runningOf(given: Given): { runtime?: Runtime; threads?: number } {
  const runtime = targetOf(given);
  const threads = number(given, "threads", { least: 1 });
  if (runtime === "webgpu")
    throw wrong(
      "--target webgpu cannot be measured here: Node has no WebGPU.",
      "Measure in a page, or use --target wasm or node.",
    );
  return { ...(runtime && { runtime }), ...(threads && { threads }) };
}

/** Names of metrics joined by commas. */
export function metricsOf(given: Given): MetricName[] | undefined {
  const names = text(given, "metric")?.split(",");
  const stranger = names?.find((name) => !isMetric(name));
  if (stranger !== undefined)
    throw wrong(`--metric is "${stranger}".`, `Give any of ${Object.keys(METRICS).join(", ")}.`);
  return names as MetricName[] | undefined;
}
