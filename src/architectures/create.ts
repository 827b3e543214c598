import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { nearestNames } from "../numeric/nearest.ts";
import { type Architecture, type ArchitectureOptions, checkOptions, type Entries } from "./architecture.ts";
import { autoencoder } from "./autoencoder.ts";
import { berts } from "./bert.ts";
import { dscnn } from "./dscnn.ts";
import { efficientnet } from "./efficientnet.ts";
import { efficientnetV2 } from "./efficientnet-v2.ts";
import { ghostnets } from "./ghostnet.ts";
import { llamas } from "./llama.ts";
import { mcunets } from "./mcunet.ts";
import { mnasnet } from "./mnasnet.ts";
import { mobileberts } from "./mobilebert.ts";
import { mobilenetV1 } from "./mobilenet-v1.ts";
import { mobilenetV2 } from "./mobilenet-v2.ts";
import { mobilenetV3 } from "./mobilenet-v3.ts";
import { mobilenetV4 } from "./mobilenet-v4.ts";
import { mobileones } from "./mobileone.ts";
import { mobilevits } from "./mobilevit.ts";
import { resnet } from "./resnet.ts";
import { shufflenets } from "./shufflenet.ts";
import { squeezenets } from "./squeezenet.ts";
import { vits } from "./vit.ts";

/** Every net that can be made, by name. The one list. */
export const ARCHITECTURES: Entries = {
  ...mobilenetV1,
  ...mobilenetV2,
  ...mobilenetV3,
  ...mobilenetV4,
  ...efficientnet,
  ...efficientnetV2,
  ...mnasnet,
  ...shufflenets,
  ...squeezenets,
  ...ghostnets,
  ...mobileones,
  ...mcunets,
  ...resnet,
  ...dscnn,
  ...autoencoder,
  ...vits,
  ...mobilevits,
  ...berts,
  ...mobileberts,
  ...llamas,
};

/** The names of all nets, in the order of help. */
export const architectures = (): string[] => Object.keys(ARCHITECTURES);

/** The net of this name; an error offers those that are nearest. */
export function architectureOf(name: string): Architecture {
  const found = Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined;
  if (found !== undefined) return found;
  const near = nearestNames(name, architectures(), { within: Math.max(3, name.length / 3), count: 3 });
  throw new MinnowError(`There is no architecture "${name}".`, {
    code: "architectures/name-unknown",
    mend: near.length > 0 ? `Did you mean ${near.join(" or ")}?` : `There are ${architectures().join(", ")}.`,
  });
}

const FALLBACK: ArchitectureOptions = { classes: 1000, channels: 3, resolution: 224, width: 1, depth: 1, seed: 0 };

/**
 * Makes a net with first values as in its paper, drawn from `seed`. Width and depth multiply the net's own. Weights are named as
 * in torchvision's or timm's state dict; those over 4 KB are computed when they are read. Errors: a name that does not exist,
 * an option the net has not, a resolution too small for its strides, a width that leaves no channel.
 *
 * @example
 * const model = create("mobilenet_v2", { classes: 10, resolution: 96, width: 0.35 });
 */
export function create(name: string, options: Partial<ArchitectureOptions> = {}): Model {
  const architecture = architectureOf(name);
  checkOptions(name, options, architecture.defaults);
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const all: ArchitectureOptions = { ...FALLBACK, ...architecture.defaults, ...given };
  try {
    return architecture.build(all);
  } catch (error) {
    throw error instanceof MinnowError && error.code === "architectures/resolution"
      ? tooSmall(name, all, architecture, error)
      : error;
  }
}

function tooSmall(
  name: string,
  options: ArchitectureOptions,
  { build, defaults }: Architecture,
  cause: MinnowError,
): MinnowError {
  const works = (resolution: number): boolean => {
    try {
      build({ ...options, resolution });
      return true;
    } catch {
      return false;
    }
  };
  let [below, enough] = [
    options.resolution,
    Math.max(options.resolution + 1, defaults.resolution ?? FALLBACK.resolution),
  ];
  while (enough - below > 1) {
    const middle = Math.floor((below + enough) / 2);
    if (works(middle)) enough = middle;
    else below = middle;
  }
  return new MinnowError(`A resolution of ${options.resolution} is too small for "${name}". ${cause.what}`, {
    code: cause.code,
    mend: `Give a resolution of ${enough} or more.`,
    cause,
  });
}
