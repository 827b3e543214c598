import { type Dim, isKnown, mulDim, productOf, sameDim, UNKNOWN } from "../ir/dim.ts";
import {
  type Applied,
  type AxesRule,
  defineOp,
  type Fact,
  type FrozenAxes,
  type Mapped,
  type OpRule,
} from "./define.ts";
import { broadcast, fact, required } from "./facts.ts";

/** Shape of numpy's matmul: [..., A, B] · [..., B, C]; a vector counts as one row or one column. */
function matmulShape(n: Applied, a: readonly Dim[] | undefined, b: readonly Dim[] | undefined): Dim[] | undefined {
  if (a === undefined || b === undefined) return undefined;
  if (a.length === 0 || b.length === 0) n.fail(`it multiplies [${a}] with [${b}]; a scalar has no axis to sum over.`);
  const [inner, outer] = [a.at(-1) as Dim, b.at(-2) ?? (b[0] as Dim)];
  if (isKnown(inner) && isKnown(outer) && inner !== outer)
    n.fail(`inputs are [${a}] and [${b}]; ${inner} columns meet ${outer} rows.`, "Check what writes its inputs.");
  const rows = a.length > 1 ? [a.at(-2) as Dim] : [];
  const columns = b.length > 1 ? [b.at(-1) as Dim] : [];
  const batch = broadcast(n, [a.slice(0, -2), b.slice(0, -2)]);
  return batch && [...batch, ...rows, ...columns];
}

/** `...ab,...bc -> ...ac`, vectors without their missing axis. */
function matmulAxes(n: Mapped, transA = false, transB = false): string | FrozenAxes {
  const [a, b] = [n.inputs[0]?.shape?.length, n.inputs[1]?.shape?.length];
  if (a === undefined || b === undefined) return { frozen: "the rank of what is multiplied is not known" };
  const left = a === 1 ? "b" : transA ? "...ba" : "...ab";
  const right = b === 1 ? "b" : transB ? "...cb" : "...bc";
  return `${left},${right} -> ...${a === 1 ? "" : "a"}${b === 1 ? "" : "c"}`;
}

const matMul = defineOp({
  name: "MatMul",
  since: 1,
  infer: (n) => [fact(required(n, 0).dtype, matmulShape(n, required(n, 0).shape, required(n, 1).shape))],
  axes: (n) => matmulAxes(n),
  quant: { kind: "contraction", weight: 1, floatOutput: true },
});

/** com.microsoft's "trans batch": the first axis moves to just before the last. */
const turned = (shape: readonly Dim[] | undefined, turn: boolean): readonly Dim[] | undefined =>
  shape && turn && shape.length > 2 ? [...shape.slice(1, -1), shape[0] as Dim, shape.at(-1) as Dim] : shape;

const swapped = (shape: readonly Dim[] | undefined, swap: boolean): readonly Dim[] | undefined =>
  shape && swap && shape.length > 1 ? [...shape.slice(0, -2), shape.at(-1) as Dim, shape.at(-2) as Dim] : shape;

const fusedSide = (n: Applied, shape: readonly Dim[] | undefined, side: "A" | "B"): readonly Dim[] | undefined =>
  swapped(turned(shape, n.int(`transBatch${side}`, 0) === 1), n.int(`trans${side}`, 0) === 1);

/** MatMul with transposed operands and a factor: com.microsoft. */
const fusedMatMul = defineOp({
  name: "FusedMatMul",
  domain: "com.microsoft",
  since: 1,
  infer: (n) => {
    const [a, b] = [required(n, 0), required(n, 1)];
    return [fact(a.dtype, matmulShape(n, fusedSide(n, a.shape, "A"), fusedSide(n, b.shape, "B")))];
  },
  axes: (n) =>
    n.int("transBatchA", 0) + n.int("transBatchB", 0) > 0
      ? { frozen: "FusedMatMul turns its batch axes" }
      : matmulAxes(n, n.int("transA", 0) === 1, n.int("transB", 0) === 1),
});

/** alpha·A′·B′ + beta·C, C broadcast to the result. */
const gemm = defineOp({
  name: "Gemm",
  since: 9,
  infer: (n) => {
    const [a, b, c] = [required(n, 0), required(n, 1), n.inputs[2]];
    const [left, right] = [swapped(a.shape, n.int("transA", 0) === 1), swapped(b.shape, n.int("transB", 0) === 1)];
    if ((left && left.length !== 2) || (right && right.length !== 2))
      n.fail(`inputs are [${a.shape}] and [${b.shape}]; both must be matrices.`);
    const shape = matmulShape(n, left, right);
    if (shape && c?.shape && c.shape.length > 2) n.fail(`C is [${c.shape}], which does not broadcast to [${shape}].`);
    if (shape && c?.shape) {
      const together = broadcast(n, [shape, c.shape]);
      if (together?.some((dim, i) => isKnown(dim) && isKnown(shape[i] as Dim) && !sameDim(dim, shape[i] as Dim)))
        n.fail(`C is [${c.shape}], which does not broadcast to [${shape}].`);
    }
    return [fact(a.dtype, shape)];
  },
  axes: (n) => {
    const a = n.int("transA", 0) === 1 ? "ba" : "ab";
    const b = n.int("transB", 0) === 1 ? "cb" : "bc";
    if (n.node.inputs.length < 3) return `${a},${b} -> ac`;
    return `${a},${b},${addend(n, n.inputs[2])} -> ac`;
  },
  quant: { kind: "contraction", weight: 1, bias: 2, floatOutput: true },
});

/** The axes of Gemm's C: those of the result, 1 where it is broadcast. */
function addend(n: Mapped, c: Fact | undefined, index = 2): string {
  if (!n.node.inputs[index]) return "";
  const shape = c?.shape ?? [];
  const result = n.results[0]?.shape ?? [];
  return shape
    .map((dim, i) => (dim === 1 && result[i + 2 - shape.length] !== 1 ? "1" : "ac"[i + 2 - shape.length]))
    .join("");
}

interface Equation {
  readonly inputs: readonly string[];
  readonly output: string;
}

/** Einsum's equation; without an arrow the output has the letters that occur once, sorted. */
export function equationOf(equation: string): Equation {
  const [left = "", right] = equation.replaceAll(" ", "").split("->");
  const inputs = left.split(",");
  if (right !== undefined) return { inputs, output: right };
  const letters = inputs.join("").replaceAll("...", "");
  const once = [...new Set(letters)].filter((c) => letters.indexOf(c) === letters.lastIndexOf(c)).sort();
  return { inputs, output: (left.includes("...") ? "..." : "") + once.join("") };
}

const einsum = defineOp({
  name: "Einsum",
  since: 12,
  infer: (n) => {
    const { inputs, output } = equationOf(n.string("equation", ""));
    if (inputs.length !== n.inputs.length)
      n.fail(`its equation has ${inputs.length} operands, it reads ${n.inputs.length}.`);
    const sizes = new Map<string, Dim>();
    const rests: (readonly Dim[])[] = [];
    for (const [i, term] of inputs.entries()) {
      const shape = n.inputs[i]?.shape;
      if (shape === undefined) return [fact(required(n, 0).dtype)];
      const [before = "", after = ""] = term.split("...");
      const letters = before.length + after.length;
      if (shape.length < letters || (!term.includes("...") && shape.length !== letters))
        n.fail(`operand ${i} is [${shape}]; its equation says "${term}".`);
      const rest = shape.length - letters;
      if (term.includes("...")) rests.push(shape.slice(before.length, before.length + rest));
      for (const [k, letter] of [...before, ...after].entries()) {
        const size = shape[k < before.length ? k : k + rest] as Dim;
        const known = sizes.get(letter);
        if (isKnown(size) && known !== undefined && isKnown(known) && size !== known && size !== 1 && known !== 1)
          n.fail(`"${letter}" is ${known} and ${size}.`);
        if (known === undefined || known === 1 || (!isKnown(known) && isKnown(size) && size !== 1))
          sizes.set(letter, size);
      }
    }
    const shared = broadcast(n, rests) ?? [];
    const shape = output
      .split("...")
      .flatMap((part, i) => [...(i === 0 ? [] : shared), ...[...part].map((c) => sizes.get(c) ?? "?")]);
    return [fact(required(n, 0).dtype, shape)];
  },
  axes: (n) => {
    const { inputs, output } = equationOf(n.string("equation", ""));
    const repeated = inputs.some(
      (term) => new Set(term.replaceAll("...", "")).size < term.replaceAll("...", "").length,
    );
    const broadcasts = inputs.some((term, i) => {
      const shape = n.inputs[i]?.shape;
      return (
        !term.includes("...") &&
        [...term].some((c, k) => shape?.[k] === 1 && inputs.some((other, j) => j !== i && sizeAt(n, other, j, c) !== 1))
      );
    });
    if (repeated || broadcasts)
      return { frozen: repeated ? "Einsum takes a diagonal of it" : "Einsum broadcasts a letter" };
    return `${inputs.join(",")} -> ${output}`;
  },
});

function sizeAt(n: Applied, term: string, operand: number, letter: string): Dim | undefined {
  const [before = "", after = ""] = term.split("...");
  const shape = n.inputs[operand]?.shape ?? [];
  const front = before.indexOf(letter);
  if (front >= 0) return shape[front];
  const back = after.indexOf(letter);
  return back < 0 ? 1 : shape[shape.length - after.length + back];
}

/** Integer matrices, zero points as numbers → int32. */
const matMulInteger = defineOp({
  name: "MatMulInteger",
  since: 10,
  infer: (n) => [fact("int32", matmulShape(n, required(n, 0).shape, required(n, 1).shape))],
  axes: (n) => withNumbers(matmulAxes(n), n),
});

function withNumbers(map: string | FrozenAxes, n: Applied): string | FrozenAxes {
  if (typeof map !== "string") return map;
  const [left, right] = map.split("->");
  return `${left}${",".repeat(Math.max(0, n.node.inputs.length - 2))} ->${right}`;
}

/** a, its scale and zero point, b, its scale and zero point, the output's scale and zero point. */
const qLinearMatMul = defineOp({
  name: "QLinearMatMul",
  since: 10,
  infer: (n) => [fact(required(n, 7).dtype, matmulShape(n, required(n, 0).shape, required(n, 3).shape))],
  axes: (n): string | AxesRule | FrozenAxes => {
    const map = matmulAxes({ ...n, inputs: [n.inputs[0], n.inputs[3]] });
    if (typeof map !== "string") return map;
    const [operands = "", right] = map.split("->");
    const [a, b] = operands.trim().split(",");
    return `${a},,,${b},,,, ->${right}`;
  },
});

/** Float A [..., K] against K×N weights of 2, 4 or 8 bits in blocks: com.microsoft. */
const matMulNBits = defineOp({
  name: "MatMulNBits",
  domain: "com.microsoft",
  since: 1,
  infer: (n) => {
    const a = required(n, 0);
    return [fact(a.dtype, a.shape && [...a.shape.slice(0, -1), n.int("N", 0)])];
  },
  axes: () => ({ frozen: "MatMulNBits packs it into blocks" }),
  macs: (n) => {
    const shape = n.results[0]?.shape ?? [];
    return shape.reduce<Dim>(mulDim, n.int("K", 0));
  },
});

/** The axes of what goes along the columns of B: one number for each, or one for all. */
const perColumn = (n: Mapped, index: number): string => {
  const shape = n.node.inputs[index] ? n.inputs[index]?.shape : undefined;
  const columns = n.results[0]?.shape?.at(-1);
  return shape?.length === 1 ? (shape[0] === 1 && columns !== 1 ? "1" : "c") : "";
};

/** The map of a product with operands after it that lie along the columns of B, or are read as numbers. */
function withColumns(map: string | FrozenAxes, n: Mapped, columns: readonly number[]): string | FrozenAxes {
  if (typeof map !== "string") return map;
  const [left, right] = map.split(" -> ");
  const more = n.node.inputs.slice(2).map((_, i) => (columns.includes(i + 2) ? perColumn(n, i + 2) : ""));
  return `${[left, ...more].join(",")} -> ${right}`;
}

/** Integer matrices a and b, their scales and zero points, and a bias → float: com.microsoft. */
const matMulIntegerToFloat = defineOp({
  name: "MatMulIntegerToFloat",
  domain: "com.microsoft",
  since: 1,
  infer: (n) => [fact(required(n, 2).dtype, matmulShape(n, required(n, 0).shape, required(n, 1).shape))],
  axes: (n) => withColumns(matmulAxes(n), n, [3, 5, 6]),
});

/** Float a, rounded by the range of all of it, against integer b with its scale, zero point and a bias: com.microsoft. */
const dynamicQuantizeMatMul = defineOp({
  name: "DynamicQuantizeMatMul",
  domain: "com.microsoft",
  since: 1,
  infer: (n) => [fact(required(n, 0).dtype, matmulShape(n, required(n, 0).shape, required(n, 1).shape))],
  axes: (n) => {
    const map = matmulAxes(n);
    // Every number of a sets its range: only the columns of b are apart from each other.
    return withColumns(typeof map === "string" ? map.replace(/\.\.\.|[ab]/g, "!$&") : map, n, [2, 3, 4]);
  },
  macs: (n) => mulDim(productOf(n.results[0]?.shape ?? [UNKNOWN]), n.inputs[0]?.shape?.at(-1) ?? UNKNOWN),
});

/** alpha·A′·B′ + C in integers; float where no scale of the output is given: com.microsoft. */
const qGemm = defineOp({
  name: "QGemm",
  domain: "com.microsoft",
  since: 1,
  infer: (n) => {
    const turn = (index: number, attribute: string) => swapped(required(n, index).shape, n.int(attribute, 0) === 1);
    const [left, right] = [turn(0, "transA"), turn(3, "transB")];
    if ((left && left.length !== 2) || (right && right.length !== 2))
      n.fail(`inputs are [${n.inputs[0]?.shape}] and [${n.inputs[3]?.shape}]; both must be matrices.`);
    const rounded = n.node.inputs[7] ? (n.inputs[8]?.dtype ?? required(n, 0).dtype) : "float32";
    return [fact(rounded, matmulShape(n, left, right))];
  },
  axes: (n) => {
    const [a, b] = [n.int("transA", 0) === 1 ? "ba" : "ab", n.int("transB", 0) === 1 ? "cb" : "bc"];
    const all = [a, "", "", b, perColumn(n, 4), perColumn(n, 5), addend(n, n.inputs[6], 6)];
    return `${n.node.inputs.map((_, i) => all[i] ?? "").join(",")} -> ac`;
  },
});

export const contractions: readonly OpRule[] = [
  dynamicQuantizeMatMul,
  einsum,
  fusedMatMul,
  gemm,
  matMul,
  matMulInteger,
  matMulIntegerToFloat,
  matMulNBits,
  qGemm,
  qLinearMatMul,
];
