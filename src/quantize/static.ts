import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { titleOf } from "../ir/walk.ts";
import { type Change, type Json, optimize, type Pass, type PassResult, sequence, upgrade } from "../passes/index.ts";
import { merged } from "../passes/pass.ts";
import { alignInputs } from "./align-inputs.ts";
import { measureCorrections } from "./bias-correction.ts";
import { observe } from "./calibrate.ts";
import { observeExtrema } from "./extrema.ts";
import { insertQuantization } from "./insert.ts";
import { oneOf } from "./options.ts";
import { type Plan, planOf } from "./plan.ts";
import { rangesBy } from "./ranges.ts";
import { roundLayers } from "./round-layers.ts";
import { equalizeLayers } from "./scaling/cross-layer.ts";
import { smoothQuant } from "./scaling/smooth-quant.ts";
import { splitChannels } from "./scaling/split.ts";
import { METHODS, type QuantizeStaticOptions, type Ranges, type Statistics } from "./types.ts";

/**
 * Static 8-bit quantization, calibrated on examples: a graph of QuantizeLinear and DequantizeLinear that ONNX Runtime
 * (1.16 and later) turns into integer kernels as a whole. Inputs and outputs stay float and keep their names, as do all
 * the model's values. It optimizes the model first, since normalization must lie in the weights. A model in which nothing
 * can be quantized comes back as it was, with a change that says why.
 * Throws a MinnowError `quantize/…` for wrong options at once, and for weights that are not finite when it runs.
 * Sources: Jacob et al., arXiv 1712.05877; ONNX Runtime, "Quantize ONNX models".
 *
 * @example
 * const { model: small, changes } = await quantizeStatic({ data: photos.take(200) }).run(model);
 */
export function quantizeStatic(options: QuantizeStaticOptions): Pass {
  check(options);
  return { name: "quantizeStatic", options: recorded(options), run: (model) => quantized(model, options) };
}

async function quantized(given: Model, options: QuantizeStaticOptions): Promise<PassResult> {
  let { model: base, changes } = await prepared(options).run(given);
  let plan = planOf(base, options);
  const left = merged(
    plan.left.map(({ node, why }) => ({ what: `Left a layer in float: ${why}.`, at: titleOf(node) })),
  );
  if (plan.contractions.length === 0) {
    const nothing = { what: "Found no layer to quantize: none has a constant float32 weight.", at: "model" };
    return { model: given, changes: left.length > 0 ? left : [nothing] };
  }
  const statistics = await statisticsFor(base, plan, options);
  let ranges = rangesBy(options.method ?? "minmax", statistics, options);
  if (options.alignInputs === true) {
    const aligned = await alignInputs(base, plan, ranges);
    if (aligned.model !== base) plan = planOf(aligned.model, options);
    [base, ranges, changes] = [aligned.model, aligned.ranges, [...changes, ...aligned.changes]];
  }
  if (options.splitChannels !== undefined && options.splitChannels !== false) {
    const split = await splitChannels(base, plan, ranges, { ...splitting(options), data: options.data! });
    if (split.model !== base) plan = planOf(split.model, options);
    [base, changes] = [split.model, [...changes, ...split.changes]];
  }
  const result = await inserted(base, plan, ranges, options);
  return {
    model: result.model,
    changes: [...changes, ...summary(plan, options), ...result.changes, ...broken(statistics), ...left],
  };
}

const splitting = ({ threads, signal, activationType, splitChannels }: QuantizeStaticOptions) => ({
  ...(typeof splitChannels === "number" && { multiple: splitChannels }),
  ...(threads !== undefined && { threads }),
  ...(signal && { signal }),
  ...(activationType && { activationType }),
});

/** The plan in the graph, weights rounded and biases corrected as the options say. */
async function inserted(base: Model, plan: Plan, ranges: Ranges, options: QuantizeStaticOptions) {
  const { weightType = "int8", weightSymmetric = true, gptq = false, data } = options;
  const how = { ...options, data: data!, type: weightType, symmetric: weightSymmetric };
  const weights = gptq ? await roundLayers(base, plan.contractions, how) : undefined;
  const result = await insertQuantization(base, plan, ranges, options, undefined, weights);
  if (options.biasCorrection !== true) return result;
  const corrections = await measureCorrections(base, result.model, plan, data!, options);
  return insertQuantization(base, plan, ranges, options, corrections, weights);
}

/** The options that decide what values are rounded to. */
type CalibratedBy = Omit<QuantizeStaticOptions, "weightType" | "weightSymmetric" | "reduceRange">;

/** What comes before: the model without what would be quantized in vain, at the opset that has the types, its channels even. */
function prepared({ activationType = "uint8", equalize, data, threads, signal }: QuantizeStaticOptions): Pass {
  const running = { ...(threads !== undefined && { threads }), ...(signal && { signal }) };
  return sequence([
    optimize(),
    ...(activationType.endsWith("16") ? [upgrade({ to: 21 })] : []),
    ...(equalize === "crossLayer" ? [equalizeLayers()] : []),
    ...(equalize === "smoothQuant" ? [smoothQuant({ data: data!, clips: true, ...running })] : []),
  ]);
}

/** The statistics given, completed where they lack values and there is data. */
export async function statisticsFor(model: Model, plan: Plan, options: CalibratedBy): Promise<Statistics> {
  const { statistics, data } = options;
  const needed = [...plan.values.values()].filter((v) => v.like === v.name && !v.range).map((v) => v.name);
  const missing = needed.filter((name) => !statistics?.values.has(name));
  if (missing.length === 0 && statistics !== undefined) return statistics;
  if (data === undefined)
    throw new MinnowError(
      `The statistics know nothing of ${missing.length} of ${needed.length} values, "${missing[0]}" among them.`,
      {
        code: "quantize/statistics",
        mend: "Calibrate the same model after optimize, or give data as well.",
      },
    );
  const { method = "minmax" } = options;
  const quick = method === "minmax" || method === "movingAverage";
  const extrema = quick ? await observeExtrema(model, missing, data, options) : undefined;
  const more = extrema ?? (await observe(model, missing, data, options));
  return { ...more, values: new Map([...(statistics?.values ?? []), ...more.values]) };
}

function summary(plan: Plan, options: QuantizeStaticOptions): Change[] {
  const { activationType = "uint8", weightType = "int8", perChannel = true, biasCorrection = false } = options;
  const scales = perChannel ? "a scale for each channel" : "one scale each";
  const first = plan.contractions[0]!.node;
  const changes: Change[] = plan.contractions.map(({ node }) => ({
    what: `Quantized a layer: ${activationType} activations, ${weightType} weights with ${scales}.`,
    at: titleOf(node),
  }));
  if (biasCorrection) changes.push({ what: "Corrected biases by the mean error of each channel.", at: titleOf(first) });
  return merged(changes);
}

const broken = ({ values }: Statistics): Change[] =>
  merged(
    [...values]
      .filter(([, seen]) => seen.broken > 0)
      .map(([name]) => ({ what: "Passed over NaN and infinite numbers in a value.", at: `value "${name}"` })),
  );

/** The options a recipe can hold. */
function recorded({ data, statistics, signal, onProgress, threads, ...rest }: QuantizeStaticOptions): Json {
  return rest as Json;
}

function check(options: QuantizeStaticOptions): void {
  oneOf("weightType", options.weightType, ["uint8", "int8"]);
  oneOf("equalize", options.equalize, ["crossLayer", "smoothQuant"]);
  if (options.equalize !== undefined && (options.data === undefined || options.statistics !== undefined))
    throw new MinnowError("Equalization changes what calibration sees, and the statistics are of the model before.", {
      code: "quantize/option",
      at: "equalize",
      mend: "Give data and no statistics, or run equalizeLayers or smoothQuant first and calibrate what it makes.",
    });
  const needing = options.gptq === true ? "gptq" : options.splitChannels ? "splitChannels" : undefined;
  if (needing !== undefined && options.data === undefined)
    throw new MinnowError("It measures on examples, and there is no data.", {
      code: "quantize/no-data",
      at: needing,
      mend: "Give 100 to 500 typical examples as data.",
    });
  if (options.gptq === true && options.perChannel === false)
    throw new MinnowError("GPTQ finds a scale for each channel, and perChannel is false.", {
      code: "quantize/option",
      at: "gptq",
      mend: "Leave one of them out.",
    });
  const { splitChannels: multiple = false } = options;
  if (typeof multiple === "number" && !(Number.isInteger(multiple) && multiple > 0))
    throw new MinnowError(`It is ${multiple}.`, {
      code: "quantize/option",
      at: "splitChannels",
      mend: "Give the number of which channels become a multiple, or true for 16.",
    });
  checkCalibration(options, ["uint8", "int8", "uint16", "int16"]);
}

/** Throws where options of calibration cannot be. */
export function checkCalibration(options: CalibratedBy, types: readonly string[] = ["uint8", "int8"]): void {
  oneOf("method", options.method, METHODS);
  oneOf("activationType", options.activationType, types);
  rangesBy("percentile", { values: new Map(), samples: 0, skipped: 0 }, options);
  if (options.data === undefined && options.statistics === undefined)
    throw new MinnowError("Static quantization is calibrated, and there is neither data nor statistics.", {
      code: "quantize/no-data",
      mend: "Give 100 to 500 typical examples as data; storeWeights needs none.",
    });
  if (options.biasCorrection === true && options.data === undefined)
    throw new MinnowError("Bias correction measures on examples, and there is no data.", {
      code: "quantize/no-data",
      at: "biasCorrection",
      mend: "Give data beside the statistics.",
    });
}
