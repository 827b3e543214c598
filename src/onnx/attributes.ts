import type { Attr } from "../ir/graph.ts";

/** An attribute that stands for one of the enclosing function's. */
export const REF = "ref";

export type AttributeField =
  | "float"
  | "int"
  | "string"
  | "tensor"
  | "graph"
  | "floats"
  | "ints"
  | "strings"
  | "tensors"
  | "graphs"
  | "sparse"
  | "sparses"
  | "typeProto"
  | "typeProtos";

interface AttributeType {
  readonly type: Exclude<Attr["type"], typeof REF>;
  /** The number of the type in `AttributeProto.AttributeType`. */
  readonly number: number;
  /** The field of the message that holds the value. */
  readonly field: AttributeField;
}

export const ATTRIBUTE_TYPES: readonly AttributeType[] = [
  { type: "float", number: 1, field: "float" },
  { type: "int", number: 2, field: "int" },
  { type: "string", number: 3, field: "string" },
  { type: "tensor", number: 4, field: "tensor" },
  { type: "graph", number: 5, field: "graph" },
  { type: "floats", number: 6, field: "floats" },
  { type: "ints", number: 7, field: "ints" },
  { type: "strings", number: 8, field: "strings" },
  { type: "tensors", number: 9, field: "tensors" },
  { type: "graphs", number: 10, field: "graphs" },
  { type: "sparse", number: 11, field: "sparse" },
  { type: "sparses", number: 12, field: "sparses" },
  { type: "type", number: 13, field: "typeProto" },
  { type: "types", number: 14, field: "typeProtos" },
];
