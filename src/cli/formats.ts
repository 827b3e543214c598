import { MinnowError } from "../errors.ts";
import { optimize, type Pass, sequence } from "../passes/index.ts";
import {
  clusterWeights,
  type Mode,
  type ModeOptions,
  type QuantizeWeightsOptions,
  quantizeMode,
  quantizeWeights,
  SUFFIXES,
  storeWeights,
} from "../quantize/index.ts";
import type { StoreWeightsOptions } from "../quantize/types.ts";
import { type Format, type Speed, speedOf, type Target } from "../runtime/index.ts";
import { thisCpu } from "./cpu.ts";
import { choice, flag, number, text, wrong } from "./options.ts";
import type { Given, OptionSpecs } from "./verb.ts";

/** Options of formats that need no data. */
export const WEIGHTS: OptionSpecs = {
  "block-size": { type: "string", value: "N", help: "Numbers that share a scale, a power of two from 16 on (32)." },
  asymmetric: { type: "boolean", help: "A zero point for each block of 4- and 2-bit weights." },
  "accuracy-level": {
    type: "string",
    value: "0|1|4",
    help: "What 4- and 2-bit products compute in: 4 is int8, fast on CPUs (4 for --target node).",
  },
  clusters: {
    type: "string",
    value: "N",
    help: "Of codebook-storage: different numbers besides 0 that each weight keeps, by k-means, 255 at most; default all where they are few, else 16 and a scale for each block.",
  },
  embeddings: { type: "boolean", help: "4 bits for the tables that rows are picked from as well." },
  "op-block-list": { type: "string", value: "A,B", help: "Operators to leave in float32 where there is float16." },
};

const STORAGE = {
  "int8-storage": "int8",
  "int4-storage": "int4",
  "int3-storage": "int3",
  "int2-storage": "int2",
  "fp8-storage": "fp8",
  "fp8e5m2-storage": "fp8e5m2",
  "fp16-storage": "fp16",
  "bf16-storage": "bf16",
  "codebook-storage": "codebook",
} as const satisfies Record<string, StoreWeightsOptions["to"]>;

/** The formats of `--to` that need no data, as Transformers.js calls them, and those for storage. */
export const DATALESS: readonly string[] = [
  ...Object.keys(SUFFIXES).filter((mode) => mode !== "int8"),
  "dynamic-int8",
  ...Object.keys(STORAGE),
];

const isMode = (name: string): name is Mode => name in SUFFIXES;

/** The types of `--to` for a folder. */
export function modesOf(given: Given): readonly Mode[] {
  const names = (text(given, "to") ?? "q8").split(",");
  return names.map((name) => {
    if (isMode(name)) return name;
    throw wrong(`--to is "${name}", and PATH is a folder.`, `Give one or more of ${Object.keys(SUFFIXES).join(",")}.`);
  });
}

/** What speed depends on in a format; the slowest of them tells. */
export function speedFormats(name: string): readonly Format[] {
  if (name === "int8") return ["static-int8"];
  if (name.endsWith("-storage")) return ["storage"];
  const half: readonly Format[] = name.endsWith("f16") || name === "fp16" ? ["float16"] : [];
  if (name.startsWith("q4")) return ["matmul-4bit", ...half];
  if (name.startsWith("q2")) return ["matmul-2bit", ...half];
  if (name === "bnb4") return ["matmul-bnb4"];
  return half.length > 0 ? half : ["dynamic-int8"];
}

/** What is known of formats on the target and, where that is this machine's runtime, its processor. */
export const speedsOf = (target: Target, formats: readonly Format[]): Speed[] =>
  formats.map((format) => speedOf(target, format, target === "node" ? thisCpu() : undefined));

/** Refuses a format that is slower than float32 on the target, or has no kernel there, unless --force is given. */
export function checkSpeed(given: Given, name: string, formats = speedFormats(name)): void {
  const target = text(given, "target") as Target | undefined;
  if (target === undefined || flag(given, "force")) return;
  for (const { verdict, why, source } of speedsOf(target, formats))
    if (verdict === "slow" || verdict === "absent")
      throw slow(
        `${name} ${verdict === "slow" ? "is slower than float32" : "does not run"} on ${target}: ${why} (${source}).`,
      );
}

/** A format is slower than float on the target. */
export const slow = (what: string): MinnowError =>
  new MinnowError(what, {
    code: "quantize/slow-target",
    at: "--to",
    mend: "Give --force to make it all the same, or another format: int8-storage is at float speed everywhere, and --to auto measures.",
  });

const blockSize = (given: Given) => number(given, "block-size", { least: 16 });

/** Whether weights get 7 bits: as asked for, or because sums would saturate on this machine, which is the target. */
export const reducesRange = (given: Given): boolean =>
  flag(given, "reduce-range") || (text(given, "target") === "node" && thisCpu() === "x64");

export function modeOptions(given: Given): ModeOptions {
  const size = blockSize(given);
  const onCpu = text(given, "target") === "node" ? "4" : undefined;
  const level = choice(given, "accuracy-level", ["0", "1", "2", "3", "4"]) ?? onCpu;
  const method = choice(given, "method", ["rtn", "mse", "kQuant", "hqq"]);
  return {
    ...(size !== undefined && { blockSize: size }),
    ...(level !== undefined && { accuracyLevel: Number(level) as 0 | 1 | 2 | 3 | 4 }),
    ...(method && { method }),
    symmetric: !flag(given, "asymmetric"),
    reduceRange: reducesRange(given),
    convolutions: flag(given, "force"),
    opBlockList: text(given, "op-block-list")?.split(",") ?? [],
  };
}

/** The pass of a format that needs no data. */
export function datalessPass(given: Given, name: string): Pass {
  const excluded = text(given, "nodes-to-exclude")?.split(",");
  if (name in STORAGE) {
    const to = STORAGE[name as keyof typeof STORAGE];
    const size = blockSize(given);
    const perChannel = !flag(given, "per-tensor");
    const clusters = number(given, "clusters", { least: 2 });
    if (clusters !== undefined && to !== "codebook")
      throw wrong("--clusters is given, and no codebook is written.", "Give --to codebook-storage as well.");
    const shared = clusters === undefined ? [] : [clusterWeights({ clusters, perChannel: false })];
    return sequence([
      optimize(),
      ...shared,
      storeWeights({ to, perChannel, ...(size !== undefined && { blockSize: size }) }),
    ]);
  }
  const weights: QuantizeWeightsOptions = {
    ...modeOptions(given),
    ...(excluded && { nodesToExclude: excluded }),
    embeddings: flag(given, "embeddings"),
  };
  if (name === "q4") return sequence([optimize(), quantizeWeights({ ...weights, bits: 4 })]);
  return sequence([optimize(), quantizeMode(name === "dynamic-int8" ? "int8" : (name as Mode), modeOptions(given))]);
}
