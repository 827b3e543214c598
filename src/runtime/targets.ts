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

/** What is known of a format on a target. */
export interface Speed {
  readonly target: Target;
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

type Row = readonly [Target, Format, Speed["verdict"], readonly [number, number] | undefined, string, string, string];

const ROWS: readonly Row[] = [
  [
    "node",
    "static-int8",
    "fast",
    [0.3, 1],
    "1.16",
    "dense convolutions take a third; depthwise ones stay as they are",
    MEASURED,
  ],
  ["node", "dynamic-int8", "fast", [0.32, 0.37], "1.16", "products of matrices take a third", MEASURED],
  [
    "node",
    "matmul-8bit",
    "mixed",
    [0.3, 11],
    "1.22",
    "fast with accuracyLevel 4; 9–11 times slower without, for one row",
    MEASURED,
  ],
  ["node", "matmul-4bit", "fast", [0.3, 0.8], "1.17", "one row takes a third with accuracyLevel 4", MEASURED],
  [
    "node",
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
export const SPEEDS: readonly Speed[] = ROWS.map(([target, format, verdict, ratio, since, why, source]) => ({
  target,
  format,
  verdict,
  ...(ratio && { ratio }),
  since,
  why,
  source,
}));

/**
 * What is known of a format on a target; `unknown` where nobody measured it.
 *
 * @example
 * if (speedOf("wasm", "matmul-4bit").verdict === "slow") console.log("Keep it in dynamic int8.");
 */
export const speedOf = (target: Target, format: Format): Speed =>
  SPEEDS.find((speed) => speed.target === target && speed.format === format) ?? {
    target,
    format,
    verdict: "unknown",
    since: "1.16",
    why: NOBODY,
    source: NOBODY,
  };
