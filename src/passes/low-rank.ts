import { floatAttr, intAttr, ints, intsAttr } from "../ir/attrs.ts";
import type { GraphEdit } from "../ir/edit.ts";
import type { Attrs, Graph, Node } from "../ir/graph.ts";
import { elements, type Tensor } from "../ir/tensor.ts";
import { isReal, readNumbers, roundTo } from "./numbers.ts";

/**
 * How a layer becomes two.
 * - `outputs`: the layer itself with fewer outputs, then a matrix over channels: W [out, in·k·k] ≈ U·V.
 * - `spatial`: a kernel k×1, then one 1×k (Jaderberg et al. 2014, arXiv 1405.3866, scheme 2; closed form of Tai et al. 2016, arXiv
 *   1511.06067): W as a matrix [in·k, out·k] ≈ U·V.
 */
export type Split = "outputs" | "spatial";

/** A layer that is a matrix product with a constant weight which it alone reads: MatMul, Gemm, Conv of one group. */
export interface LinearLayer {
  readonly node: Node;
  readonly weight: string;
  readonly outputs: number;
  /** Numbers an output is made of: in·k·k. */
  readonly inner: number;
  /** Sizes of the kernel; none for a matrix. */
  readonly kernel: readonly number[];
  /** The axis of its output that the outputs lie on, from the end. */
  readonly axisFromEnd: number;
  /** Whether it takes a bias of one number an output. */
  readonly takesBias: boolean;
}

/** A matrix, row-major. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

/** The layers of a graph that can become two, in its order. */
export function linearLayers(graph: Graph): LinearLayer[] {
  // Copies of a tied weight under other names share its tensor.
  const readers = new Map<Tensor | undefined, number>();
  for (const { inputs } of graph.nodes)
    for (const tensor of inputs.map((name) => graph.weights.get(name)))
      readers.set(tensor, (readers.get(tensor) ?? 0) + 1);
  const fed = new Set([...graph.inputs, ...graph.outputs].map(({ name }) => name));
  return graph.nodes.flatMap((node): LinearLayer[] => {
    const weight = node.inputs[1] ?? "";
    const tensor = graph.weights.get(weight);
    if (node.domain !== "" || tensor === undefined || !isReal(tensor.dtype) || fed.has(weight)) return [];
    if (readers.get(tensor) !== 1) return [];
    const found = formOf(node, tensor, graph.weights);
    return found === undefined ? [] : [{ node, weight, ...found }];
  });
}

function formOf(node: Node, { shape }: Tensor, weights: Graph["weights"]) {
  const [a = 1, b = 1] = shape;
  const bias = node.inputs[2] ?? "";
  const plain = bias === "" || (weights.get(bias)?.shape.length === 1 && elements(weights.get(bias)!.shape) > 0);
  if (node.op === "Conv" && shape.length > 2 && intAttr(node, "group", 1) === 1 && plain)
    return {
      outputs: a,
      inner: elements(shape.slice(1)),
      kernel: shape.slice(2),
      axisFromEnd: shape.length - 2,
      takesBias: true,
    };
  const isMatrix = shape.length === 2 && (node.op === "MatMul" || node.op === "Gemm");
  if (!isMatrix || !plain) return undefined;
  const [outputs, inner] = isTurned(node) ? [a, b] : [b, a];
  const takesBias =
    node.op === "Gemm" && floatAttr(node, "beta", 1) === 1 && (bias === "" || weights.get(bias)?.shape[0] === outputs);
  if (node.op === "Gemm" && (floatAttr(node, "alpha", 1) !== 1 || !takesBias)) return undefined;
  return { outputs, inner, kernel: [], axisFromEnd: 0, takesBias };
}

/** Whether the weight has its outputs first. */
const isTurned = (node: Node): boolean => node.op === "Conv" || intAttr(node, "transB", 0) === 1;

/** Whether a kernel can become one k×1 and one 1×k. */
export const isSpatial = ({ kernel }: LinearLayer): boolean => kernel.length === 2 && kernel.every((size) => size > 1);

/** The weight as the matrix that a split approximates. */
export async function matrixOf(layer: LinearLayer, tensor: Tensor, split: Split): Promise<Matrix> {
  const { outputs, inner, kernel, node } = layer;
  const values = await readNumbers(tensor);
  if (split === "outputs")
    return { rows: outputs, columns: inner, values: isTurned(node) ? values : transposed(values, inner, outputs) };
  const kx = kernel[1] ?? 1;
  const [rows, columns] = [inner / kx, outputs * kx];
  const out = new Float64Array(values.length);
  // [o, i, y, x] → [(i y), (o x)]
  for (let o = 0; o < outputs; o++)
    for (let r = 0; r < rows; r++)
      for (let x = 0; x < kx; x++) out[r * columns + o * kx + x] = values[(o * rows + r) * kx + x]!;
  return { rows, columns, values: out };
}

/** The numbers of both weights for each rank, and the multiply-adds for each place of the layer's output. */
export function costOfRank(
  { outputs, inner, kernel, node }: LinearLayer,
  split: Split,
): { numbers: number; macs: number } {
  const [, kx = 1] = split === "spatial" ? kernel : [];
  const [first, second] = [inner / kx, outputs * kx];
  // The first of two kernels has not moved in steps along the width yet.
  const wider = split === "spatial" ? (intsAttr(node, "strides")?.[1] ?? 1) : 1;
  return { numbers: first + second, macs: first * wider + second };
}

/**
 * Puts two layers in the place of one: weight ≈ left·right, [rows, rank]·[rank, columns] of {@link matrixOf}. A bias given takes the
 * place of the layer's.
 */
export function putFactors(
  { graph, edit: e }: { readonly graph: Graph; readonly edit: GraphEdit },
  layer: LinearLayer,
  split: Split,
  { left, right, rank, bias }: { left: Float64Array; right: Float64Array; rank: number; bias?: Float64Array },
): void {
  const { node, weight } = layer;
  const { dtype } = graph.weights.get(weight)!;
  const [first, second] = split === "spatial" ? spatial(layer, left, right, rank) : channels(layer, left, right, rank);
  const between = e.fresh(`${node.outputs[0]}.rank`);
  const put = (part: string, { shape, values }: Part) => e.weight(`${weight}.${part}`, roundTo(dtype, shape, values));
  const own = node.inputs[2] ?? "";
  const name =
    bias === undefined
      ? own
      : e.weight(own === "" ? `${node.outputs[0]}.bias` : own, roundTo(dtype, [bias.length], bias));
  e.replace(
    node,
    {
      op: node.op,
      name: e.fresh(node.name === "" ? "rank" : `${node.name}.rank`),
      inputs: [node.inputs[0] ?? "", put("first", first)],
      outputs: [between],
      attrs: first.attrs,
    },
    {
      op: node.op,
      name: node.name,
      inputs: [between, put("second", second), ...(name === "" ? [] : [name])],
      outputs: node.outputs,
      attrs: second.attrs,
    },
  );
  for (const old of bias === undefined ? [weight] : [weight, own])
    if (graph.weights.has(old) && e.readersOf(old).length === 0 && !e.isOutput(old)) e.removeWeight(old);
}

interface Part {
  readonly shape: readonly number[];
  readonly values: Float64Array;
  readonly attrs: Attrs;
}

function channels(
  { node, outputs, inner, kernel }: LinearLayer,
  left: Float64Array,
  right: Float64Array,
  rank: number,
): readonly [Part, Part] {
  if (node.op === "Conv") {
    const ones = kernel.map(() => 1);
    return [
      { shape: [rank, inner / elements(kernel), ...kernel], values: right, attrs: node.attrs },
      { shape: [outputs, rank, ...ones], values: left, attrs: { kernel_shape: ints(ones) } },
    ];
  }
  // transA belongs to the first alone.
  const { transA: _, ...attrs } = node.attrs;
  return isTurned(node)
    ? [
        { shape: [rank, inner], values: right, attrs: node.attrs },
        { shape: [outputs, rank], values: left, attrs },
      ]
    : [
        { shape: [inner, rank], values: transposed(right, rank, inner), attrs: node.attrs },
        { shape: [rank, outputs], values: transposed(left, outputs, rank), attrs },
      ];
}

/** Down first, then across; strides, pads and dilations of each direction stay with it. */
function spatial(
  { node, outputs, inner, kernel }: LinearLayer,
  left: Float64Array,
  right: Float64Array,
  rank: number,
): readonly [Part, Part] {
  const [ky, kx] = kernel as [number, number];
  const width = inner / (ky * kx);
  const [strides, dilations] = [intsAttr(node, "strides") ?? [1, 1], intsAttr(node, "dilations") ?? [1, 1]];
  const pads = intsAttr(node, "pads");
  const along = (axis: 0 | 1): Attrs => {
    const only = (list: readonly number[]) =>
      ints(list.map((value, i) => (i % 2 === axis ? value : list === pads ? 0 : 1)));
    return {
      ...node.attrs,
      kernel_shape: only(kernel),
      strides: only(strides),
      dilations: only(dilations),
      ...(pads && { pads: only(pads) }),
    };
  };
  // right is [rank, (o x)]; a kernel is [o, rank, 1, x].
  const across = new Float64Array(right.length);
  for (let r = 0; r < rank; r++)
    for (let o = 0; o < outputs; o++)
      for (let x = 0; x < kx; x++) across[(o * rank + r) * kx + x] = right[(r * outputs + o) * kx + x]!;
  return [
    { shape: [rank, width, ky, 1], values: transposed(left, width * ky, rank), attrs: along(0) },
    { shape: [outputs, rank, 1, kx], values: across, attrs: along(1) },
  ];
}

/** [rows, columns] as [columns, rows]. */
export function transposed(values: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c]!;
  return out;
}
