import type { Runtime } from "./session.ts";

/** How weights or activations are kept, as far as speed depends on it. */
export type Format =
  | "static-int8"
  | "dynamic-int8"
  | "matmul-8bit"
  | "matmul-4bit"
  | "matmul-2bit"
  | "matmul-bnb4"
  | "float16"
  | "bfloat16"
  | "storage";

/** Where a model will run; a phone's CPU counts as `mobile`. */
export type Target = Runtime | "webnn" | "mobile";

/**
 * Processors that differ in how fast they multiply 8-bit numbers: x64 with VNNI (AVX-512 or AVX), without, and 64-bit ARM with
 * dot products (ARMv8.2) or without.
 */
export type Cpu = "x64-vnni" | "x64" | "arm64-dot" | "arm64";

/** What is known of a format on a target. */
export interface Speed {
  readonly target: Target;
  /** Of the processor, where it makes a difference; absent where the figure is for all, or nobody looked. */
  readonly cpu?: Cpu;
  readonly format: Format;
  /**
   * - `fast`: faster than float32, or as fast and smaller in memory too.
   * - `same`: at float32's speed.
   * - `mixed`: faster or slower, by the model: `why` says which.
   * - `slow`: slower than float32.
   * - `absent`: the runtime has no kernel for it.
   * - `unknown`: nobody measured it.
   */
  readonly verdict: "fast" | "same" | "mixed" | "slow" | "absent" | "unknown";
  /** Time as a share of float32's in the same run, least and most; absent where nothing was measured. */
  readonly ratio?: readonly [number, number];
  /** The oldest ONNX Runtime that loads it. */
  readonly since: string;
  readonly why: string;
  readonly source: string;
}

const MEASURED = "measured: ONNX Runtime 1.30, one thread, x64 with AVX-512 VNNI";
const DOCS = "ONNX Runtime's documentation of the provider";
const NOBODY = "nobody measured it";
const GUIDE = "ONNX Runtime's documentation, Quantize ONNX models";

type Place = Target | `${Target} ${Cpu}`;
type Row = readonly [Place, Format, Speed["verdict"], readonly [number, number] | undefined, string, string, string];

const ROWS: readonly Row[] = [
  [
    "node x64-vnni",
    "static-int8",
    "fast",
    [0.3, 1],
    "1.16",
    "dense convolutions take a third; depthwise ones stay as they are",
    MEASURED,
  ],
  [
    "node x64",
    "static-int8",
    "unknown",
    undefined,
    "1.16",
    "it may be slower without VNNI, and sums of 8-bit products saturate there: weights of 7 bits (reduceRange) do not",
    GUIDE,
  ],
  [
    "node arm64-dot",
    "static-int8",
    "unknown",
    undefined,
    "1.16",
    "there are kernels that use dot products; how fast they are nobody measured here",
    GUIDE,
  ],
  [
    "node arm64",
    "static-int8",
    "unknown",
    undefined,
    "1.16",
    "it may be slower without dot products: old hardware has few instructions for 8 bits",
    GUIDE,
  ],
  ["node x64-vnni", "dynamic-int8", "fast", [0.32, 0.37], "1.16", "products of matrices take a third", MEASURED],
  [
    "node x64",
    "dynamic-int8",
    "unknown",
    undefined,
    "1.16",
    "it may be slower without VNNI, and sums of 8-bit products saturate there: weights of 7 bits (reduceRange) do not",
    GUIDE,
  ],
  [
    "node x64-vnni",
    "matmul-8bit",
    "mixed",
    [0.3, 11],
    "1.22",
    "fast with accuracyLevel 4; 9–11 times slower without, for one row",
    MEASURED,
  ],
  ["node x64-vnni", "matmul-4bit", "fast", [0.3, 0.8], "1.17", "one row takes a third with accuracyLevel 4", MEASURED],
  [
    "node x64-vnni",
    "matmul-2bit",
    "mixed",
    [0.3, 11],
    "1.24",
    "fast with accuracyLevel 4; 9–11 times slower without, for one row",
    MEASURED,
  ],
  ["node", "matmul-bnb4", "slow", undefined, "1.17", "weights are turned into float at every run", DOCS],
  ["node", "float16", "slow", undefined, "1.16", "few kernels take it: Casts stand around the rest", DOCS],
  ["node", "bfloat16", "absent", undefined, "1.16", "the CPU has no kernels for it", MEASURED],
  [
    "node",
    "storage",
    "same",
    [1, 1],
    "1.16",
    "weights become float once, at load; 4 bits and fewer need 1.24",
    MEASURED,
  ],
  [
    "wasm",
    "static-int8",
    "mixed",
    [0.45, 4.7],
    "1.16",
    "3×3 convolutions take half; depthwise ones are 3–5 times slower",
    MEASURED,
  ],
  ["wasm", "dynamic-int8", "mixed", [0.4, 1.3], "1.16", "many rows take 0.4 of the time, one row 1.3", MEASURED],
  [
    "wasm",
    "matmul-8bit",
    "slow",
    [14, 15],
    "1.22",
    "it has no kernel for it, and turns weights into float at every run",
    MEASURED,
  ],
  [
    "wasm",
    "matmul-4bit",
    "slow",
    [1.6, 17],
    "1.17",
    "it has no kernel for it: one row takes 17 times as long",
    MEASURED,
  ],
  [
    "wasm",
    "matmul-2bit",
    "slow",
    [14, 15],
    "1.24",
    "it has no kernel for it, and turns weights into float at every run",
    MEASURED,
  ],
  ["wasm", "matmul-bnb4", "slow", undefined, "1.17", "weights are turned into float at every run", DOCS],
  ["wasm", "float16", "slow", undefined, "1.16", "few kernels take it: Casts stand around the rest", DOCS],
  ["wasm", "bfloat16", "absent", undefined, "1.16", "the CPU has no kernels for it", MEASURED],
  [
    "wasm",
    "storage",
    "same",
    [1, 1],
    "1.16",
    "weights become float once, at load; 4 bits and fewer need 1.24",
    MEASURED,
  ],
  ["webgpu", "static-int8", "slow", undefined, "1.17", "it falls back to the CPU, with copies between", DOCS],
  ["webgpu", "dynamic-int8", "slow", [17, 17], "1.17", "it falls back to the CPU, with copies between", MEASURED],
  ["webgpu", "matmul-8bit", "unknown", undefined, "1.22", NOBODY, NOBODY],
  ["webgpu", "matmul-4bit", "fast", undefined, "1.17", "it has a kernel that reads an eighth of the bytes", DOCS],
  ["webgpu", "matmul-2bit", "unknown", undefined, "1.24", NOBODY, NOBODY],
  ["webgpu", "matmul-bnb4", "absent", undefined, "1.17", "it has no kernel for it", DOCS],
  ["webgpu", "float16", "fast", undefined, "1.17", "half the bytes to read, where the GPU has shader-f16", DOCS],
  ["webgpu", "bfloat16", "absent", undefined, "1.17", "it has no kernels for it", DOCS],
  ["webgpu", "storage", "same", undefined, "1.17", "weights become float once, at load", DOCS],
  ["webnn", "float16", "unknown", undefined, "1.17", NOBODY, NOBODY],
  ["webnn", "storage", "same", undefined, "1.17", "weights become float once, at load", DOCS],
  ["mobile", "static-int8", "unknown", undefined, "1.16", NOBODY, NOBODY],
  ["mobile", "storage", "same", undefined, "1.16", "weights become float once, at load", DOCS],
];

/** What is fast where, as data: a row for each target and format that something is known of, with its source. */
export const SPEEDS: readonly Speed[] = ROWS.map(([place, format, verdict, ratio, since, why, source]) => {
  const [target, cpu] = place.split(" ") as [Target, Cpu?];
  return { target, ...(cpu && { cpu }), format, verdict, ...(ratio && { ratio }), since, why, source };
});

/**
 * What is known of a format on a target, and where that makes a difference on a processor; without one, what is known of those
 * it was measured on. `unknown` where nobody measured it.
 *
 * @example
 * if (speedOf("wasm", "matmul-4bit").verdict === "slow") console.log("Keep it in dynamic int8.");
 */
export function speedOf(target: Target, format: Format, cpu?: Cpu): Speed {
  const rows = SPEEDS.filter((speed) => speed.target === target && speed.format === format);
  const own = cpu === undefined ? rows[0] : rows.find((speed) => speed.cpu === cpu);
  const common = rows.find((speed) => speed.cpu === undefined);
  return own ?? common ?? { target, format, verdict: "unknown", since: "1.16", why: NOBODY, source: NOBODY };
}
