/** Bytes at hand, or bytes that lie elsewhere (a file, a computation) until someone reads them. */
export type Data = Uint8Array | Elsewhere;

export interface Elsewhere {
  readonly length: number;
  read(range?: { readonly offset: number; readonly length: number }): Promise<Uint8Array>;
}

/**
 * ONNX's messages: for each field our name, its number in onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto)
 * and its kind. `int` is any varint; `[]` marks repeated fields. `data` is bytes, and `data32`, `data64`, `dataInt`
 * are lists of fixed 32-bit, fixed 64-bit and varint numbers, whose content stays in the file when it is large.
 * A field that is not listed is kept as it came.
 */
export const SCHEMA = {
  Model: {
    irVersion: [1, "int"],
    producerName: [2, "string"],
    producerVersion: [3, "string"],
    domain: [4, "string"],
    modelVersion: [5, "int"],
    doc: [6, "string"],
    graph: [7, "Graph"],
    opsets: [8, "OperatorSet[]"],
    metadata: [14, "Entry[]"],
    functions: [25, "Function[]"],
  },
  Graph: {
    nodes: [1, "Node[]"],
    name: [2, "string"],
    weights: [5, "Tensor[]"],
    doc: [10, "string"],
    inputs: [11, "ValueInfo[]"],
    outputs: [12, "ValueInfo[]"],
    valueInfo: [13, "ValueInfo[]"],
    sparseWeights: [15, "SparseTensor[]"],
    metadata: [16, "Entry[]"],
  },
  Node: {
    inputs: [1, "string[]"],
    outputs: [2, "string[]"],
    name: [3, "string"],
    op: [4, "string"],
    attrs: [5, "Attribute[]"],
    doc: [6, "string"],
    domain: [7, "string"],
    overload: [8, "string"],
    metadata: [9, "Entry[]"],
  },
  Attribute: {
    name: [1, "string"],
    float: [2, "float"],
    int: [3, "int"],
    string: [4, "bytes"],
    tensor: [5, "Tensor"],
    graph: [6, "Graph"],
    floats: [7, "float[]"],
    ints: [8, "int[]"],
    strings: [9, "bytes[]"],
    tensors: [10, "Tensor[]"],
    graphs: [11, "Graph[]"],
    doc: [13, "string"],
    typeProto: [14, "Type"],
    typeProtos: [15, "Type[]"],
    type: [20, "int"],
    ref: [21, "string"],
    sparse: [22, "SparseTensor"],
    sparses: [23, "SparseTensor[]"],
  },
  Tensor: {
    dims: [1, "int[]"],
    dtype: [2, "int"],
    floatData: [4, "data32[]"],
    int32Data: [5, "dataInt[]"],
    stringData: [6, "bytes[]"],
    int64Data: [7, "dataInt[]"],
    name: [8, "string"],
    rawData: [9, "data"],
    doubleData: [10, "data64[]"],
    uint64Data: [11, "dataInt[]"],
    doc: [12, "string"],
    external: [13, "Entry[]"],
    location: [14, "int"],
    metadata: [16, "Entry[]"],
  },
  SparseTensor: {
    values: [1, "Tensor"],
    indices: [2, "Tensor"],
    dims: [3, "int[]"],
  },
  ValueInfo: {
    name: [1, "string"],
    type: [2, "Type"],
    doc: [3, "string"],
    metadata: [4, "Entry[]"],
  },
  Type: {
    tensor: [1, "TensorType"],
    sequence: [4, "Element"],
    map: [5, "MapType"],
    denotation: [6, "string"],
    sparse: [8, "TensorType"],
    optional: [9, "Element"],
  },
  TensorType: { dtype: [1, "int"], shape: [2, "Shape"] },
  Element: { of: [1, "Type"] },
  MapType: { key: [1, "int"], of: [2, "Type"] },
  Shape: { dims: [1, "Dimension[]"] },
  Dimension: { value: [1, "int"], param: [2, "string"], denotation: [3, "string"] },
  Function: {
    name: [1, "string"],
    inputs: [4, "string[]"],
    outputs: [5, "string[]"],
    attributes: [6, "string[]"],
    nodes: [7, "Node[]"],
    doc: [8, "string"],
    opsets: [9, "OperatorSet[]"],
    domain: [10, "string"],
    defaults: [11, "Attribute[]"],
    valueInfo: [12, "ValueInfo[]"],
    overload: [13, "string"],
    metadata: [14, "Entry[]"],
  },
  OperatorSet: { domain: [1, "string"], version: [2, "int"] },
  Entry: { key: [1, "string"], value: [2, "string"] },
} as const;

export type Schema = typeof SCHEMA;
export type MessageName = keyof Schema;

interface Scalars {
  string: string;
  bytes: Uint8Array;
  int: number | bigint;
  float: number;
  data: Data;
  data32: number | Elsewhere;
  data64: bigint | Elsewhere;
  dataInt: number | bigint | Elsewhere;
}

type Value<Kind> = Kind extends `${infer Each}[]`
  ? Value<Each>[]
  : Kind extends keyof Scalars
    ? Scalars[Kind]
    : Kind extends MessageName
      ? Raw<Kind>
      : never;

/** A message as the wire has it: only the fields that are there. */
export type Raw<Name extends MessageName> = {
  -readonly [F in keyof Schema[Name]]?:
    | (Schema[Name][F] extends readonly [number, infer Kind] ? Value<Kind> : never)
    | undefined;
} & {
  /** Fields the table does not know, tags included. */
  unknown?: Uint8Array[] | undefined;
};

/** One line of the table, taken apart. */
export interface Field {
  readonly name: string;
  readonly number: number;
  readonly kind: keyof Scalars | "message";
  readonly many: boolean;
  /** The message it holds, where it holds one. */
  readonly message: MessageName | undefined;
}

/** The fields of each message in the order of their numbers, which is the order they are written in. */
export const FIELDS: Readonly<Record<MessageName, readonly Field[]>> = each((name) =>
  Object.entries(SCHEMA[name]).map(([field, [number, kind]]: [string, readonly [number, string]]) => {
    const many = kind.endsWith("[]");
    const one = many ? kind.slice(0, -2) : kind;
    const message = Object.hasOwn(SCHEMA, one) ? (one as MessageName) : undefined;
    return { name: field, number, many, message, kind: message === undefined ? (one as keyof Scalars) : "message" };
  }),
);

/** The field of a message that has this number. */
export const fieldOf = (message: MessageName, number: number): Field | undefined => BY_NUMBER[message].get(number);

const BY_NUMBER = each((name) => new Map(FIELDS[name].map((f) => [f.number, f])));

/** The messages that may hold data which stays in the file. */
export const HOLDS_DATA: ReadonlySet<MessageName> = new Set<MessageName>([
  "Model",
  "Graph",
  "Node",
  "Attribute",
  "Tensor",
  "SparseTensor",
  "Function",
]);

function each<T>(make: (name: MessageName) => T): Record<MessageName, T> {
  const names = Object.keys(SCHEMA) as MessageName[];
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<MessageName, T>;
}
