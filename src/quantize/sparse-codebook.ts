import { int } from "../ir/attrs.ts";
import { codeOf, type DType } from "../ir/dtype.ts";
import type { GraphEdit } from "../ir/edit.ts";
import type { Node } from "../ir/graph.ts";
import { elements, float32s, int64s, tensorFrom, tensorOf } from "../ir/tensor.ts";

/**
 * Where the numbers of a weight that are not 0 stand:
 * - `gaps`: how far each is from the one before, a byte each; a longer way is gone in steps of 255 onto further zeros.
 * - `mask`: a bit for each number of the weight.
 */
export interface Positions {
  readonly form: "gaps" | "mask";
  readonly bytes: Uint8Array;
  /**
   * Of each number that is written its place in the codebook: of zeros that gaps step onto, too, and of one before all,
   * which nothing reads, with a mask.
   */
  readonly indices: Uint8Array;
  readonly table: Float32Array;
}

/**
 * A weight of at most 255 different numbers besides 0 as positions and indices of what is not 0, in the form of fewer bytes, if
 * compressed that is less than one index for every number; undefined where it is not. Source: Han et al., "Deep Compression",
 * arXiv 1510.00149.
 */
export function positionsOf(values: Float32Array, table: Float32Array): Positions | undefined {
  const kept = table.filter((value) => value !== 0);
  if (kept.length === table.length || kept.length > 255) return undefined;
  const forms = [gapsOf(values, kept), maskOf(values, kept)];
  const size = (form: Positions) => form.bytes.length + form.indices.length;
  const [best, other] = forms.sort((a, b) => size(a) - size(b)) as [Positions, Positions];
  const compressed = ({ bytes, indices }: Positions) => coded(bytes) + coded(indices);
  const least = compressed(other) < 0.97 * compressed(best) ? other : best;
  return compressed(least) + GRAPH < coded(indicesOf(values, table)) ? least : undefined;
}

/** Bytes that the nodes of {@link emitPositions} take more than one Gather, compressed. */
const GRAPH = 150;

/** What bytes come to if each different one has a whole number of bits (Huffman 1952), as in brotli and gzip. */
export function coded(bytes: Uint8Array): number {
  const counts = new Float64Array(256);
  for (const byte of bytes) counts[byte]!++;
  const heap = [...counts].filter((count) => count > 0);
  let bits = heap.length === 1 ? bytes.length : 0;
  while (heap.length > 1) {
    heap.sort((a, b) => b - a);
    const both = heap.pop()! + heap.pop()!;
    bits += both;
    heap.push(both);
  }
  return bits / 8;
}

function indicesOf(values: Float32Array, table: Float32Array): Uint8Array {
  const places = new Map([...table].map((value, i) => [value, i]));
  return Uint8Array.from(values, (value) => places.get(value)!);
}

/** The codebook begins with 0 where a gap is longer than a byte. */
function gapsOf(values: Float32Array, kept: Float32Array): Positions {
  const gaps: number[] = [];
  const steps: number[] = [];
  let last = 0;
  for (const [i, value] of values.entries()) {
    if (value === 0) continue;
    for (; i - last > 255; last += 255) {
      gaps.push(255);
      steps.push(0);
    }
    gaps.push(i - last);
    steps.push(value);
    last = i;
  }
  const table = steps.includes(0) ? Float32Array.of(0, ...kept) : kept;
  return { form: "gaps", bytes: Uint8Array.from(gaps), indices: indicesOf(Float32Array.from(steps), table), table };
}

function maskOf(values: Float32Array, kept: Float32Array): Positions {
  const bytes = new Uint8Array(Math.ceil(values.length / 8));
  for (const [i, value] of values.entries()) if (value !== 0) bytes[i >> 3]! |= 1 << (i & 7);
  const written = values.filter((value) => value !== 0);
  const indices = new Uint8Array(1 + written.length);
  indices.set(indicesOf(written, kept), 1);
  return { form: "mask", bytes, indices, table: kept };
}

/**
 * Writes nodes that make the weight. Gaps are summed to places, and ScatterElements puts the numbers there. The bits of a
 * mask are summed to how many numbers there were up to each place, and Gather takes the last of them where the bit is set.
 * All of it ONNX Runtime computes when it loads the model; NonZero, which says the same in one node, it does not.
 */
export function emitPositions(edit: GraphEdit, positions: Positions, to: string, shape: readonly number[]): void {
  const { form, bytes, indices, table } = positions;
  const emit = (op: string, inputs: readonly string[], attrs: Node["attrs"] = {}, output = edit.fresh("p")): string =>
    edit.add({ op, name: "", inputs, outputs: [output], attrs })[0]!;
  const uint8s = (data: Uint8Array) => edit.weight("i", tensorOf("uint8", [data.length], data));
  const ints = (values: readonly number[]) => edit.weight("d", int64s(values));
  const cast = (from: string, dtype: DType) => emit("Cast", [from], { to: int(codeOf(dtype)) });
  const sums = (from: string) => emit("CumSum", [cast(from, "int32"), edit.weight("d", tensorFrom("int32", [], [0]))]);
  const book = edit.weight("k", float32s([table.length], table));
  const numbers = emit("Gather", [book, cast(uint8s(indices), "int32")]);
  const size = elements(shape);
  if (form === "gaps") {
    const zeros = emit("ConstantOfShape", [ints([size])]);
    const placed = emit("ScatterElements", [zeros, sums(uint8s(bytes)), numbers]);
    emit("Reshape", [placed, ints(shape)], {}, to);
    return;
  }
  const powers = edit.weight("b", tensorFrom("uint8", [8], [1, 2, 4, 8, 16, 32, 64, 128]));
  const bits = emit("BitwiseAnd", [emit("Unsqueeze", [uint8s(bytes), ints([1])]), powers]);
  const all = emit("Reshape", [cast(bits, "bool"), ints([-1])]);
  const set = size % 8 === 0 ? all : emit("Slice", [all, ints([0]), ints([size])]);
  const last = emit("Gather", [numbers, sums(set)]);
  const spread = emit("Where", [set, last, edit.weight("z", float32s([], [0]))]);
  emit("Reshape", [spread, ints(shape)], {}, to);
}
