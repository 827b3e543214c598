import { type Dim, isKnown, mulDim, UNKNOWN } from "../ir/dim.ts";
import { type DType, dtypeOf } from "../ir/dtype.ts";
import { type Applied, defineOp, type FrozenAxes, type Mapped, type OpRule } from "./define.ts";
import { frozen, lettersFor, nameable } from "./elements.ts";
import { axisOf, broadcast, fact, required, sumOf } from "./facts.ts";

const MICROSOFT = "com.microsoft";

/** The type QuantizeLinear writes: its zero point's, else `output_dtype`, else uint8. */
function quantizedType(n: Applied): DType {
  const zero = n.inputs[2]?.dtype;
  if (zero !== undefined) return zero;
  const code = n.int("output_dtype", 0);
  return code === 0 ? "uint8" : (dtypeOf(code) ?? "uint8");
}

/** A scale is one number, one for each index of `axis`, or one for each block of `block_size` along it. */
function checkScale(n: Applied): void {
  const [x, scale] = [n.inputs[0]?.shape, n.inputs[1]?.shape];
  if (x === undefined || scale === undefined || scale.length !== 1 || scale[0] === 1) return;
  const size = x[axisOf(n, n.int("axis", 1), x.length)];
  if (typeof size === "number" && typeof scale[0] === "number" && size !== scale[0])
    n.fail(`input is [${x}] and its scale [${scale}] along axis ${n.int("axis", 1)}.`);
}

/** Elementwise, but the scale lies along `axis`. */
function scaledAxes(n: Mapped): string | FrozenAxes {
  const [x, scale] = [n.inputs[0]?.shape, n.inputs[1]?.shape];
  if (x === undefined || scale === undefined) return { frozen: `the rank of what ${n.node.op} takes is not known` };
  if (scale.length > 1) return { frozen: `${n.node.op} has a scale for each block` };
  const letters = [..."abcdefghijkl"].slice(0, x.length);
  const single = scale.length === 0 || (scale[0] === 1 && x[axisOf(n, n.int("axis", 1), x.length)] !== 1);
  const along = scale.length === 0 ? "" : single ? "1" : (letters[axisOf(n, n.int("axis", 1), x.length)] ?? "");
  const parameters = n.node.inputs.slice(1).map((name) => (name === "" ? "" : along));
  return `${[letters.join(""), ...parameters].join(",")} -> ${letters.join("")}`;
}

const quantizeLinear = (domain = "", since = 13): OpRule =>
  defineOp({
    name: "QuantizeLinear",
    domain,
    since,
    infer: (n) => {
      checkScale(n);
      return [fact(quantizedType(n), required(n, 0).shape)];
    },
    axes: scaledAxes,
  });

const dequantizeLinear = (domain = "", since = 13): OpRule =>
  defineOp({
    name: "DequantizeLinear",
    domain,
    since,
    infer: (n) => {
      checkScale(n);
      const code = n.int("output_dtype", 0);
      const dtype = code === 0 ? required(n, 1).dtype : (dtypeOf(code) ?? "float32");
      return [fact(dtype, required(n, 0).shape)];
    },
    axes: scaledAxes,
  });

/** y, its scale and its zero point, from the range of what it is given. */
const dynamicQuantizeLinear = defineOp({
  name: "DynamicQuantizeLinear",
  since: 11,
  infer: (n) => [fact("uint8", required(n, 0).shape), fact("float32", []), fact("uint8", [])],
  axes: () => ({ frozen: "DynamicQuantizeLinear takes its range over all of it" }),
});

/** a, its scale and zero point, b, its scale and zero point, the scale and zero point of the result. */
const qLinearBinary = (name: string): OpRule =>
  defineOp({
    name,
    domain: MICROSOFT,
    since: 1,
    infer: (n) => [fact(required(n, 0).dtype, broadcast(n, [required(n, 0).shape, required(n, 3).shape]))],
    axes: (n) => `...,,,...,,${",".repeat(Math.max(0, n.node.inputs.length - 6))} -> ...`,
  });

/** x, its scale and zero point, the scale and zero point of the result. */
const qLinearUnary = (name: string): OpRule =>
  defineOp({
    name,
    domain: MICROSOFT,
    since: 1,
    infer: (n) => [fact(required(n, 0).dtype, required(n, 0).shape)],
    axes: (n) =>
      name === "QLinearSoftmax"
        ? { frozen: "QLinearSoftmax runs along it" }
        : `...${",".repeat(n.node.inputs.length - 1)} -> ...`,
  });

const qLinearGlobalAveragePool = defineOp({
  name: "QLinearGlobalAveragePool",
  domain: MICROSOFT,
  since: 1,
  infer: (n) => {
    const { dtype, shape } = required(n, 0);
    const last = n.int("channels_last", 0) === 1;
    const keeps = (axis: number): boolean => axis === 0 || axis === (last ? (shape?.length ?? 0) - 1 : 1);
    return [
      fact(
        dtype,
        shape?.map((dim, axis): Dim => (keeps(axis) ? dim : 1)),
      ),
    ];
  },
  axes: () => ({ frozen: "QLinearGlobalAveragePool was made by a runtime, after pruning" }),
});

/** The scale and zero point of the result, then x, its scale and zero point, again and again. */
const qLinearConcat = defineOp({
  name: "QLinearConcat",
  domain: MICROSOFT,
  since: 1,
  infer: (n) => {
    const inputs = n.node.inputs.flatMap((_, i) => (i % 3 === 2 ? [required(n, i)] : []));
    const shapes = inputs.map((f) => f.shape);
    const rank = shapes.find((shape) => shape !== undefined)?.length;
    const dtype = inputs[0]?.dtype ?? required(n, 1).dtype;
    if (rank === undefined || shapes.some((shape) => shape === undefined)) return [fact(dtype)];
    const axis = axisOf(n, n.int("axis", 0), rank);
    const odd = shapes.find((shape) => shape?.length !== rank);
    if (odd !== undefined) n.fail(`it joins [${shapes.join("] and [")}]; they need the same rank.`);
    const shape = Array.from({ length: rank }, (_, i): Dim => {
      const sizes = shapes.map((s) => s?.[i] ?? UNKNOWN);
      if (i === axis) return sumOf(sizes);
      const known = sizes.filter(isKnown);
      if (known.some((size) => size !== known[0])) n.fail(`it joins [${shapes.join("] and [")}] along axis ${axis}.`);
      return known[0] ?? sizes.find((size) => size !== UNKNOWN) ?? UNKNOWN;
    });
    return [fact(dtype, shape)];
  },
  axes: (n) => {
    const rank = n.results[0]?.shape?.length;
    const count = Math.floor((n.inputs.length - 2) / 3);
    if (rank === undefined || !nameable(rank + count)) return frozen(n, "joins too many axes");
    const axis = axisOf(n, n.int("axis", 0), rank);
    const [letters, parts] = [lettersFor(rank), lettersFor(count, rank)];
    const at = (term: string): string => letters.map((letter, i) => (i === axis ? term : letter)).join("");
    return `,,${parts.map((part) => `${at(part)},,`).join(",")} -> ${at(`(${parts.join("+")})`)}`;
  },
});

/** Rows of a table of integers in blocks along `quantize_axis`, as floats: data, indices, scales, zero points. */
const gatherBlockQuantized = defineOp({
  name: "GatherBlockQuantized",
  domain: MICROSOFT,
  since: 1,
  infer: (n) => {
    const [data, indices, scales] = [required(n, 0), required(n, 1), required(n, 2)];
    if (data.shape === undefined || indices.shape === undefined) return [fact(scales.dtype)];
    const rank = data.shape.length;
    const at = axisOf(n, n.int("gather_axis", 0), rank);
    const packed = data.dtype === "uint8" ? 8 / n.int("bits", 4) : 1;
    const row = data.shape.map((size, i) => (i === rank - 1 ? mulDim(size, packed) : size));
    return [fact(scales.dtype, [...row.slice(0, at), ...indices.shape, ...row.slice(at + 1)])];
  },
  axes: () => ({ frozen: "GatherBlockQuantized unpacks it from blocks" }),
});

export const quantizers: readonly OpRule[] = [
  dequantizeLinear(),
  dequantizeLinear(MICROSOFT, 1),
  dynamicQuantizeLinear,
  gatherBlockQuantized,
  qLinearBinary("QLinearAdd"),
  qLinearBinary("QLinearMul"),
  qLinearConcat,
  qLinearGlobalAveragePool,
  qLinearUnary("QLinearLeakyRelu"),
  qLinearUnary("QLinearSigmoid"),
  qLinearUnary("QLinearSoftmax"),
  quantizeLinear(),
  quantizeLinear(MICROSOFT, 1),
];
