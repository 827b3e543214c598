import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { encode } from "./encode.ts";
import type { Raw } from "./schema.ts";

/** Fields written by hand, for what the writer never writes. */
export const varint = (number: number, value: number | bigint): Uint8Array =>
  new BinaryWriter().tag(number, WireType.Varint).int64(value).finish();

export const blob = (number: number, bytes: Uint8Array): Uint8Array =>
  new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(bytes).finish();

export const packed = (number: number, values: readonly (number | bigint)[]): Uint8Array => {
  const body = new BinaryWriter();
  for (const value of values) body.int64(value);
  return blob(number, body.finish());
};

export const fixed32 = (number: number, ...values: number[]): Uint8Array => {
  const writer = new BinaryWriter();
  for (const value of values) writer.tag(number, WireType.Bit32).float(value);
  return writer.finish();
};

export const bytesOf = (array: Float32Array | Float64Array | BigInt64Array | Int32Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** The parts as one array. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, p) => sum + p.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.byteLength;
  }
  return out;
}

/** The bytes of a model file around a graph. */
export function modelFile(graph: Raw<"Graph">, more: Raw<"Model"> = {}): Uint8Array {
  const model: Raw<"Model"> = { irVersion: 8, opsets: [{ version: 17 }], graph: { name: "g", ...graph }, ...more };
  return joined(encode("Model", model).parts as Uint8Array[]);
}

/** A value of float [2]. */
export const floats2 = (name: string): Raw<"ValueInfo"> => ({
  name,
  type: { tensor: { dtype: 1, shape: { dims: [{ value: 2 }] } } },
});

/** y = Relu(x): the smallest model there is. */
export const RELU: Raw<"Graph"> = {
  inputs: [floats2("x")],
  outputs: [floats2("y")],
  nodes: [{ op: "Relu", inputs: ["x"], outputs: ["y"] }],
};

/** A float32 tensor of `count` elements with its data in the file. */
export const weight = (name: string, count: number, value = 1): Raw<"Tensor"> => ({
  name,
  dims: [count],
  dtype: 1,
  rawData: bytesOf(new Float32Array(count).fill(value)),
});
