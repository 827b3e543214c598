import type { DType } from "../ir/dtype.ts";
import type { Attr } from "../ir/graph.ts";

/** One input of a sample. Without `values` its numbers are drawn, seeded. */
export interface SampleInput {
  readonly shape: readonly number[];
  /** Default float32. */
  readonly dtype?: DType;
  /** The numbers themselves, row-major. */
  readonly values?: readonly (number | string)[];
  /** Bounds of drawn numbers; default −1 … 1, for integers 0 … 7. */
  readonly low?: number;
  readonly high?: number;
  /** A constant of the model rather than something it is fed with. */
  readonly constant?: boolean;
}

/** One application of an operator that the laws run in ONNX Runtime. */
export interface Sample {
  readonly op: string;
  readonly domain?: string;
  /** Opset of ai.onnx (default 21), or of `domain` where that is another one (default 1). */
  readonly opset?: number;
  readonly attrs?: Readonly<Record<string, Attr>>;
  /** undefined leaves an optional input out. */
  readonly inputs: readonly (SampleInput | undefined)[];
  /** How many outputs to ask for; default 1. */
  readonly outputs?: number;
}
