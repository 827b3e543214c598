import { floatAttr, intAttr, intsAttr, stringAttr } from "../ir/attrs.ts";
import type { Node } from "../ir/graph.ts";
import { lazyTensor, SMALL_BYTES, type Tensor } from "../ir/tensor.ts";
import { isReal, readNumbers, roundTo } from "./numbers.ts";
import type { Site } from "./rewrite.ts";

/** A node that is linear in its first input with constant weights: Conv, ConvTranspose, Gemm, or MatMul by a matrix. */
export interface Linear {
  readonly node: Node;
  readonly weight: Tensor;
  readonly outputs: number;
  readonly inputs: number;
  /** Axis of the output, from the end, that the output channels lie on. */
  readonly axisFromEnd: number;
  /** Axis of the weight that they lie on. */
  readonly outAxis: number;
  /** The output and the input channel that an element of the weight connects. */
  outOf(index: number): number;
  inOf(index: number): number;
  readonly bias: Tensor | undefined;
  /** What the bias is multiplied by. */
  readonly beta: number;
  /** Whether places outside the input are read as zeros. */
  readonly padded: boolean;
}

/** A gain and a shift for every channel: y = gain·x + shift. */
export interface Affine {
  readonly gain: ArrayLike<number>;
  readonly shift: ArrayLike<number>;
}

/** The node as a linear one; undefined where it is none, or where its weight or bias is no constant of a real type. */
export function linearOf(site: Pick<Site, "constant">, node: Node | undefined): Linear | undefined {
  if (node === undefined || node.domain !== "") return undefined;
  const weight = site.constant(node.inputs[1] ?? "");
  const biasName = node.inputs[2] ?? "";
  const bias = biasName === "" ? undefined : site.constant(biasName);
  if (weight === undefined || !isReal(weight.dtype) || (biasName !== "" && bias === undefined)) return undefined;
  const { shape } = weight;
  const shared = { node, weight, bias, beta: 1, padded: false };
  const [a = 1, b = 1] = shape;
  if (node.op === "Conv" && shape.length > 2) {
    const inner = shape.slice(2).reduce((x, y) => x * y, 1);
    const groups = intAttr(node, "group", 1);
    const perGroup = a / groups;
    const outOf = (i: number) => Math.floor(i / (b * inner));
    const inOf = (i: number) => Math.floor(outOf(i) / perGroup) * b + (Math.floor(i / inner) % b);
    const padded = isPadded(node);
    return {
      ...shared,
      outputs: a,
      inputs: b * groups,
      axisFromEnd: shape.length - 2,
      outAxis: 0,
      outOf,
      inOf,
      padded,
    };
  }
  if (node.op === "ConvTranspose" && shape.length > 2) {
    const inner = shape.slice(2).reduce((x, y) => x * y, 1);
    const groups = intAttr(node, "group", 1);
    const inOf = (i: number) => Math.floor(i / (b * inner));
    const outOf = (i: number) => Math.floor(inOf(i) / (a / groups)) * b + (Math.floor(i / inner) % b);
    return {
      ...shared,
      outputs: b * groups,
      inputs: a,
      axisFromEnd: shape.length - 2,
      outAxis: 1,
      outOf,
      inOf,
      padded: true,
    };
  }
  if (shape.length !== 2 || !(node.op === "Gemm" || node.op === "MatMul")) return undefined;
  const flipped = node.op === "Gemm" && intAttr(node, "transB", 0) === 1;
  const beta = node.op === "Gemm" ? floatAttr(node, "beta", 1) : 1;
  if (bias?.shape.slice(0, -1).some((size) => size !== 1)) return undefined;
  const [row, column] = [(i: number) => Math.floor(i / b), (i: number) => i % b];
  return flipped
    ? { ...shared, beta, outputs: a, inputs: b, axisFromEnd: 0, outAxis: 0, outOf: row, inOf: column }
    : { ...shared, beta, outputs: b, inputs: a, axisFromEnd: 0, outAxis: 1, outOf: column, inOf: row };
}

const isPadded = (node: Node): boolean =>
  stringAttr(node, "auto_pad", "NOTSET").startsWith("SAME") || (intsAttr(node, "pads")?.some((p) => p !== 0) ?? false);

/** Computes the affine function of its output into the node. */
export async function absorbAfter(site: Site, linear: Linear, { gain, shift }: Affine): Promise<void> {
  const { outOf, outputs, weight, beta } = linear;
  const bias = await biasOf(linear);
  const moved = Array.from({ length: outputs }, (_, o) => (bias[o] as number) * at(gain, o) + at(shift, o) / beta);
  await rewrite(
    site,
    linear,
    mapped(weight, (value, i) => value * at(gain, outOf(i))),
    moved,
  );
}

/** Computes the affine function of its input into the node, which reads `source` from then on. */
export async function absorbBefore(site: Site, linear: Linear, { gain, shift }: Affine, source: string): Promise<void> {
  const { inOf, outOf, weight, beta } = linear;
  const moved = await biasOf(linear);
  const alpha = floatAttr(linear.node, "alpha", 1);
  for (const [i, value] of (await readNumbers(weight)).entries())
    moved[outOf(i)] = (moved[outOf(i)] as number) + (alpha * value * at(shift, inOf(i))) / beta;
  await rewrite(
    site,
    linear,
    mapped(weight, (value, i) => value * at(gain, inOf(i))),
    moved,
    source,
  );
}

const at = (values: ArrayLike<number>, channel: number): number => values[values.length === 1 ? 0 : channel] as number;

/** The bias in double, one number per output channel. */
async function biasOf({ bias, outputs }: Linear): Promise<Float64Array> {
  if (bias === undefined) return new Float64Array(outputs);
  const values = await readNumbers(bias);
  return Float64Array.from({ length: outputs }, (_, o) => at(values, o));
}

/** The tensor with every number changed, in double and rounded once; a large one is computed when someone reads it. */
function mapped(tensor: Tensor, change: (value: number, index: number) => number): Tensor | Promise<Tensor> {
  const { dtype, shape } = tensor;
  const compute = async () => roundTo(dtype, shape, (await readNumbers(tensor)).map(change));
  if (tensor.bytes !== undefined && tensor.bytes.byteLength <= SMALL_BYTES) return compute();
  return lazyTensor(dtype, shape, async () => (await compute()).read());
}

async function rewrite(
  site: Site,
  { node, outputs, weight, bias }: Linear,
  scaled: Tensor | Promise<Tensor>,
  moved: ArrayLike<number>,
  source = node.inputs[0] ?? "",
): Promise<void> {
  const w = put(site, node.inputs[1] ?? "", await scaled);
  const zero = bias === undefined && Array.from(moved).every((v) => v === 0);
  if (zero) {
    site.edit.change(node, { inputs: [source, w] });
    return;
  }
  const tensor = roundTo(weight.dtype, [outputs], moved);
  const name = node.inputs[2] ?? "";
  const b = name === "" ? site.edit.weight(`${node.outputs[0]}.bias`, tensor) : put(site, name, tensor);
  site.edit.change(node, { op: node.op === "MatMul" ? "Gemm" : node.op, inputs: [source, w, b] });
}

/** Keeps the name of a weight that only one node reads; who shares it gets a copy. */
export function put({ edit }: Pick<Site, "edit">, name: string, tensor: Tensor): string {
  if (edit.constant(name) === undefined || edit.isOutput(name) || edit.readersOf(name).length !== 1)
    return edit.weight(name, tensor);
  edit.setWeight(name, tensor);
  return name;
}
