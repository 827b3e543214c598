import { MinnowError } from "../errors.ts";
import { subgraphs } from "../ir/attrs.ts";
import type { Graph, Model } from "../ir/graph.ts";
import { type Pass, sequence } from "../passes/index.ts";
import { quantizeDynamic } from "./dynamic.ts";
import { convertFloat16 } from "./float16.ts";
import type { RoundingMethod } from "./rounding/index.ts";
import { quantizeWeights } from "./weight-only.ts";

/** The types that Transformers.js loads a model in, by the names it has for them. */
export type Mode = "fp16" | "int8" | "uint8" | "q8" | "q4" | "q4f16" | "q2" | "q2f16" | "bnb4";

/** What a file of each type is called: `model_q4f16.onnx`. Source: Transformers.js, `DEFAULT_DTYPE_SUFFIX_MAPPING`. */
export const SUFFIXES: Readonly<Record<Mode, string>> = {
  fp16: "_fp16",
  int8: "_int8",
  uint8: "_uint8",
  q8: "_quantized",
  q4: "_q4",
  q4f16: "_q4f16",
  q2: "_q2",
  q2f16: "_q2f16",
  bnb4: "_bnb4",
};

export interface ModeOptions {
  /** For q4 and q2, 32 by default; for bnb4, 64. */
  readonly blockSize?: number;
  /** For q4 and q2; default true. */
  readonly symmetric?: boolean;
  /** For q4 and q2; default 0, whatever the runtime takes. */
  readonly accuracyLevel?: 0 | 1 | 2 | 3 | 4;
  /** How q4 and q2 are rounded; default `rtn`. */
  readonly method?: RoundingMethod;
  /** 7 bits for int8, uint8 and q8. */
  readonly reduceRange?: boolean;
  /** Convolutions in int8, uint8 and q8 as well, though slower than in float. */
  readonly convolutions?: boolean;
  /** Operators to leave in float32 where there is float16. */
  readonly opBlockList?: readonly string[];
}

/** Operators beside which Transformers.js's models have unsigned weights. */
const UNSIGNED: ReadonlySet<string> = new Set(["Conv", "GroupQueryAttention", "MultiHeadAttention"]);

/** The type of the weights that q8 has in a model: uint8 where it has convolutions or fused attention, else int8. */
export const weightTypeOf = ({ graph }: Model): "int8" | "uint8" => (hasUnsigned(graph) ? "uint8" : "int8");

const hasUnsigned = (graph: Graph): boolean =>
  graph.nodes.some((node) => UNSIGNED.has(node.op) || subgraphs(node).some((inner) => hasUnsigned(inner.graph)));

/**
 * The pass that makes a model of a type Transformers.js knows: int8, uint8 and q8 quantize dynamically; q4 and q2 are
 * weights in blocks of 32, symmetric; bnb4 is NF4 in blocks of 64; what ends in f16 is then converted to float16.
 * Source: the quantization script that Transformers.js had until 2026.
 *
 * @example
 * const { model: small } = await quantizeMode("q4f16").run(model);
 */
export function quantizeMode(mode: Mode, options: ModeOptions = {}): Pass {
  if (!(mode in SUFFIXES))
    throw new MinnowError(`There is no type ${JSON.stringify(mode)}.`, {
      code: "quantize/option",
      mend: `Give one of ${Object.keys(SUFFIXES).join(", ")}.`,
    });
  const { blockSize, symmetric = true, accuracyLevel = 0, method = "rtn" } = options;
  const { reduceRange = false, convolutions = false } = options;
  const half = convertFloat16({ opBlockList: options.opBlockList ?? [] });
  const blocks = (bits: 2 | 4) =>
    quantizeWeights({ bits, symmetric, accuracyLevel, method, ...(blockSize !== undefined && { blockSize }) });
  const dynamic = (weightType: "int8" | "uint8") => quantizeDynamic({ weightType, reduceRange, convolutions });
  switch (mode) {
    case "fp16":
      return half;
    case "q4":
      return blocks(4);
    case "q2":
      return blocks(2);
    case "q4f16":
      return sequence([blocks(4), half], mode);
    case "q2f16":
      return sequence([blocks(2), half], mode);
    case "bnb4":
      return quantizeWeights({ levels: "nf4", ...(blockSize !== undefined && { blockSize }) });
    case "q8":
      return { name: mode, options: {}, run: (model) => dynamic(weightTypeOf(model)).run(model) };
    default:
      return dynamic(mode);
  }
}
