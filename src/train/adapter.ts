import { createSink, openPath } from "#platform";
import { MinnowError } from "../errors.ts";
import { readSafetensors, type SafeTensor, saveSafetensors } from "../files/safetensors.ts";
import type { Source } from "../files/source.ts";
import { elements, viewOf } from "../ir/tensor.ts";
import { fromBfloat, fromHalf } from "../numeric/half.ts";

/** How adapters are made; the names and defaults of PEFT's LoraConfig, in camel case. */
export interface LoraConfig {
  /** Rank of the two factors. Default 8. */
  readonly r: number;
  /** What they add is scaled by loraAlpha / r. Default 8. */
  readonly loraAlpha: number;
  /**
   * Which modules: a regular expression that fits the whole name, "all-linear" for every matrix but the last, or a list of names,
   * ends of names after a dot, or patterns with `*`.
   */
  readonly targetModules: string | readonly string[];
  /** Modules that are left out all the same; as `targetModules`. */
  readonly excludeModules?: string | readonly string[];
  /** Share of the activations that are dropped before the first factor while training. Default 0. */
  readonly loraDropout: number;
  /** Scales by loraAlpha / √r (Kalajdzievski 2023, arXiv:2312.03732). */
  readonly useRslora: boolean;
  /** Learns the length of each output's weights apart from their direction (Liu et al. 2024, arXiv:2402.09353). */
  readonly useDora: boolean;
  /** Other ranks, by name or regular expression that ends a module's name. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** Other values of loraAlpha. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
}

/** Numbers of an adapter. */
export interface Factor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What is learned of one module, with the weight [out, in, …]: W + scale · B · A. */
export interface AdapterModule {
  /** [r, in, …] */
  readonly a: Factor;
  /** [out, r], with axes of 1 behind for a convolution. */
  readonly b: Factor;
  /** DoRA's lengths: out numbers. */
  readonly magnitude?: Factor;
}

/** Learned changes of a model's weights, by module. */
export interface Adapter {
  readonly config: LoraConfig;
  readonly modules: ReadonlyMap<string, AdapterModule>;
}

/** What stands before and behind a module's name in PEFT's files; nodes and weights of adapters are named so too. */
export const PREFIX = "base_model.model.";
export const [A, B, MAGNITUDE] = ["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"] as const;
const FILES = { config: "adapter_config.json", weights: "adapter_model.safetensors" } as const;

const DEFAULTS = { r: 8, loraAlpha: 8, loraDropout: 0, useRslora: false, useDora: false } as const;

/** What a caller gives of a configuration. */
export type LoraOptions = Partial<LoraConfig> & Pick<LoraConfig, "targetModules">;

/** The configuration with its defaults. A MinnowError (`lora/options`) for numbers out of range. */
export function loraConfig(options: LoraOptions): LoraConfig {
  const config = { ...DEFAULTS, ...options };
  const ranks = [config.r, ...Object.values(config.rankPattern ?? {})];
  const wrong =
    ranks.some((r) => !Number.isInteger(r) || r < 1) ||
    !(config.loraAlpha > 0) ||
    !(config.loraDropout >= 0 && config.loraDropout < 1);
  if (!wrong) return config;
  throw new MinnowError(
    `r ${ranks.join(", ")}, loraAlpha ${config.loraAlpha} and loraDropout ${config.loraDropout} do not go.`,
    { code: "lora/options", mend: "r is a whole number from 1 on, loraAlpha above 0, loraDropout from 0 to below 1." },
  );
}

/** The factor of B · A in one module. */
export function scaleOf(config: LoraConfig, module: string): number {
  const r = rankOf(config, module);
  const alpha = patterned(config.alphaPattern, module) ?? config.loraAlpha;
  return alpha / (config.useRslora ? Math.sqrt(r) : r);
}

export const rankOf = (config: LoraConfig, module: string): number => patterned(config.rankPattern, module) ?? config.r;

function patterned(patterns: Readonly<Record<string, number>> | undefined, module: string): number | undefined {
  return Object.entries(patterns ?? {}).find(([key]) => new RegExp(`^(.*\\.)?(${key})$`).test(module))?.[1];
}

/**
 * Writes an adapter as PEFT does, adapter_config.json and adapter_model.safetensors, into a folder that exists; each file
 * is there whole or not at all.
 *
 * @example
 * await saveAdapter("adapters/cheerful", adapter, { baseModel: "net.onnx" });
 */
export async function saveAdapter(
  folder: string,
  { config, modules }: Adapter,
  { baseModel = null, taskType = null }: { baseModel?: string | null; taskType?: string | null } = {},
): Promise<void> {
  const tensors = new Map(
    [...modules].flatMap(([module, { a, b, magnitude }]) =>
      Object.entries({ [A]: a, [B]: b, ...(magnitude && { [MAGNITUDE]: magnitude }) }).map(
        ([part, { shape, data }]) =>
          [`${PREFIX}${module}.${part}`, { dtype: "float32", shape, read: async () => bytesOf(data) }] as const,
      ),
    ),
  );
  await saveSafetensors(tensors, `${folder}/${FILES.weights}`, { format: "pt" });
  const { targetModules, excludeModules = null, rankPattern = {}, alphaPattern = {}, ...own } = config;
  const written = {
    ...{
      peft_type: "LORA",
      task_type: taskType,
      base_model_name_or_path: baseModel,
      inference_mode: true,
      bias: "none",
    },
    ...{ r: own.r, lora_alpha: own.loraAlpha, lora_dropout: own.loraDropout },
    ...{ target_modules: targetModules, exclude_modules: excludeModules, fan_in_fan_out: false, modules_to_save: null },
    ...{ use_rslora: own.useRslora, use_dora: own.useDora, rank_pattern: rankPattern, alpha_pattern: alphaPattern },
    ...{ init_lora_weights: true, layers_to_transform: null, layers_pattern: null, revision: null },
  };
  const sink = await createSink(`${folder}/${FILES.config}`);
  try {
    await sink.write(new TextEncoder().encode(`${JSON.stringify(written, null, 2)}\n`));
    await sink.commit();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/**
 * Reads an adapter PEFT or {@link saveAdapter} wrote: a folder, or its two files where there are no paths. 16-bit floats become
 * float32. A MinnowError (`lora/adapter`) for other files, `lora/unsupported` for kinds of adapters that are not known here.
 */
export async function loadAdapter(
  from: string | { readonly config: Source; readonly weights: Source },
): Promise<Adapter> {
  const open = async (file: keyof typeof FILES) =>
    typeof from === "string" ? openPath(`${from}/${FILES[file]}`) : from[file];
  const [text, weights] = [await open("config"), await open("weights")];
  try {
    const config = readConfig(new TextDecoder().decode(await text.read(0, text.size)), text.name);
    const { tensors } = await readSafetensors(weights);
    return { config, modules: await readModules(tensors, config, weights.name) };
  } finally {
    if (typeof from === "string") for (const source of [text, weights]) await source.close?.();
  }
}

/** Fields of PEFT's LoraConfig that change what an adapter computes, with the values that leave it as it is here. */
const PLAIN: Readonly<Record<string, readonly unknown[]>> = {
  peft_type: ["LORA"],
  bias: ["none"],
  modules_to_save: [null],
  layers_to_transform: [null],
  target_parameters: [null],
  trainable_token_indices: [null],
  layer_replication: [null],
  lora_bias: [false],
};

function readConfig(text: string, at: string): LoraConfig {
  let read: Record<string, unknown>;
  try {
    read = JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw unfit("It is no JSON.", at, cause);
  }
  if (typeof read !== "object" || read === null) throw unfit("It is no JSON object.", at);
  for (const [field, plain] of Object.entries(PLAIN)) {
    const value = read[field];
    if (value !== undefined && !plain.includes(value) && !(Array.isArray(value) && value.length === 0))
      throw new MinnowError(
        `Its ${field} is ${JSON.stringify(value)}; only ${JSON.stringify(plain[0])} is known here.`,
        {
          code: "lora/unsupported",
          at,
          mend: "Merge it with PEFT (merge_and_unload) and export the merged model.",
        },
      );
  }
  const { r, lora_alpha: loraAlpha, target_modules: targets } = read;
  const names = typeof targets === "string" || (Array.isArray(targets) && targets.every((t) => typeof t === "string"));
  if (typeof r !== "number" || typeof loraAlpha !== "number" || !names)
    throw unfit("It lacks r, lora_alpha or target_modules.", at);
  const exclude = read["exclude_modules"];
  return loraConfig({
    r,
    loraAlpha,
    targetModules: targets as string | string[],
    ...(exclude != null && { excludeModules: exclude as string | string[] }),
    loraDropout: typeof read["lora_dropout"] === "number" ? read["lora_dropout"] : 0,
    useRslora: read["use_rslora"] === true,
    useDora: read["use_dora"] === true,
    rankPattern: (read["rank_pattern"] ?? {}) as Record<string, number>,
    alphaPattern: (read["alpha_pattern"] ?? {}) as Record<string, number>,
  });
}

async function readModules(
  tensors: ReadonlyMap<string, SafeTensor>,
  { useDora }: LoraConfig,
  at: string,
): Promise<ReadonlyMap<string, AdapterModule>> {
  const parts = new Map<string, Map<string, Factor>>();
  for (const [key, tensor] of tensors) {
    const part = [A, B, MAGNITUDE].find((end) => key.endsWith(`.${end}`));
    if (part === undefined || !key.startsWith(PREFIX))
      throw new MinnowError(`It holds "${key}", which is no factor of a matrix.`, {
        code: "lora/unsupported",
        at,
        mend: "Adapters of embeddings and modules that are saved whole are not known here: merge it with PEFT.",
      });
    const module = key.slice(PREFIX.length, -part.length - 1);
    const found = parts.get(module) ?? new Map<string, Factor>();
    parts.set(module, found.set(part, await floatsOf(key, tensor, at)));
  }
  if (parts.size === 0) throw unfit("It holds no adapters.", at);
  const modules = [...parts].map(([module, found]): [string, AdapterModule] => {
    const [a, b, magnitude] = [found.get(A), found.get(B), found.get(MAGNITUDE)];
    if (a === undefined || b === undefined || (magnitude === undefined) === useDora)
      throw unfit(`The factors of "${module}" are not all there, or more than there should be.`, at);
    if (a.shape[0] !== b.shape[1])
      throw unfit(`The factors of "${module}" have the shapes [${a.shape}] and [${b.shape}]; their ranks differ.`, at);
    return [module, { a, b, ...(magnitude && { magnitude }) }];
  });
  return new Map(modules);
}

async function floatsOf(key: string, { dtype, shape, read }: SafeTensor, at: string): Promise<Factor> {
  const stored = viewOf(dtype, await read());
  const narrow = dtype === "float16" ? fromHalf : dtype === "bfloat16" ? fromBfloat : undefined;
  if (narrow === undefined && dtype !== "float32") throw unfit(`"${key}" is ${dtype}.`, at);
  const data =
    narrow === undefined ? (stored as Float32Array).slice() : Float32Array.from(stored as Uint16Array, narrow);
  if (data.length !== elements(shape)) throw unfit(`"${key}" has ${data.length} numbers for [${shape}].`, at);
  return { shape, data };
}

const unfit = (what: string, at: string, cause?: unknown): MinnowError =>
  new MinnowError(what, {
    code: "lora/adapter",
    at,
    cause,
    mend: "Give the folder of an adapter, with adapter_config.json and adapter_model.safetensors as PEFT writes them.",
  });
