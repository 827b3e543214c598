import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { type Change, type Json, optimize, type Pass } from "../passes/index.ts";
import { type Contraction, nameOf, nodesIn, planOf } from "./plan.ts";
import { quantizeStatic } from "./static.ts";
import { storeWeights } from "./storage.ts";
import type { QuantizeStaticOptions } from "./types.ts";
import { quantizeWeights } from "./weight-only.ts";

/**
 * What one layer becomes.
 * - `float`: it stays as it is.
 * - `int8`: weights and activations, computed in integers; calibrated.
 * - `…-storage`: weights small in the file, float when the model is loaded.
 * - `q8`, `q4`, `q2`: weights in blocks of 32, small in memory too; matrices alone.
 */
export type LayerFormat =
  | "float"
  | "int8"
  | "fp16-storage"
  | "int8-storage"
  | "int4-storage"
  | "int3-storage"
  | "int2-storage"
  | "q8"
  | "q4"
  | "q2";

const STORAGE = {
  "fp16-storage": "fp16",
  "int8-storage": "int8",
  "int4-storage": "int4",
  "int3-storage": "int3",
  "int2-storage": "int2",
} as const;
const BITS = { q8: 8, q4: 4, q2: 2 } as const;

/** Every format a layer may have. */
export const LAYER_FORMATS: readonly LayerFormat[] = [
  "float",
  "int8",
  ...(Object.keys(STORAGE) as (keyof typeof STORAGE)[]),
  ...(Object.keys(BITS) as (keyof typeof BITS)[]),
];

/** A format for each layer, by the name of its node; a layer that is not named stays in float. */
export type PrecisionPlan = Readonly<Record<string, LayerFormat>>;

/** Options of {@link quantizeMixed}: the plan, and how its int8 layers are calibrated. */
export interface QuantizeMixedOptions
  extends Pick<
    QuantizeStaticOptions,
    | "data"
    | "statistics"
    | "method"
    | "percentile"
    | "biasCorrection"
    | "perChannel"
    | "activationType"
    | "weightType"
    | "weightSymmetric"
    | "reduceRange"
    | "threads"
    | "signal"
    | "onProgress"
  > {
  readonly plan: PrecisionPlan;
  /** What q4 and q2 products compute in: 4 is int8, fast on CPUs (default). */
  readonly accuracyLevel?: 0 | 1 | 4;
}

/** A layer that can be quantized: the contractions that read one weight, which have one format together. */
export interface Layer {
  /** The name of the first. */
  readonly node: string;
  readonly nodes: readonly string[];
  readonly weight: string;
  readonly depthwise: boolean;
}

/** The layers of a model after `optimize`, in order. */
export function layersOf(model: Model): Layer[] {
  const byWeight = new Map<string, Contraction[]>();
  for (const contraction of planOf(model).contractions)
    byWeight.set(contraction.weight, [...(byWeight.get(contraction.weight) ?? []), contraction]);
  return [...byWeight].map(([weight, all]) => ({
    node: nameOf(all[0]!.node),
    nodes: all.map(({ node }) => nameOf(node)),
    weight,
    depthwise: all.every(({ depthwise }) => depthwise),
  }));
}

/**
 * Gives every layer the format of a plan, as `planPrecision` makes one: int8 layers are quantized together, statically, so that
 * what lies between two of them runs in integers as well; the weights of the others are stored or put into blocks.
 * Throws `quantize/no-node` for a plan that names what is no layer, and what the passes of the formats throw.
 *
 * @example
 * const plan = { conv1: "int8-storage", conv2: "int8", fc: "int8" } as const;
 * const { model: small } = await quantizeMixed({ plan, data: photos.take(200) }).run(model);
 */
export function quantizeMixed(options: QuantizeMixedOptions): Pass {
  const { plan, data, statistics, signal, onProgress, threads, ...rest } = options;
  for (const [node, format] of Object.entries(plan))
    if (!LAYER_FORMATS.includes(format))
      throw new MinnowError(`It says ${JSON.stringify(format)}.`, {
        code: "quantize/option",
        at: `plan, "${node}"`,
        mend: `Give one of ${LAYER_FORMATS.join(", ")}.`,
      });
  const run = async (given: Model) => {
    let { model, changes } = await optimize().run(given);
    const before = model;
    for (const pass of passesOf(model, options)) {
      const result = await pass.run(model);
      model = result.model;
      changes = [...changes, ...result.changes];
    }
    if (model !== before) return { model, changes };
    const nothing: Change = { what: "Left all layers in float, as the plan says.", at: "model" };
    return { model: given, changes: [nothing] };
  };
  return { name: "quantizeMixed", options: { ...rest, plan } as Json, run };
}

function passesOf(model: Model, { plan, accuracyLevel = 4, ...calibrated }: QuantizeMixedOptions): Pass[] {
  const layers = layersOf(model);
  const known = new Set(layers.flatMap(({ nodes }) => nodes));
  // A node that is there and no layer is quantized already, or has no weight in float32: it stays as it is.
  const there = new Set(nodesIn(model.graph).map(nameOf));
  const stranger = Object.keys(plan).find((node) => !there.has(node));
  if (stranger !== undefined)
    throw new MinnowError(`No node is called "${stranger}".`, {
      code: "quantize/no-node",
      at: "plan",
      mend: `Layers are called, for example, ${[...known].slice(0, 3).join(", ")}.`,
    });
  const formatOf = ({ nodes }: Layer): LayerFormat =>
    nodes.map((node) => plan[node]).find((format) => format !== undefined) ?? "float";
  const within = (format: LayerFormat) => layers.filter((layer) => formatOf(layer) === format).flatMap((l) => l.nodes);
  const others = (format: LayerFormat) => layers.filter((layer) => formatOf(layer) !== format).flatMap((l) => l.nodes);
  const passes: Pass[] = [];
  if (within("int8").length > 0) passes.push(quantizeStatic({ ...calibrated, nodesToExclude: others("int8") }));
  for (const [format, bits] of Object.entries(BITS) as [keyof typeof BITS, 8 | 4 | 2][])
    if (within(format).length > 0)
      passes.push(quantizeWeights({ bits, accuracyLevel, method: "mse", nodesToExclude: others(format) }));
  for (const [format, to] of Object.entries(STORAGE) as [keyof typeof STORAGE, "int8"][])
    if (within(format).length > 0) passes.push(storeWeights({ to, nodesToQuantize: within(format) }));
  return passes;
}
