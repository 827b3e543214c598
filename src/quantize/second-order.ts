import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Model, ValueInfo } from "../ir/graph.ts";
import { float32s, int64s, type Tensor, type TensorData } from "../ir/tensor.ts";
import { withOutputs } from "../measure/compare.ts";
import { solveDefinite } from "../numeric/cholesky.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { type Grid, type Matrix, panelsOf, type RoundedMatrix, type Rounding, transpose } from "./blocks.ts";
import { calibrationBatches, numbersOf } from "./calibrate.ts";
import { type Product, productOf } from "./products.ts";
import { type AdaRoundOptions, adaRound } from "./rounding/adaround.ts";
import { type GptqOptions, gptq } from "./rounding/gptq.ts";
import type { CalibrateOptions } from "./types.ts";

/** Options of {@link roundBySecondOrder}. */
export interface SecondOrderOptions extends CalibrateOptions, GptqOptions, AdaRoundOptions {
  /** Learns what is rounded up ({@link adaRound}) instead of making errors good in later columns. */
  readonly adaRound?: boolean;
  readonly data: Dataset;
  /** The names of the weights to round. */
  readonly weights: ReadonlySet<string>;
}

/** Bytes that the Hessian of one input may take. */
const MOST_BYTES = 2 ** 31;

/**
 * Rounds the matrices of a model's products by {@link gptq} or {@link adaRound}, in the order in which they are computed: the inputs of each are
 * measured on a model in which everything before it is rounded already, and what that did to them is made good as far as
 * the matrix can. The sums of x·xᵀ are computed inside the graph.
 * Takes a run over the examples for every few inputs.
 */
export async function roundBySecondOrder(
  model: Model,
  grid: Grid,
  rounding: Rounding,
  options: SecondOrderOptions,
): Promise<ReadonlyMap<string, RoundedMatrix>> {
  const groups = groupsOf(model, options.weights);
  const rounded = new Map<string, RoundedMatrix>();
  let now = model;
  for (const [done, group] of groups.entries()) {
    const measured = await measureInputs(model, now, group, options);
    const e = edit(now.graph);
    for (const { input, matrix } of group) {
      if (rounded.has(matrix.name)) continue;
      const { hessian, cross } = measured.get(input)!;
      const weights = corrected(await rowsOf(matrix), matrix.columns, hessian, cross, options.damping ?? 0.01);
      const round = options.adaRound === true ? adaRound : gptq;
      const result = round(weights, matrix.rows, matrix.columns, hessian, grid, rounding, options);
      rounded.set(matrix.name, result);
      e.setWeight(matrix.name, restored(matrix, result, grid));
    }
    now = { ...now, graph: e.done() };
    options.onProgress?.(done + 1, groups.length);
  }
  return rounded;
}

/** Products by what they read, in order; a matrix that is read more than once goes with its first reader. */
function groupsOf(model: Model, names: ReadonlySet<string>): readonly (readonly Product[])[] {
  const byInput = new Map<string, Product[]>();
  const seen = new Set<string>();
  for (const node of model.graph.nodes) {
    const found = productOf(node, model, inferModel(model), (name) => model.graph.weights.get(name));
    if (found === undefined || "why" in found || !names.has(found.matrix.name) || seen.has(found.matrix.name)) continue;
    seen.add(found.matrix.name);
    byInput.set(found.input, [...(byInput.get(found.input) ?? []), found]);
  }
  return [...byInput.values()];
}

/** What was measured of one value over all examples, [columns, columns] each. */
export interface Measured {
  /** Σ x·xᵀ of the value where everything before it is rounded. */
  readonly hessian: Float64Array;
  /** Σ e·xᵀ, e being the value as it is in float. */
  readonly cross: Float64Array;
}

/** Measures the inputs of products, by their names, in a model that is rounded in part, beside the float one. */
export async function measureInputs(
  float: Model,
  now: Model,
  products: readonly Product[],
  { data, ...options }: CalibrateOptions & { readonly data: Dataset },
): Promise<ReadonlyMap<string, Measured>> {
  const sizes = new Map(products.map(({ input, matrix }) => [input, matrix.columns]));
  for (const [input, size] of sizes) if (8 * size * size > MOST_BYTES) throw tooLarge(input, size);
  const room = (size: number) => ({ hessian: new Float64Array(size * size), cross: new Float64Array(size * size) });
  const sums = new Map([...sizes].map(([input, size]) => [input, room(size)]));
  const threads = options.threads === undefined ? {} : { threads: options.threads };
  const { model: measuring, watched } = withProducts(now, sizes);
  const exact = await openSession(withOutputs(float, [...sizes.keys()]), threads);
  const session = await openSession(measuring, threads);
  try {
    const each = Math.max(...numbersOf(float, [...sizes.keys()]));
    const { signal, batch } = options;
    const batching = { ...(signal && { signal }), ...(batch && { batch }) };
    for await (const { feeds } of calibrationBatches(float, each, data, batching)) {
      const values = await exact.run(feeds, [...sizes.keys()]);
      const given = Object.fromEntries(watched.map(({ input, given }) => [given, values[input]!]));
      const results = await session.run({ ...feeds, ...given });
      for (const { input, hessian, cross } of watched) {
        // A batch that brings NaN or infinity says nothing of how inputs lie.
        if (!allFinite(results[hessian]!) || !allFinite(results[cross]!)) continue;
        add(sums.get(input)!.hessian, results[hessian]!.data as Float32Array);
        add(sums.get(input)!.cross, results[cross]!.data as Float32Array);
      }
    }
  } finally {
    await exact.close();
    await session.close();
  }
  return sums;
}

const tooLarge = (input: string, size: number): MinnowError =>
  new MinnowError(`Its ${size} columns make a Hessian of ${8 * size * size} bytes.`, {
    code: "quantize/too-large",
    at: `value "${input}"`,
    mend: "Use the method kQuant or mse, which need none.",
  });

const allFinite = ({ data }: TensorData): boolean => (data as Float32Array).every(Number.isFinite);

function add(sum: Float64Array, more: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += more[i]!;
}

/** The model with both sums of some values as its outputs; it is given each value as it is in float. */
function withProducts(model: Model, sizes: ReadonlyMap<string, number>) {
  const e = edit(model.graph);
  const rows = (name: string, size: number) =>
    e.add({ op: "Reshape", inputs: [name, e.weight("minnow.rows", int64s([-1, size]))] })[0]!;
  const watched = [...sizes].map(([input, size], i) => {
    const names = { given: `minnow.exact.${i}`, hessian: `minnow.hessian.${i}`, cross: `minnow.cross.${i}` };
    const [own, exact] = [rows(input, size), rows(names.given, size)];
    e.add({ op: "Gemm", inputs: [own, own], outputs: [names.hessian], attrs: { transA: int(1) } });
    e.add({ op: "Gemm", inputs: [exact, own], outputs: [names.cross], attrs: { transA: int(1) } });
    return { input, ...names };
  });
  const floats = ({ given }: { given: string }): ValueInfo => ({
    name: given,
    type: { kind: "tensor", dtype: "float32" },
  });
  e.setInputs([...model.graph.inputs, ...watched.map(floats)]);
  e.setOutputs(watched.flatMap(({ hessian, cross }) => [{ name: hessian }, { name: cross }]));
  return { model: { ...model, graph: e.done() }, watched };
}

/**
 * The matrix that gives, on inputs that are wrong already, what the given one gives on exact ones, as nearly as a matrix
 * can: (W·cross + λ·W)·(hessian + λ)⁻¹. Source: Li et al., "GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric
 * Calibration", arXiv 2504.02692.
 */
function corrected(
  weights: Float32Array,
  columns: number,
  hessian: Float64Array,
  cross: Float64Array,
  damping: number,
): Float32Array {
  let trace = 0;
  for (let i = 0; i < columns; i++) trace += hessian[i * columns + i]!;
  const added = trace === 0 ? 1 : (damping * trace) / columns;
  const left = hessian.slice();
  for (let i = 0; i < columns; i++) left[i * columns + i]! += added;
  const right = Float64Array.from(weights, (value) => added * value);
  for (let row = 0; row < weights.length; row += columns)
    for (let k = 0; k < columns; k++) {
      const value = weights[row + k]!;
      for (let j = 0; j < columns; j++) right[row + j]! += value * cross[k * columns + j]!;
    }
  return Float32Array.from(solveDefinite(left, right, columns));
}

/** The whole matrix, row by row. */
async function rowsOf(matrix: Matrix): Promise<Float32Array> {
  const out = new Float32Array(matrix.rows * matrix.columns);
  for await (const { row, rowCount, column, width, values } of panelsOf(matrix, 1))
    for (let r = 0; r < rowCount; r++)
      out.set(values.subarray(r * width, (r + 1) * width), (row + r) * matrix.columns + column);
  return out;
}

/** The tensor that a rounded matrix stands for, as the matrix lay. */
function restored({ weight, turned }: Matrix, { rows, columns, blocks, ...parts }: RoundedMatrix, grid: Grid): Tensor {
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const block = row * blocks + Math.floor(column / grid.blockSize);
      const at = row * columns + column;
      values[at] = (parts.levels[at]! - parts.zeroPoints[block]!) * parts.scales[block]!;
    }
  if (!turned) return float32s(weight.shape, values);
  const out = new Float32Array(values.length);
  transpose(values, rows, columns, out);
  return float32s(weight.shape, out);
}
