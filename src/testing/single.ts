import { MinnowError } from "../errors.ts";
import type { Dim } from "../ir/dim.ts";
import { BITS, byteSize, type DType, isFloat } from "../ir/dtype.ts";
import type { Graph, Model, ValueInfo } from "../ir/graph.ts";
import { elements, type Tensor, type TensorData, tensorOf, viewOf } from "../ir/tensor.ts";
import { toBfloat, toHalf } from "../numeric/half.ts";
import { type Random, random } from "../numeric/random.ts";
import type { Sample, SampleInput } from "../ops/sample.ts";

/** The opset of ai.onnx a sample is written for where it names none. */
export const SAMPLE_OPSET = 21;

const inputName = (index: number): string => `x${index}`;

/** The name of the output of this index in {@link modelOf}. */
export const outputName = (index: number): string => `y${index}`;

/** How the model of a sample is made. */
export interface SingleOptions {
  /** Declares the size of an axis of an input that is fed; default the sample's own size. */
  readonly size?: (size: number, axis: number, input: number) => Dim;
  /** Seed of the constants that have no values of their own; default 1. */
  readonly seed?: number;
}

/** A model of the sample's one node: inputs `x0`, `x1` …, outputs `y0`, `y1` …, constants as weights. */
export function modelOf(sample: Sample, { size = (s) => s, seed = 1 }: SingleOptions = {}): Model {
  const inputs: ValueInfo[] = [];
  const weights = new Map<string, Tensor>();
  sample.inputs.forEach((input, i) => {
    if (input === undefined) return;
    const { dtype = "float32", shape } = input;
    if (input.constant) weights.set(inputName(i), constantOf(input, random(seed + i)));
    else
      inputs.push({
        name: inputName(i),
        type: { kind: "tensor", dtype, shape: shape.map((s, axis) => size(s, axis, i)) },
      });
  });
  const outputs = Array.from({ length: sample.outputs ?? 1 }, (_, i) => outputName(i));
  const node = {
    name: sample.op,
    op: sample.op,
    domain: sample.domain ?? "",
    inputs: sample.inputs.map((input, i) => (input === undefined ? "" : inputName(i))),
    outputs,
    attrs: sample.attrs ?? {},
  };
  const graph: Graph = {
    name: sample.op,
    inputs,
    outputs: outputs.map((name) => ({ name })),
    weights,
    nodes: [node],
    valueInfo: new Map(),
  };
  const own = sample.domain ? new Map([[sample.domain, sample.opset ?? 1]]) : new Map<string, number>();
  const opset = sample.domain ? SAMPLE_OPSET : (sample.opset ?? SAMPLE_OPSET);
  return { graph, opsets: new Map([["", opset], ...own]), irVersion: 10, functions: [] };
}

/** Numbers for every input of {@link modelOf} that is fed; the same seed gives the same ones. */
export function feedsOf(sample: Sample, seed: number): Record<string, TensorData> {
  const feeds: Record<string, TensorData> = {};
  sample.inputs.forEach((input, i) => {
    if (input === undefined || input.constant) return;
    const { dtype = "float32", shape } = input;
    const values = valuesOf(input, random(seed + i));
    const data =
      dtype === "string" ? (values as string[]) : viewOf(dtype, bytesOf(dtype, shape, values as readonly number[]));
    feeds[inputName(i)] = { dtype, shape, data };
  });
  return feeds;
}

function constantOf(input: SampleInput, next: Random): Tensor {
  const { dtype = "float32", shape } = input;
  const values = valuesOf(input, next);
  if (dtype !== "string") return tensorOf(dtype, shape, bytesOf(dtype, shape, values as readonly number[]));
  const strings = values.map((v) => new TextEncoder().encode(String(v)));
  return { dtype, shape, strings, read: async () => new Uint8Array(0) };
}

/** The sample's own values, or drawn ones: −1 … 1, of integers 0 … 7. */
function valuesOf(input: SampleInput, next: Random): readonly (number | string)[] {
  const { dtype = "float32", shape, values } = input;
  const count = elements(shape);
  if (values !== undefined) {
    if (values.length !== count)
      throw new MinnowError(`The sample gives ${values.length} numbers for the shape [${shape}].`, {
        code: "testing/sample",
      });
    return values;
  }
  const float = isFloat(dtype) || dtype.startsWith("complex");
  const { low = float ? -1 : 0, high = float ? 1 : dtype === "bool" ? 1 : Math.min(7, 2 ** (BITS[dtype] - 1) - 1) } =
    input;
  const draw = float ? () => low + (high - low) * next() : () => low + Math.floor((high - low + 1) * next());
  return Array.from({ length: count }, draw);
}

/** Numbers as `raw_data` of a type. */
function bytesOf(dtype: DType, shape: readonly number[], values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(byteSize(dtype, elements(shape)));
  const bits = BITS[dtype];
  if (bits < 8) {
    const mask = 2 ** bits - 1;
    values.forEach((v, i) => {
      const at = (i * bits) >> 3;
      bytes[at] = (bytes[at] as number) | ((v & mask) << ((i * bits) & 7));
    });
    return bytes;
  }
  const view = viewOf(dtype, bytes);
  values.forEach((v, i) => {
    if (dtype === "float16") view[i] = toHalf(v);
    else if (dtype === "bfloat16") view[i] = toBfloat(v);
    else if (view instanceof BigInt64Array || view instanceof BigUint64Array)
      view[i] = BigInt(v) - (v >= 2 ** 63 ? 1n : 0n);
    else view[i] = v;
  });
  return bytes;
}
