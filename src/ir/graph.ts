import type { Dim } from "./dim.ts";
import type { DType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** Type of a tensor; no `shape` means not even the rank is known. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape?: readonly Dim[];
}

/** A value's type as ONNX knows it. Only tensors are computed with; the others are carried through. */
export type ValueType = { readonly denotation?: string; readonly unknown?: Unknown } & (
  | ({ readonly kind: "tensor" | "sparse"; readonly denotations?: readonly string[] } & TensorType)
  | { readonly kind: "sequence" | "optional"; readonly of: ValueType }
  | { readonly kind: "map"; readonly key: DType; readonly of: ValueType }
);

/** Protobuf fields this version does not know, as they came; written back after the known ones. */
export type Unknown = readonly Uint8Array[];

/** What every ONNX message may carry besides its meaning. */
export interface Extras {
  readonly doc?: string;
  readonly metadata?: ReadonlyMap<string, string>;
  readonly unknown?: Unknown;
}

/** A name with its declared type. */
export interface ValueInfo extends Extras {
  readonly name: string;
  readonly type?: ValueType;
}

export interface SparseTensor {
  readonly shape: readonly number[];
  readonly values: Tensor;
  readonly indices: Tensor;
  readonly unknown?: Unknown;
}

/** An attribute. Integers beyond 2⁵³ are bigints. `ref` names the attribute of the enclosing function it stands for. */
export type Attr = Extras &
  (
    | { readonly type: "float"; readonly value: number }
    | { readonly type: "int"; readonly value: number | bigint }
    | { readonly type: "string"; readonly value: Uint8Array }
    | { readonly type: "tensor"; readonly value: Tensor }
    | { readonly type: "graph"; readonly value: Graph }
    | { readonly type: "floats"; readonly value: readonly number[] }
    | { readonly type: "ints"; readonly value: readonly (number | bigint)[] }
    | { readonly type: "strings"; readonly value: readonly Uint8Array[] }
    | { readonly type: "tensors"; readonly value: readonly Tensor[] }
    | { readonly type: "graphs"; readonly value: readonly Graph[] }
    | { readonly type: "sparse"; readonly value: SparseTensor }
    | { readonly type: "sparses"; readonly value: readonly SparseTensor[] }
    | { readonly type: "type"; readonly value: ValueType }
    | { readonly type: "types"; readonly value: readonly ValueType[] }
    | { readonly type: "ref"; readonly value: string; readonly of: number }
  );

export type Attrs = Readonly<Record<string, Attr>>;

/** One application of an operator. Frozen: a pass makes new nodes, it never edits one. An input of "" is left out. */
export interface Node extends Extras {
  readonly name: string;
  readonly op: string;
  /** "" is ai.onnx. */
  readonly domain: string;
  readonly overload?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attrs: Attrs;
}

/** Nodes in topological order. Every name is written once and read any number of times. */
export interface Graph extends Extras {
  readonly name: string;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  /** Constants by name. A name that is also an input is a default that a caller may override. */
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly sparseWeights?: ReadonlyMap<string, SparseTensor>;
  readonly nodes: readonly Node[];
  /** What the file declares of inner values. A hint: types are inferred, never read from here where a rule exists. */
  readonly valueInfo: ReadonlyMap<string, ValueInfo>;
}

/** A function of the model's own: an operator defined by nodes. */
export interface FunctionDef extends Extras {
  readonly name: string;
  readonly domain: string;
  readonly overload?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Attributes without a default. */
  readonly attributes: readonly string[];
  /** Attributes with one. */
  readonly defaults: Attrs;
  readonly nodes: readonly Node[];
  readonly opsets: ReadonlyMap<string, number>;
  readonly valueInfo: ReadonlyMap<string, ValueInfo>;
}

export interface Model extends Extras {
  readonly graph: Graph;
  /** Domain ("" is ai.onnx) → opset version. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly irVersion: number;
  readonly functions: readonly FunctionDef[];
  readonly producerName?: string;
  readonly producerVersion?: string;
  readonly domain?: string;
  readonly modelVersion?: number | bigint;
}
