import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { readFloats, type Tensor } from "../ir/tensor.ts";
import { parameterWeights } from "../measure/parameters.ts";
import { matcher } from "./globs.ts";

/** Weights that learn in a way of their own. */
export interface Group {
  /** Names, or patterns of them: `*` stands for any characters, `?` for one. */
  readonly match: string | readonly string[];
  /** A factor on the learning rate. */
  readonly lr?: number;
  /** Instead of the common one. */
  readonly weightDecay?: number;
}

export interface TrainableOptions {
  /** Names or patterns of weights that stay as they are. */
  readonly freeze?: readonly string[] | undefined;
  /** Names or patterns of the only weights that learn. */
  readonly only?: readonly string[] | undefined;
}

/** A weight that stays as it is, and why. */
export interface Untouched {
  readonly name: string;
  readonly why: string;
}

/** The weights of a model that can learn, and those that cannot or shall not, each with the reason. */
export async function trainableWeights(
  model: Model,
  { freeze = [], only }: TrainableOptions = {},
): Promise<{ readonly names: ReadonlySet<string>; readonly untouched: readonly Untouched[] }> {
  const parameters = parameterWeights(model);
  const [frozen, wanted] = [matcher(freeze), only === undefined ? () => true : matcher(only)];
  const names = new Set<string>();
  const untouched: Untouched[] = [];
  for (const [name, tensor] of model.graph.weights) {
    if (!parameters.has(name)) continue;
    const why = frozen(name)
      ? "frozen"
      : !wanted(name)
        ? "not among those that shall learn"
        : tensor.dtype !== "float32"
          ? `it is ${tensor.dtype}`
          : only === undefined && (await isMask(tensor))
            ? "it looks like a mask that is added to scores"
            : undefined;
    if (why === undefined) names.add(name);
    else untouched.push({ name, why });
  }
  checkPatterns([...freeze, ...(only ?? [])], [...model.graph.weights.keys()]);
  if (names.size === 0)
    throw new MinnowError(
      untouched.length === 0
        ? "The model has no weights that could learn."
        : `None of its ${untouched.length} weights can learn; "${untouched[0]?.name}", for one: ${untouched[0]?.why}.`,
      {
        code: "train/nothing-to-learn",
        mend: "Freeze fewer of them, and start from the float32 model, before it is quantized or stored as float16.",
      },
    );
  return { names, untouched };
}

/** Whether numbers are there that no weight learns: −∞, or what exporters take for it. */
const isMask = async (tensor: Tensor): Promise<boolean> => (await readFloats(tensor)).some((v) => v <= -1e4);

/** A pattern no weight fits is a mistake. */
export function checkPatterns(patterns: readonly string[], names: readonly string[]): void {
  const idle = patterns.find((pattern) => !names.some(matcher([pattern])));
  if (idle !== undefined)
    throw new MinnowError(`No weight fits "${idle}".`, {
      code: "train/pattern",
      mend: `Weights are called ${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}; * stands for any characters.`,
    });
}

/**
 * How each weight learns: by the groups it fits, the last one winning; weight decay leaves out what has fewer than two axes,
 * biases and the scales of normalizations, unless a group says otherwise.
 */
export function grouping(
  model: Model,
  groups: readonly Group[],
  weightDecay: number,
): (name: string) => { readonly lr: number; readonly weightDecay: number } {
  const patterns = groups.map(({ match }) => (typeof match === "string" ? [match] : match));
  checkPatterns(patterns.flat(), [...model.graph.weights.keys()]);
  const fits = patterns.map(matcher);
  return (name) => {
    const rank = model.graph.weights.get(name)?.shape.length ?? 0;
    let way = { lr: 1, weightDecay: rank < 2 ? 0 : weightDecay };
    for (const [i, { match: _, ...own }] of groups.entries()) if (fits[i]?.(name)) way = { ...way, ...own };
    return way;
  };
}
