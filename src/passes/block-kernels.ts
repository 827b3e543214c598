import type { Attrs } from "../ir/graph.ts";
import type { Emitter } from "../ops/emit.ts";

/** Emits a float operator on blocked channels, whose output has this shape. */
export type Emit = (op: string, inputs: readonly string[], shape: readonly number[], attrs?: Attrs) => string;

/**
 * A kernel [M, C, kh, kw] as ONNX Runtime's blocked convolutions read it: `block` output channels together, filled up with
 * zeros, and before them `inner` input channels: `block` of them where the input is blocked, 1 where it is not or where each
 * channel has a kernel of its own.
 */
export function blockedKernels(g: Emitter, w: string, block: number, inner: number): string {
  const [filters, channels, ...kernel] = g.shape(w) as [number, number, ...number[]];
  const [made, taken] = [Math.ceil(filters / block) * block, Math.ceil(channels / inner) * inner];
  const filled = g.pad(w, [0, 0, 0, 0, made - filters, taken - channels, 0, 0]);
  const parts = g.reshape(filled, [made / block, block, taken / inner, inner, ...kernel]);
  return g.reshape(g.transpose(parts, [0, 2, 4, 5, 3, 1]), [made, taken, ...kernel]);
}
