import type { Dim } from "../ir/dim.ts";
import type { DType } from "../ir/dtype.ts";
import type { Graph, Node } from "../ir/graph.ts";

/** What is known of a value before anything runs: its type and, of a small integer tensor or constant, its numbers. */
export interface Fact {
  readonly dtype: DType;
  /** Absent when not even the rank is known. */
  readonly shape?: readonly Dim[];
  /** The elements, row-major, at most {@link MAX_VALUES}: numbers, or polynomials in symbolic sizes. */
  readonly value?: readonly Dim[];
}

/** Values are followed up to this many elements: shapes, axes, bounds, scales. */
export const MAX_VALUES = 512;

/** One application of an operator, as `infer` sees it. Readers of attributes take the fallback ONNX defines. */
export interface Applied {
  readonly node: Node;
  /** Version of the node's domain that the model imports. */
  readonly opset: number;
  /** A fact per input; undefined where the input is left out or nothing is known of it. */
  readonly inputs: readonly (Fact | undefined)[];
  /** Number of outputs the node names, trailing ones included. */
  readonly outputs: number;
  /** How many graphs the node lies inside, the model's own not counted. */
  readonly nesting: number;
  int(name: string, fallback: number): number;
  float(name: string, fallback: number): number;
  string(name: string, fallback: string): string;
  ints(name: string): readonly number[] | undefined;
  has(name: string): boolean;
  /** Infers a graph the node carries, its inputs being given these facts; gives the facts of its outputs. */
  graph(graph: Graph, inputs: readonly (Fact | undefined)[]): readonly (Fact | undefined)[];
  /** Throws a MinnowError `shape/mismatch` at this node. */
  fail(what: string, mend?: string): never;
}

/** What `axes` sees: an application with the facts of its outputs too. */
export interface Mapped extends Applied {
  readonly results: readonly (Fact | undefined)[];
}

/** A map in the notation of docs/axes.md, with sizes that letters have and numbers that must change with a size. */
export interface AxesRule {
  readonly map: string;
  /** Sizes no operand shows, by letter: `{ g: 4 }`. */
  readonly sizes?: Readonly<Record<string, number>>;
  /**
   * Numbers the node holds, by attribute name or input index: a size expression (a sum of letters, products of letters and numbers, or `@k`,
   * the sizes of output k), a list of them, or `#`: positions along the axis that the map cuts or repeats.
   */
  readonly holds?: Readonly<Record<string, string | readonly string[]>>;
}

/** An operator whose axes cannot be followed, with the reason shown to users: `Softmax runs along it`. */
export interface FrozenAxes {
  readonly frozen: string;
}

/**
 * How an operator quantizes.
 * - `contraction`: an activation against a weight, summed in integers; the weight's scale lies along the axis that reaches the output.
 *   `floatOutput` where runtimes sum in integers even when the output stays float.
 * - `arithmetic`: computes in integers on inputs with scales of their own, and gives its output a scale of its own (Add, Mul, Concat).
 * - `transparent`: moves or picks elements; the output has the scale of the input (Reshape, MaxPool). `when`: only where that
 *   holds of a node; others stay in float (Resize that interpolates).
 * - `clamp`: only cuts off; absorbed where its one reader quantizes with a range inside its own (Relu, Clip).
 * - `range`: integers in and out, and the output's range is known: `range` gives it (Sigmoid, Softmax).
 */
export type QuantRule =
  | { readonly kind: "contraction"; readonly weight: number; readonly bias?: number; readonly floatOutput?: boolean }
  | { readonly kind: "arithmetic"; readonly inputs?: readonly number[] }
  | { readonly kind: "transparent"; when?(node: Node): boolean }
  | { readonly kind: "clamp" }
  | { readonly kind: "range"; readonly range: readonly [number, number] };

/**
 * How a positive factor for each index of an axis passes from inputs to outputs, where the map carries that axis.
 * - `all`: multiplied are the outputs when every input is (Add, Concat).
 * - `first`: when the first input is, whatever the others hold (Relu, AveragePool).
 * - `any`: when one of the inputs is, and no other (Mul, MatMul).
 */
export type FactorRule = "all" | "first" | "any";

/** All that Minnow knows of one operator. */
export interface OpRule {
  readonly name: string;
  /** "" (default) is ai.onnx. */
  readonly domain?: string;
  /** The oldest opset whose form `infer` and `axes` are written for; older models go through the pass `upgrade`. */
  readonly since: number;
  /** Output facts from input facts, one per output (missing ones may be left off). Throws through `fail` where the inputs cannot go together. */
  infer(n: Applied): readonly (Fact | undefined)[];
  /** How the axes of the inputs flow to the outputs; absent where that has not been said: every axis is then frozen. */
  axes?(n: Mapped): string | AxesRule | FrozenAxes;
  /** Multiply-adds, where the product of the axis letters does not say it. */
  macs?(n: Mapped): Dim;
  readonly quant?: QuantRule;
  /** How factors pass; left out: as `quant` says of contractions and of what moves or picks elements, else not at all. */
  factor?(n: Applied): FactorRule | undefined;
  /** Whether the output is linear in the inputs that `factor` speaks of, taken together, so that a rotation passes as well. */
  readonly linear?: boolean;
  /** Whether the output of this application is the square of its first input. */
  square?(n: Applied): boolean;
  /** Whether the output is the input times a number that depends on its length alone, its gains apart (RMSNormalization). */
  readonly isotropic?: boolean;
  /** For what only cuts off: the lowest and the highest number it lets through; NaN where that is not known. */
  bounds?(n: Applied): readonly [number, number];
  /** Inputs that are running statistics: float weights, but no parameters. */
  readonly statistics?: readonly number[];
  /** The input that scales every channel of what was normalized: where it is near 0, the channel says little. */
  readonly scale?: number;
  /** Same inputs, same outputs: false for random numbers. Default true. */
  readonly deterministic?: boolean;
}

/** Declares a rule. The identity function, with its type checked. */
export const defineOp = (rule: OpRule): OpRule => rule;

/** Key of a rule: `Conv`, or `com.microsoft:FusedMatMul`. */
export const keyOf = (op: string, domain = ""): string =>
  domain === "" || domain === "ai.onnx" ? op : `${domain}:${op}`;
