import { float, int, string } from "../ir/attrs.ts";
import { equationOf } from "./contraction.ts";
import type { Backward, Gradients } from "./gradient.ts";
import { inverse } from "./move.grad.ts";
import { scaledBy, unscaled } from "./scaled.ts";

/** Which operands of a product are transposed, and its factor. */
interface Turns {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly alpha?: number;
}

/** alpha · A′B′ of two matrices. */
const gemm = (g: Backward, a: string, b: string, { transA = false, transB = false, alpha = 1 }: Turns): string =>
  g.op("Gemm", [a, b], { transA: int(+transA), transB: int(+transB), ...(alpha !== 1 && { alpha: float(alpha) }) });

const rows = (shape: readonly number[]): number => shape.slice(0, -1).reduce((a, b) => a * b, 1);

/**
 * The gradients of Y = alpha · A′B′ over the last two axes, ranks 2 and up, with respect to A and B.
 * Against one matrix, all rows of A are one matrix too: no batch of weight gradients is made to be summed. Of dY = a · U, a
 * number a row, what is small takes a: dA = a · (U B′ᵀ), dB′ = (a · A)ᵀ U.
 */
function products(g: Backward, a: string, b: string, dy: string, turns: Turns): readonly (string | undefined)[] {
  const { transA = false, transB = false, alpha = 1 } = turns;
  const [left, right] = [g.shape(a), g.shape(b)];
  if (!transA && rows(right) === right.at(-2)) {
    const flat = (v: string, shape = g.shape(v)) => g.reshape(v, [rows(shape), shape.at(-1) as number]);
    const { of: matrixY, factor } = g.size(a) < g.size(dy) ? unscaled(g, flat(dy), 0) : { of: flat(dy) };
    const [matrixA, matrixB] = [scaledBy(g, flat(a), factor), flat(b)];
    const weight = transB ? ([matrixY, matrixA] as const) : ([matrixA, matrixY] as const);
    return [
      g.wants(0)
        ? g.reshape(scaledBy(g, gemm(g, matrixY, matrixB, { transB: !transB, alpha }), factor), left)
        : undefined,
      g.wants(1) ? g.reshape(gemm(g, ...weight, { transA: true, alpha }), right) : undefined,
    ];
  }
  const scaled = g.mul(dy, alpha);
  const toA = () =>
    transA ? g.matMul(b, scaled, { transA: transB, transB: true }) : g.matMul(scaled, b, { transB: !transB });
  const toB = () =>
    transB ? g.matMul(scaled, a, { transA: true, transB: transA }) : g.matMul(a, scaled, { transA: !transA });
  return [g.wants(0) ? g.sumTo(toA(), left) : undefined, g.wants(1) ? g.sumTo(toB(), right) : undefined];
}

/** Vectors as one row or one column, and the gradients back in their shapes. */
function matMul(g: Backward, turns: Turns = {}): readonly (string | undefined)[] {
  const [a, b] = g.x as [string, string];
  const [left, right] = [g.shape(a), g.shape(b)];
  const [row, column] = [left.length === 1, right.length === 1];
  const shape = [...g.shape(g.y)];
  if (column) shape.push(1);
  if (row) shape.splice(-1, 0, 1);
  const [wide, tall] = [row ? g.reshape(a, [1, ...left]) : a, column ? g.reshape(b, [...right, 1]) : b];
  const [da, db] = products(g, wide, tall, g.reshape(g.dy, shape), {
    ...turns,
    ...(row && { transA: false }),
    ...(column && { transB: false }),
  });
  return [da && g.reshape(da, left), db && g.reshape(db, right)];
}

/** com.microsoft's "trans batch" moves the first axis to just before the last: undone, it is a product as any. */
function fusedMatMul(g: Backward): readonly (string | undefined)[] {
  const turns = {
    transA: g.int("transA", 0) === 1,
    transB: g.int("transB", 0) === 1,
    alpha: g.float("alpha", 1),
  };
  const batch = (["transBatchA", "transBatchB"] as const).map((name) => g.int(name, 0) === 1);
  if (!batch.includes(true)) return matMul(g, turns);
  const perms = g.x.map((name, i) => {
    const axes = [...Array(g.rank(name)).keys()];
    return batch[i] ? [...axes.slice(1, -1), 0, axes.at(-1) as number] : axes;
  });
  const [a, b] = g.x.map((name, i) => g.transpose(name, perms[i] as number[])) as [string, string];
  return products(g, a, b, g.dy, turns).map((d, i) => d && g.transpose(d, inverse(perms[i] as number[])));
}

function gemmGradient(g: Backward): readonly (string | undefined)[] {
  const c = g.x[2];
  const turns = { transA: g.int("transA", 0) === 1, transB: g.int("transB", 0) === 1, alpha: g.float("alpha", 1) };
  const bias = c && g.wants(2) ? g.mul(g.sumTo(g.dy, g.shape(c)), g.float("beta", 1)) : undefined;
  return [...products(g, ...(g.x.slice(0, 2) as [string, string]), g.dy, turns), bias];
}

/** The equation with a letter for every axis: those of an ellipsis are aligned at their ends. */
function spelledOut(g: Backward): { readonly inputs: readonly string[]; readonly output: string } {
  const { inputs, output } = equationOf(g.text("equation", ""));
  const used = new Set([...inputs, output].join(""));
  const free = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"].filter((c) => !used.has(c));
  const rest = (rank: number) => free.slice(0, rank).reverse().join("");
  const ranks = inputs.map((term, i) => g.rank(g.x[i] as string) - term.replace("...", "").length);
  return {
    inputs: inputs.map((term, i) => term.replace("...", rest(ranks[i] as number))),
    output: output.replace("...", rest(Math.max(...ranks.filter((_, i) => inputs[i]?.includes("..."))))),
  };
}

/**
 * The gradient of one operand: the equation with the output's gradient in its place. A letter only it has was summed
 * away: all along it get the same. A letter it has twice took a diagonal: the rest gets nothing.
 */
function einsumTo(g: Backward, operand: number, inputs: readonly string[], output: string): string {
  const [term, shape] = [inputs[operand] as string, g.shape(g.x[operand] as string)];
  const others = inputs.flatMap((other, i) => (i === operand ? [] : [{ term: other, value: g.x[i] as string }]));
  const parts = output === "" ? others : [{ term: output, value: g.dy }, ...others];
  const sizes = new Map<string, number>();
  for (const { term: t, value } of parts)
    [...t].forEach((c, k) => {
      sizes.set(c, Math.max(sizes.get(c) ?? 1, g.shape(value)[k] as number));
    });
  const kept = [...new Set(term)].filter((c) => sizes.get(c) === shape[term.indexOf(c)]);
  let result = g.dy;
  if (parts.length > 0 && !(parts.length === 1 && parts[0]?.term === kept.join(""))) {
    const equation = `${parts.map((p) => p.term).join(",")}->${kept.join("")}`;
    result = g.op(
      "Einsum",
      parts.map((p) => p.value),
      { equation: string(equation) },
    );
    if (output === "") result = g.mul(result, g.dy);
  } else if (output === "" && parts.length > 0) result = g.mul((parts[0] as { value: string }).value, g.dy);
  const first = (k: number) => term.indexOf(term[k] as string) === k;
  result = g.reshape(
    result,
    shape.map((size, k) => (first(k) && kept.includes(term[k] as string) ? size : 1)),
  );
  const dtype = g.dtype(g.dy);
  shape.forEach((size, k) => {
    const at = term.indexOf(term[k] as string);
    if (at === k) return;
    const eye = Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
    const around = shape.map((_, axis) => (axis === k || axis === at ? size : 1));
    result = g.mul(result, g.constant(dtype, around, eye));
  });
  return g.expand(result, shape);
}

const integers = { missing: "it multiplies integers: train with QuantizeLinear and DequantizeLinear around a MatMul" };

export const contractionGradients: Gradients = {
  // d(AB) = dA B + A dB: dA = dY Bᵀ, dB = Aᵀ dY
  MatMul: (g) => matMul(g),
  // Y = αA′B′
  "com.microsoft:FusedMatMul": fusedMatMul,
  // Y = αA′B′ + βC
  Gemm: gemmGradient,
  // yₒ = Σ Πᵢ xᵢ: each operand gets Σ dyₒ Π of the others, over the letters it does not have
  Einsum: (g) => {
    const { inputs, output } = spelledOut(g);
    return inputs.map((_, i) => (g.wants(i) ? einsumTo(g, i, inputs, output) : undefined));
  },
  "com.microsoft:DynamicQuantizeMatMul": integers,
  MatMulInteger: integers,
  "com.microsoft:MatMulIntegerToFloat": integers,
  "com.microsoft:MatMulNBits": { missing: "its weights are packed: train before they are" },
  "com.microsoft:QGemm": integers,
  QLinearMatMul: integers,
};
