import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { Net, type NetDefaults, type Value } from "./net.ts";

/** What a net is made for. Width and depth multiply the net's own. */
export interface ArchitectureOptions extends Partial<TextOptions> {
  /** 0 leaves the classifier of a text encoder out: the states of its tokens are the output. */
  readonly classes: number;
  readonly channels: number;
  /** Height and width of the input. */
  readonly resolution: number;
  readonly width: number;
  readonly depth: number;
  /** Of the first weights. */
  readonly seed: number;
}

/** What a net for text is made for besides. */
export interface TextOptions {
  /** Tokens there are. */
  readonly vocabulary: number;
  /** Tokens of one input; 0 leaves it open. */
  readonly length: number;
  readonly layers: number;
  /** Channels of a token; a multiple of `heads`. */
  readonly dimension: number;
  readonly heads: number;
  /** Heads of keys and values, a divisor of `heads`; 0 for as many. */
  readonly kvHeads: number;
  /** Channels in the middle of a feed-forward network. */
  readonly inner: number;
}

/** The options a net can be given, with what it has where they are not; the seed goes without saying. */
export type Defaults = Readonly<Partial<Omit<ArchitectureOptions, "seed">>>;

export interface Architecture {
  readonly family: string;
  /** Title and place of the paper. */
  readonly paper: Paper;
  readonly defaults: Defaults;
  /** Builds the net; options it does not list in `defaults` may be ignored. */
  build(options: ArchitectureOptions): Model;
}

export interface Paper {
  readonly title: string;
  /** `arXiv:1704.04861`, or where it appeared. */
  readonly id: string;
}

/** Nets by the name torchvision or timm knows them by. */
export type Entries = Readonly<Record<string, Architecture>>;

/** ImageNet's options, for a net of this resolution. */
export const imageNet = (resolution = 224): Defaults & { readonly classes: number } => ({
  classes: 1000,
  channels: 3,
  resolution,
  width: 1,
  depth: 1,
});

/** A model from an image `input` [N, channels, resolution, resolution] to what `body` makes of it, `logits`. */
export function classifier(
  name: string,
  { channels, resolution, seed }: ArchitectureOptions,
  defaults: NetDefaults,
  body: (net: Net, image: Value) => Value,
): Model {
  const net = new Net({ ...defaults, seed });
  return net.model({ logits: body(net, net.input("input", ["N", channels, resolution, resolution])) }, name);
}

/**
 * The multiple of `divisor` nearest to a number of channels, not less than `least` nor than `share` of the number. Source: the
 * reference code of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381). Less than one channel is an error: the width is too small.
 */
export function makeDivisible(channels: number, divisor = 8, { least = divisor, share = 0.9 } = {}): number {
  if (!(channels >= 1))
    throw new MinnowError(`A layer would have ${channels.toPrecision(2)} channels; there is none left.`, {
      code: "architectures/no-channels",
      mend: "Give a greater width.",
    });
  const rounded = Math.max(least, Math.floor((channels + divisor / 2) / divisor) * divisor);
  return rounded < share * channels ? rounded + divisor : rounded;
}

/** A number of repeated blocks times a depth multiplier, rounded up as EfficientNet does; one at least. */
export const deeper = (repeats: number, depth: number): number => Math.max(1, Math.ceil(repeats * depth - 1e-9));

/** Refuses options no net can be built with, each by its own sentence. */
export function checkOptions(name: string, given: Partial<ArchitectureOptions>, defaults: Defaults): void {
  for (const [option, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const at = `option "${option}"`;
    if (option !== "seed" && !(option in defaults))
      throw new MinnowError(`"${name}" has no ${option} to choose.`, {
        code: "architectures/option",
        at,
        mend: `It takes ${Object.keys(defaults).join(", ")}, seed.`,
      });
    const scale = option === "width" || option === "depth";
    const least = option === "seed" || defaults[option as keyof Defaults] === 0 ? 0 : 1;
    const fits = scale ? Number.isFinite(value) && value > 0 : Number.isSafeInteger(value) && value >= least;
    if (!fits)
      throw new MinnowError(`It is ${value}.`, {
        code: "architectures/option",
        at,
        mend: scale ? "Give a number above 0, for example 0.5." : `Give a whole number from ${least} on.`,
      });
  }
}
