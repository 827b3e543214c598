import { type Dim, UNKNOWN } from "../ir/dim.ts";
import { codeOf, dtypeOf } from "../ir/dtype.ts";
import type { ValueType } from "../ir/graph.ts";
import type { Raw } from "./schema.ts";

/** A value's type, or undefined where the graph has no words for it (an opaque type, an element type it does not know). */
export function readType(raw: Raw<"Type">): ValueType | undefined {
  const type = readKind(raw);
  if (type === undefined) return undefined;
  return {
    ...type,
    ...(raw.denotation && { denotation: raw.denotation }),
    ...(raw.unknown && { unknown: raw.unknown }),
  };
}

function readKind(raw: Raw<"Type">): ValueType | undefined {
  if (raw.tensor) return tensorType("tensor", raw.tensor);
  if (raw.sparse) return tensorType("sparse", raw.sparse);
  const holder = raw.sequence ?? raw.optional ?? raw.map;
  const of = holder?.of && readType(holder.of);
  if (of === undefined) return undefined;
  if (raw.sequence) return { kind: "sequence", of };
  if (raw.optional) return { kind: "optional", of };
  const key = dtypeOf(Number(raw.map?.key ?? 0));
  return key && { kind: "map", key, of };
}

function tensorType(kind: "tensor" | "sparse", raw: Raw<"TensorType">): ValueType | undefined {
  const dtype = dtypeOf(Number(raw.dtype ?? 0));
  if (dtype === undefined) return undefined;
  if (raw.shape === undefined) return { kind, dtype };
  const dims = raw.shape.dims ?? [];
  const shape = dims.map(readDim);
  if (!dims.some((d) => d.denotation)) return { kind, dtype, shape };
  return { kind, dtype, shape, denotations: dims.map((d) => d.denotation ?? "") };
}

function readDim({ value, param }: Raw<"Dimension">): Dim {
  if (param) return param;
  return typeof value === "number" && value >= 0 ? value : UNKNOWN;
}

export function writeType(type: ValueType): Raw<"Type"> {
  const more = { denotation: type.denotation, unknown: type.unknown && [...type.unknown] };
  switch (type.kind) {
    case "tensor":
    case "sparse": {
      const { shape, denotations } = type;
      const dims = shape?.map((dim, i) => ({ ...writeDim(dim), denotation: denotations?.[i] || undefined }));
      return { [type.kind]: { dtype: codeOf(type.dtype), shape: dims && { dims } }, ...more };
    }
    case "map":
      return { map: { key: codeOf(type.key), of: writeType(type.of) }, ...more };
    default:
      return { [type.kind]: { of: writeType(type.of) }, ...more };
  }
}

const writeDim = (dim: Dim): Raw<"Dimension"> =>
  typeof dim === "number" ? { value: dim } : dim === UNKNOWN ? {} : { param: dim };
