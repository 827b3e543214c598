import { MinnowError } from "../errors.ts";
import { type RawImage, toGray } from "../files/image.ts";
import type { Dim } from "../ir/dim.ts";
import type { TensorData } from "../ir/tensor.ts";
import { type Interpolation, resize } from "./resize.ts";

/** How a picture becomes what a model takes: resized, cropped, its pixels scaled: `(pixel × scale − mean) / std`. */
export interface Preprocess {
  /** Height and width of the result. */
  readonly size: readonly [number, number];
  /** The part of the resized picture that is kept, from its middle: it is first made `size / crop` large. 1 keeps all. */
  readonly crop: number;
  /** "shortest" keeps the proportions and cuts what stands over, "exact" stretches. */
  readonly resize: "shortest" | "exact";
  readonly interpolation: Interpolation;
  /** Factor on pixels of 0..255. */
  readonly scale: number;
  /** One number for all channels, or one for each in the order the model takes them. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly channels: "rgb" | "bgr" | "gray";
  /** Shape of the result: [channels, height, width] or [height, width, channels]. */
  readonly layout: "nchw" | "nhwc";
}

/** Ways of scaling pixels that many models share. */
export type Preset = "imagenet" | "tf" | "unit" | "raw";

/** What a user may say about preprocessing; the rest follows from the preset and the model's input. */
export interface PreprocessOptions extends Partial<Omit<Preprocess, "size" | "mean" | "std">> {
  /** "imagenet": 0..1, then ImageNet's mean and deviation; "tf": −1..1; "unit": 0..1 (the default); "raw": 0..255. */
  readonly preset?: Preset;
  readonly size?: number | readonly [number, number];
  readonly mean?: number | readonly number[];
  readonly std?: number | readonly number[];
}

type Scaling = Pick<Preprocess, "scale" | "mean" | "std">;

/** Mean and deviation of ImageNet's red, green, blue on 0..1, as torchvision's models were trained with. */
const IMAGENET: Scaling = { scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

const PRESETS: Readonly<Record<Preset, Scaling>> = {
  imagenet: IMAGENET,
  tf: { scale: 1 / 127.5, mean: [1], std: [1] },
  unit: { scale: 1 / 255, mean: [0], std: [1] },
  raw: { scale: 1, mean: [0], std: [1] },
};

/** The names of the presets. */
export const presets = Object.keys(PRESETS) as Preset[];

/** What an input's shape says of the pictures it takes; undefined if it takes none. */
export function imageInput(
  shape: readonly Dim[] | undefined,
): Pick<PreprocessOptions, "size" | "channels" | "layout"> | undefined {
  if (shape?.length !== 4) return undefined;
  const [, a, b, c] = shape as [Dim, Dim, Dim, Dim];
  const of = (channels: Dim, height: Dim, width: Dim, layout: Preprocess["layout"]) => {
    if (channels !== 1 && channels !== 3) return undefined;
    const sized = typeof height === "number" && typeof width === "number";
    return {
      layout,
      channels: channels === 1 ? ("gray" as const) : ("rgb" as const),
      ...(sized && { size: [height, width] as const }),
    };
  };
  return of(a, b, c, "nchw") ?? of(c, a, b, "nhwc");
}

/**
 * Preprocessing in full: what `options` say, else what the input's shape says, else the preset's.
 * Pictures of 128 pixels and more are cropped to 0.875 of their size unless `options` say otherwise, smaller ones are not.
 */
export function resolvePreprocess(options: PreprocessOptions = {}, inputShape?: readonly Dim[]): Preprocess {
  const deduced = imageInput(inputShape) ?? {};
  const { size: given = deduced.size, preset = "unit" } = options;
  if (given === undefined)
    throw new MinnowError("The size that the model takes its pictures in is not known.", {
      code: "data/no-size",
      mend: "Give it, for example size: 224 (--size 224).",
    });
  if (PRESETS[preset] === undefined)
    throw new MinnowError(`There is no preset "${preset}".`, {
      code: "data/preset",
      mend: `There are ${presets.join(", ")}.`,
    });
  const size = typeof given === "number" ? ([given, given] as const) : given;
  const channels = options.channels ?? deduced.channels ?? "rgb";
  const scaling = scalingFor(PRESETS[preset], channels);
  const list = (values: number | readonly number[] | undefined, otherwise: readonly number[]) =>
    values === undefined ? otherwise : typeof values === "number" ? [values] : values;
  const made: Preprocess = {
    size,
    crop: options.crop ?? (Math.min(...size) >= 128 ? 0.875 : 1),
    resize: options.resize ?? "shortest",
    interpolation: options.interpolation ?? "bilinear",
    scale: options.scale ?? scaling.scale,
    mean: list(options.mean, scaling.mean),
    std: list(options.std, scaling.std),
    channels,
    layout: options.layout ?? deduced.layout ?? "nchw",
  };
  check(made);
  return made;
}

/** A preset's numbers are in the order red, green, blue; grey takes their mean. */
function scalingFor({ scale, mean, std }: Scaling, channels: Preprocess["channels"]): Scaling {
  const order = (values: readonly number[]) =>
    values.length === 1 || channels === "rgb"
      ? values
      : channels === "bgr"
        ? values.toReversed()
        : [values.reduce((a, b) => a + b) / values.length];
  return { scale, mean: order(mean), std: order(std) };
}

function check(p: Preprocess): void {
  const planes = p.channels === "gray" ? 1 : 3;
  const fail = (what: string, mend: string) => {
    throw new MinnowError(what, { code: "data/preprocess", mend });
  };
  if (!p.size.every((side) => Number.isInteger(side) && side > 0 && side <= 16384))
    fail(`A size of ${p.size.join("×")} is no size of a picture.`, "Give height and width in pixels.");
  if (!(p.crop > 0 && p.crop <= 1))
    fail(`A crop of ${p.crop} is not possible.`, "Give the part that is kept: above 0, at most 1.");
  for (const [name, values] of Object.entries({ mean: p.mean, std: p.std }))
    if (values.length !== 1 && values.length !== planes)
      fail(`${name} has ${values.length} numbers for ${planes} channels.`, "Give one, or one for each channel.");
  if (![p.scale, ...p.mean, ...p.std].every(Number.isFinite) || p.std.includes(0))
    fail("scale, mean and std must be finite numbers, and no std may be 0.", "Check them.");
}

/** The picture as a model takes it, without the batch axis: float32 [channels, height, width] or [height, width, channels]. */
export function preprocess(image: RawImage, p: Preprocess): TensorData {
  const [height, width] = p.size;
  const planes = p.channels === "gray" ? 1 : 3;
  const { data: from, channels } = frame(p.channels === "gray" ? toGray(image) : image, p);
  const [red, green, blue] = pixelTables(p, planes) as [Float32Array, Float32Array, Float32Array];
  const pixels = height * width;
  const data = new Float32Array(planes * pixels);
  if (planes === 1) for (let i = 0; i < pixels; i++) data[i] = red[from[i] as number] as number;
  else {
    const [pixel, plane] = p.layout === "nchw" ? [1, pixels] : [3, 1];
    const [r, g, b] = channels === 1 ? [0, 0, 0] : p.channels === "bgr" ? [2, 1, 0] : [0, 1, 2];
    for (let at = 0, to = 0; at < from.length; at += channels, to += pixel) {
      data[to] = red[from[at + r] as number] as number;
      data[to + plane] = green[from[at + g] as number] as number;
      data[to + 2 * plane] = blue[from[at + b] as number] as number;
    }
  }
  return { dtype: "float32", shape: p.layout === "nchw" ? [planes, height, width] : [height, width, planes], data };
}

/** Resized and cropped. Where the middle falls between pixels it is rounded to even, as torchvision's CenterCrop does. */
function frame(image: RawImage, p: Preprocess): RawImage {
  const [height, width] = p.size;
  const [tall, wide] = [Math.floor(height / p.crop + 1e-6), Math.floor(width / p.crop + 1e-6)];
  let [h, w] = [tall, wide];
  if (p.resize === "shortest") {
    const byHeight = image.height * wide <= image.width * tall;
    if (byHeight) w = Math.max(wide, Math.floor((tall * image.width) / image.height));
    else h = Math.max(tall, Math.floor((wide * image.height) / image.width));
  }
  const middle = (whole: number, part: number) => roundToEven((whole - part) / 2);
  return resize(image, w, h, p.interpolation, { left: middle(w, width), top: middle(h, height), width, height });
}

const roundToEven = (x: number): number => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

const madeTables = new WeakMap<Preprocess, Float32Array[]>();

/** For each channel of the result, the number that stands for each pixel value. */
function pixelTables(p: Preprocess, planes: number): Float32Array[] {
  let tables = madeTables.get(p);
  if (tables === undefined) {
    const pick = (values: readonly number[], c: number) => (values.length === 1 ? values[0] : values[c]) as number;
    tables = Array.from({ length: planes }, (_, c) =>
      Float32Array.from({ length: 256 }, (_, v) => (v * p.scale - pick(p.mean, c)) / pick(p.std, c)),
    );
    madeTables.set(p, tables);
  }
  return tables;
}

/** A preprocessing with a name a person recognises. */
export interface NamedPreprocess {
  readonly name: string;
  readonly preprocess: Preprocess;
}

/** The ways of preprocessing worth trying for an input of this shape, most common first; none if it takes no pictures. */
export function candidatePreprocesses(
  inputShape: readonly Dim[] | undefined,
  given: PreprocessOptions = {},
): NamedPreprocess[] {
  const input = imageInput(inputShape);
  if (input === undefined) return [];
  const named = (name: string, options: PreprocessOptions) => ({
    name,
    preprocess: resolvePreprocess({ ...options, ...given }, inputShape),
  });
  const shared = presets.map((preset) => named(preset, { preset }));
  return input.channels === "gray"
    ? [...shared, named("mnist: 0..1, mean 0.1307, std 0.3081", { mean: 0.1307, std: 0.3081 })]
    : [...shared, named("caffe: BGR minus 104, 117, 123", { preset: "raw", channels: "bgr", mean: [104, 117, 123] })];
}
