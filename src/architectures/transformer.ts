import { MinnowError } from "../errors.ts";
import type { ArchitectureOptions, TextOptions } from "./architecture.ts";
import { deeper } from "./architecture.ts";

/** The sizes of a transformer. */
export type TransformerSizes = Pick<TextOptions, "layers" | "dimension" | "heads" | "inner">;

/** Sizes multiplied: width takes whole heads, which keep their size, and the middle of the feed-forward network with them. */
export function scaled<S extends TransformerSizes>(
  sizes: S,
  { width, depth }: Pick<ArchitectureOptions, "width" | "depth">,
): S {
  const { layers, dimension, heads, inner } = sizes;
  const size = dimension / heads;
  if (!Number.isInteger(size))
    throw new MinnowError(`${dimension} channels cannot be shared out among ${heads} heads.`, {
      code: "architectures/heads",
      mend: `Give a dimension that is a multiple of ${heads}, or another number of heads.`,
    });
  const kept = Math.max(1, Math.round(heads * width));
  return {
    ...sizes,
    layers: deeper(layers, depth),
    heads: kept,
    dimension: size * kept,
    inner: Math.max(1, Math.round(inner * width)),
  };
}
