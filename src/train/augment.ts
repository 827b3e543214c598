import { feedInputs } from "../data/bind.ts";
import type { Dataset } from "../data/dataset.ts";
import { imageInput, type Preprocess } from "../data/preprocess.ts";
import { MinnowError } from "../errors.ts";
import type { Graph } from "../ir/graph.ts";
import { type Random, random, seedOf } from "../numeric/random.ts";

/** Random changes of pictures that leave what they show. */
export interface AugmentOptions {
  /** Mirrors every second picture, left to right. */
  readonly flip?: boolean;
  /** Shifts by up to this many pixels each way; black comes in (padding, then a random crop of the old size). */
  readonly crop?: number;
  /** A factor from 1 − b to 1 + b on every pixel, 0 being black. */
  readonly brightness?: number;
  /** The same on the distance from the picture's mean grey. */
  readonly contrast?: number;
  /** The same on the distance from each pixel's own grey. */
  readonly saturation?: number;
  /** Side of a square, centred anywhere, that is made grey (DeVries and Taylor 2017). */
  readonly cutout?: number;
  /** α: each picture becomes λ of itself and 1 − λ of another, λ drawn from Beta(α, α) (Zhang et al. 2018). Above 0, at most 1. */
  readonly mixup?: number;
  /**
   * So many versions of each picture, which come again and again: what a teacher says of them is computed once. Default: a new one
   * in every epoch. Not with mixup.
   */
  readonly views?: number;
}

/** What the numbers of a picture mean once it is preprocessed. */
export interface Pixels {
  readonly layout: "nchw" | "nhwc";
  /** What black and white have become, for each channel. */
  readonly black: readonly number[];
  readonly white: readonly number[];
  /** The share of each channel in grey. */
  readonly luma: readonly number[];
}

/** The pixels that a preprocessing makes. */
export function pixelsOf({ channels, layout, scale, mean, std }: Preprocess): Pixels {
  const rgb = [0.299, 0.587, 0.114];
  const luma = channels === "gray" ? [1] : channels === "bgr" ? rgb.toReversed() : rgb;
  const at = (values: readonly number[], c: number) => (values.length === 1 ? values[0] : values[c]) as number;
  const level = (v: number) => luma.map((_, c) => (v * scale - at(mean, c)) / at(std, c));
  return { layout, luma, black: level(0), white: level(255) };
}

/** A batch of preprocessed pictures, [N, C, H, W] or [N, H, W, C], and which examples they are. */
export interface Pictures {
  readonly data: Float32Array;
  readonly shape: readonly number[];
  readonly indices: ArrayLike<number>;
}

/** Changes a batch in place. What becomes of an example depends on the seed, the epoch and its index alone. */
export type Augment = (pictures: Pictures, epoch: number) => void;

/**
 * All changes but mixup, in the order of {@link AugmentOptions}.
 *
 * @example
 * const change = augment({ flip: true, crop: 4 }, pixelsOf(preprocess), 0);
 * change({ data, shape: [64, 3, 32, 32], indices }, epoch);
 */
export function augment(options: AugmentOptions, pixels: Pixels, seed: number): Augment {
  check(options);
  const { flip = false, crop = 0, cutout = 0, brightness = 0, contrast = 0, saturation = 0, views } = options;
  const colour = brightness > 0 || contrast > 0 || saturation > 0;
  return ({ data, shape, indices }, epoch) => {
    const grid = gridOf(shape, pixels);
    const scratch = new Float32Array(grid.size);
    const view = views === undefined ? epoch : epoch % views;
    for (let i = 0; i < indices.length; i++) {
      const next = random(seedOf(seed, view, indices[i] as number));
      const picture = data.subarray(i * grid.size, (i + 1) * grid.size);
      const mirrored = next() < 0.5 && flip;
      const [dx, dy] = [within(next, crop), within(next, crop)];
      if (mirrored || dx !== 0 || dy !== 0) move(picture, scratch, grid, { dx, dy, mirrored, fill: pixels.black });
      if (colour)
        recolour(picture, scratch, grid, pixels, [
          factor(next, brightness),
          factor(next, contrast),
          factor(next, saturation),
        ]);
      if (cutout > 0) cover(picture, grid, pixels, cutout, [next(), next()]);
    }
  };
}

/** How batches of a dataset are augmented: which input of the model holds pictures, and what becomes of them. */
export function augmentation(
  graph: Graph,
  data: Dataset,
  options: AugmentOptions,
  { pixels, seed }: { readonly pixels?: Pixels | undefined; readonly seed: number },
): { readonly input: string; readonly augment: Augment } {
  const input = feedInputs(graph).find(({ type }) => imageInput(type?.shape) !== undefined);
  const known = (data.prepare?.(undefined, input?.type?.shape) ?? data).preprocess;
  const meant = pixels ?? (known && pixelsOf(known()));
  if (input === undefined || meant === undefined)
    throw new MinnowError("Only pictures are augmented, and this data is none.", {
      code: "train/augment",
      mend: "Leave augmentation out, or say what black and white are (pixels) where arrays hold pictures.",
    });
  return { input: input.name, augment: augment(options, meant, seed) };
}

/** Mixes every picture of a batch with the one as far from the batch's other end, and gives the share λ of each that is its own. */
export function mixUp(
  { data, indices }: Pictures,
  { alpha, seed, epoch }: { alpha: number; seed: number; epoch: number },
): Float32Array {
  const before = data.slice();
  const size = data.length / indices.length;
  return Float32Array.from(indices, (index, i) => {
    const other = (indices.length - 1 - i) * size;
    const own = beta(random(seedOf(seed, epoch, index, 1)), alpha);
    for (let k = 0; k < size; k++)
      data[i * size + k] = own * (before[i * size + k] as number) + (1 - own) * (before[other + k] as number);
    return own;
  });
}

/** Targets [N, classes] of pictures that {@link mixUp} mixed: λ for the own class, 1 − λ for the other's. */
export function mixedTargets(shares: Float32Array, labels: ArrayLike<number>, classes: number): Float32Array {
  const targets = new Float32Array(shares.length * classes);
  for (const [i, own] of shares.entries()) {
    targets[i * classes + (labels[i] as number)]! += own;
    targets[i * classes + (labels[shares.length - 1 - i] as number)]! += 1 - own;
  }
  return targets;
}

/** Sizes of a picture, and how far apart its rows, columns and channels stand. */
interface Grid {
  readonly size: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly row: number;
  readonly column: number;
  readonly channel: number;
}

function gridOf(shape: readonly number[], { layout, luma }: Pixels): Grid {
  const [, a = 0, b = 0, c = 0] = shape;
  const [channels, height, width] = layout === "nchw" ? [a, b, c] : [c, a, b];
  if (shape.length !== 4 || channels !== luma.length)
    throw new MinnowError(
      `The examples have the shape [${shape.slice(1)}]; pictures of ${luma.length} channels were expected.`,
      { code: "train/augment-shape", mend: "Augment pictures only, with the preprocessing they were made by." },
    );
  const steps =
    layout === "nchw"
      ? { row: width, column: 1, channel: height * width }
      : { row: width * channels, column: channels, channel: 1 };
  return { size: channels * height * width, height, width, channels, ...steps };
}

/** A whole number from −most to most. */
const within = (next: Random, most: number): number => Math.floor(next() * (2 * most + 1)) - most;

const factor = (next: Random, spread: number): number => 1 + spread * (2 * next() - 1);

interface Motion {
  readonly dx: number;
  readonly dy: number;
  readonly mirrored: boolean;
  readonly fill: readonly number[];
}

/** Each pixel becomes the one (dx, dy) away in the picture or its mirror image. */
function move(picture: Float32Array, scratch: Float32Array, grid: Grid, { dx, dy, mirrored, fill }: Motion): void {
  const { height, width, channels, row, column, channel } = grid;
  scratch.set(picture);
  const [first, step] = mirrored ? [width - 1 + dx, -column] : [dx, column];
  const [begin, end] = mirrored ? [dx, width + dx] : [-dx, width - dx];
  const [from, until] = [Math.max(0, begin), Math.min(width, end)];
  for (let c = 0; c < channels; c++) {
    const empty = fill[c] as number;
    for (let y = 0; y < height; y++) {
      const [to, inside] = [c * channel + y * row, y + dy >= 0 && y + dy < height];
      let at = c * channel + (y + dy) * row + first * column + from * step;
      for (let x = 0; x < (inside ? from : width); x++) picture[to + x * column] = empty;
      if (!inside) continue;
      for (let x = from; x < until; x++, at += step) picture[to + x * column] = scratch[at] as number;
      for (let x = until; x < width; x++) picture[to + x * column] = empty;
    }
  }
}

const clamp = (v: number): number => Math.min(1, Math.max(0, v));

/** Brightness, contrast and saturation, each on numbers from 0 (black) to 1 (white) and kept in there. */
function recolour(
  picture: Float32Array,
  scratch: Float32Array,
  { height, width, channels, column, channel }: Grid,
  { black, white, luma }: Pixels,
  [bright, contrast, saturation]: readonly [number, number, number],
): void {
  const count = height * width;
  let grey = 0;
  for (let c = 0; c < channels; c++) {
    const low = black[c] as number;
    const scale = bright / ((white[c] as number) - low);
    let sum = 0;
    for (let i = 0, at = c * channel; i < count; i++, at += column) {
      const v = clamp(((picture[at] as number) - low) * scale);
      scratch[at] = v;
      sum += v;
    }
    grey += (sum * (luma[c] as number)) / count;
  }
  const around = (1 - contrast) * grey;
  for (let i = 0; i < count; i++) {
    const at = i * column;
    let own = 0;
    for (let c = 0, k = at; c < channels; c++, k += channel) {
      const v = clamp((scratch[k] as number) * contrast + around);
      scratch[k] = v;
      own += v * (luma[c] as number);
    }
    for (let c = 0, k = at; c < channels; c++, k += channel) {
      const v = clamp((scratch[k] as number) * saturation + (1 - saturation) * own);
      const low = black[c] as number;
      picture[k] = low + v * ((white[c] as number) - low);
    }
  }
}

/** A grey square around a point, `place` in shares of width and height, cut at the borders. */
function cover(
  picture: Float32Array,
  { height, width, channels, row, column, channel }: Grid,
  { black, white }: Pixels,
  side: number,
  place: readonly [number, number],
): void {
  const span = (share: number, size: number) => {
    const from = Math.floor(share * size) - Math.floor(side / 2);
    return [Math.max(0, from), Math.min(size, from + side)] as const;
  };
  const [[left, right], [top, bottom]] = [span(place[0], width), span(place[1], height)];
  for (let c = 0; c < channels; c++) {
    const grey = ((black[c] as number) + (white[c] as number)) / 2;
    for (let y = top; y < bottom; y++)
      for (let x = left; x < right; x++) picture[c * channel + y * row + x * column] = grey;
  }
}

/** A draw from Beta(α, α), 0 < α ≤ 1 (Jöhnk 1964). */
function beta(next: Random, alpha: number): number {
  for (;;) {
    const [a, b] = [next() ** (1 / alpha), next() ** (1 / alpha)];
    if (a + b <= 1 && a + b > 0) return a / (a + b);
  }
}

function check(options: AugmentOptions): void {
  const { crop = 0, brightness = 0, contrast = 0, saturation = 0, cutout = 0, mixup, views = 1 } = options;
  const fail = (what: string, mend: string) => {
    throw new MinnowError(`${what} is not possible.`, { code: "train/augment-options", mend });
  };
  for (const [name, pixels] of Object.entries({ crop, cutout }))
    if (!Number.isInteger(pixels) || pixels < 0) fail(`A ${name} of ${pixels}`, "Give a number of pixels.");
  for (const [name, spread] of Object.entries({ brightness, contrast, saturation }))
    if (!(spread >= 0 && spread <= 1)) fail(`A ${name} of ${spread}`, "Give a number from 0 to 1.");
  if (!Number.isInteger(views) || views < 1) fail(`A number of views of ${views}`, "Give a whole number from 1 on.");
  if (mixup !== undefined && options.views !== undefined)
    fail("Mixup in a number of views", "A picture is mixed with another one each time: leave one of them out.");
  if (mixup !== undefined && !(mixup > 0 && mixup <= 1)) fail(`A mixup of ${mixup}`, "Give α, above 0 and at most 1.");
}
