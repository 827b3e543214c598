import type { Dataset } from "../data/index.ts";
import { type Pass, sequence } from "../passes/index.ts";
import { awq, equalizeLayers, quantizeWeights, rotate, smoothQuant } from "../quantize/index.ts";
import { modeOptions } from "./formats.ts";
import { choice, flag, text, wrong } from "./options.ts";
import type { Given, OptionSpecs } from "./verb.ts";

/** Options of methods that move something between layers first, or round by what examples show. */
export const METHODS: OptionSpecs = {
  equalize: {
    type: "string",
    value: "NAME",
    help: "Even channels out first: crossLayer, smoothQuant (int8, q4, q2) or awq (q4, q2); the last two look at --data.",
  },
  rounding: { type: "string", value: "gptq|adaRound", help: "For q4, q2 and int8 (gptq): round by what --data shows." },
  rotate: {
    type: "boolean",
    help: "For q4 and q2 of transformers: spread outliers by a rotation that folds into weights.",
  },
  "split-channels": {
    type: "boolean",
    help: "For int8: copy channels that rounding costs most into free ones, by what --data shows.",
  },
  "align-inputs": {
    type: "boolean",
    help: "For int8: move pixels in -1 … 1 onto levels; 8-bit pixels are exact then.",
  },
};

/** Whether the weights of a format are to be made by these methods. */
export const isMeasured = (given: Given): boolean =>
  ["rounding", "equalize"].some((name) => text(given, name) !== undefined) || flag(given, "rotate");

/** Whether they look at examples. */
export const needsData = (given: Given): boolean =>
  text(given, "rounding") !== undefined || ["awq", "smoothQuant"].includes(text(given, "equalize") ?? "");

/** q4 or q2 by these methods, in the order in which they work. */
export function measuredPass(given: Given, name: string, data: Dataset | undefined): Pass {
  if (name !== "q4" && name !== "q2")
    throw wrong(`--rounding, --equalize and --rotate go with q4 and q2, and --to is "${name}".`, "Leave them out.");
  const rounding = choice(given, "rounding", ["gptq", "adaRound"]);
  const equalize = choice(given, "equalize", ["awq", "smoothQuant", "crossLayer"]);
  const { method, blockSize, symmetric = true, accuracyLevel } = modeOptions(given);
  const size = blockSize === undefined ? {} : { blockSize };
  const grid = { bits: name === "q4" ? 4 : 2, symmetric, ...size, ...(method && { method }) } as const;
  const excluded = text(given, "nodes-to-exclude")?.split(",");
  return sequence([
    ...(flag(given, "rotate") ? [rotate()] : []),
    ...(equalize === "crossLayer" ? [equalizeLayers()] : []),
    ...(equalize === "smoothQuant" ? [smoothQuant({ data: data! })] : []),
    ...(equalize === "awq" ? [awq({ ...grid, data: data! })] : []),
    quantizeWeights({
      ...grid,
      ...(accuracyLevel !== undefined && { accuracyLevel }),
      ...(rounding && { gptq: rounding === "gptq", adaRound: rounding === "adaRound", data: data! }),
      ...(excluded && { nodesToExclude: excluded }),
      embeddings: flag(given, "embeddings"),
    }),
  ]);
}
