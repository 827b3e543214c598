import { MinnowError } from "../errors.ts";
import type { PreprocessOptions } from "./preprocess.ts";

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads a `preprocessor_config.json` of Hugging Face: how transformers' image processors (ViT, ConvNext, CLIP, MobileNet,
 * EfficientNet and the like) resize, crop and scale. Lanczos is taken as bicubic, other kernels as bilinear.
 */
export function readPreprocessorConfig(text: string, at = "preprocessor_config.json"): PreprocessOptions {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw new MinnowError("It is not JSON.", { code: "data/preprocessor-config", at, mend: "Fetch it again.", cause });
  }
  if (typeof config !== "object" || config === null || Array.isArray(config))
    throw new MinnowError("It holds no JSON object.", {
      code: "data/preprocessor-config",
      at,
      mend: "Fetch it again.",
    });
  const json = config as Json;
  return {
    channels: "rgb",
    interpolation: json.resample === 1 || json.resample === 3 ? "bicubic" : "bilinear",
    ...scaling(json),
    ...sizes(json),
  };
}

function scaling(json: Json): PreprocessOptions {
  const factor = typeof json.rescale_factor === "number" ? json.rescale_factor : 1 / 255;
  const scale = json.do_rescale === false ? 1 : factor;
  if (json.do_normalize === false) return { scale, mean: [0], std: [1] };
  return { scale, mean: numbers(json.image_mean) ?? [0], std: numbers(json.image_std) ?? [1] };
}

function sizes(json: Json): PreprocessOptions {
  const resized = json.do_resize === false ? undefined : side(json.size);
  const cropped = json.do_center_crop === true || (json.do_center_crop === undefined && json.crop_size !== undefined);
  const final = cropped ? (side(json.crop_size) ?? resized) : resized;
  if (final === undefined) return {};
  if (!cropped)
    return convNextSizes(json, final) ?? { size: final.size, crop: 1, resize: final.shortest ? "shortest" : "exact" };
  const crop =
    resized === undefined ? 1 : Math.min(1, ...final.size.map((s, axis) => s / (resized.size[axis] as number)));
  const exact = resized !== undefined && !resized.shortest && typeof json.size === "object";
  return { size: final.size, crop, resize: exact ? "exact" : "shortest" };
}

/** ConvNext's processor: below 384 the picture is made size / crop_pct and cropped, else stretched. */
function convNextSizes(json: Json, { size, shortest }: Side): PreprocessOptions | undefined {
  if (!shortest || !`${json.image_processor_type ?? json.feature_extractor_type}`.startsWith("ConvNext"))
    return undefined;
  if (size[0] >= 384) return { size, crop: 1, resize: "exact" };
  return { size, crop: typeof json.crop_pct === "number" ? json.crop_pct : 224 / 256, resize: "shortest" };
}

interface Side {
  readonly size: readonly [number, number];
  /** Whether it is the shorter side that becomes so long. */
  readonly shortest: boolean;
}

function side(value: unknown): Side | undefined {
  if (typeof value === "number") return { size: [value, value], shortest: false };
  if (typeof value !== "object" || value === null) return undefined;
  const { shortest_edge: shortest, height, width } = value as Json;
  if (typeof shortest === "number") return { size: [shortest, shortest], shortest: true };
  if (typeof height === "number" && typeof width === "number") return { size: [height, width], shortest: false };
  return undefined;
}

const numbers = (value: unknown): number[] | undefined =>
  Array.isArray(value) && value.length > 0 && value.every((v) => typeof v === "number")
    ? (value as number[])
    : undefined;
