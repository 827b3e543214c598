import { brotliSize } from "#platform";
import { byteSize } from "../ir/dtype.ts";
import type { Model } from "../ir/graph.ts";
import { elements } from "../ir/tensor.ts";
import { toBytes } from "../onnx/index.ts";

/** Size of a model as a file, and as a page downloads it. */
export interface Size {
  readonly bytes: number;
  /** Brotli at quality 11, window 24; undefined where it was not asked for, or the platform has no brotli. */
  readonly brotliBytes?: number;
}

/** Measures the file a model makes. `brotli` takes about 2.5 s a megabyte. */
export async function sizeOf(model: Model, options: { readonly brotli?: boolean } = {}): Promise<Size> {
  const bytes = await toBytes(model);
  const brotliBytes = options.brotli === true ? await brotliSize([bytes]) : undefined;
  return { bytes: bytes.byteLength, ...(brotliBytes !== undefined && { brotliBytes }) };
}

/** Bytes of all weights, without reading any. */
export function weightBytes(model: Model): number {
  let total = 0;
  for (const { dtype, shape, strings } of model.graph.weights.values())
    total += strings?.reduce((a, s) => a + s.byteLength, 0) ?? byteSize(dtype, elements(shape));
  return total;
}
