import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, int64s, type Tensor } from "../ir/tensor.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { type Grid, type Matrix, panelsOf, type RoundedMatrix, type Rounding, transpose } from "./blocks.ts";
import { calibrationBatches, numbersOf } from "./calibrate.ts";
import { type Product, productOf } from "./products.ts";
import { type GptqOptions, gptq } from "./rounding/gptq.ts";
import type { CalibrateOptions } from "./types.ts";

/** Options of {@link roundBySecondOrder}. */
export interface SecondOrderOptions extends CalibrateOptions, GptqOptions {
  readonly data: Dataset;
  /** The names of the weights to round. */
  readonly weights: ReadonlySet<string>;
}

/** Bytes that the Hessian of one input may take. */
const MOST_BYTES = 2 ** 31;

/**
 * Rounds the matrices of a model's products by {@link gptq}, in the order in which they are computed: the inputs of each are
 * measured on a model in which everything before it is rounded already. The sums of x·xᵀ are computed inside the graph.
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
    const hessians = await measureHessians(now, group, options);
    const e = edit(now.graph);
    for (const { input, matrix } of group) {
      if (rounded.has(matrix.name)) continue;
      const weights = await rowsOf(matrix);
      const result = gptq(weights, matrix.rows, matrix.columns, hessians.get(input)!, grid, rounding, options);
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

/** Σ x·xᵀ over all examples, of the inputs of products, by their names. */
async function measureHessians(
  model: Model,
  products: readonly Product[],
  { data, ...options }: SecondOrderOptions,
): Promise<ReadonlyMap<string, Float64Array>> {
  const sizes = new Map(products.map(({ input, matrix }) => [input, matrix.columns]));
  for (const [input, size] of sizes)
    if (8 * size * size > MOST_BYTES)
      throw new MinnowError(`Its ${size} columns make a Hessian of ${8 * size * size} bytes.`, {
        code: "quantize/too-large",
        at: `value "${input}"`,
        mend: "Use the method kQuant or mse, which need none.",
      });
  const sums = new Map([...sizes].map(([input, size]) => [input, new Float64Array(size * size)]));
  const { model: measuring, outputs } = withProducts(model, sizes);
  const session = await openSession(measuring, options.threads === undefined ? {} : { threads: options.threads });
  try {
    const each = Math.max(...numbersOf(model, [...sizes.keys()]));
    const { signal, batch } = options;
    const batching = { ...(signal && { signal }), ...(batch && { batch }) };
    for await (const { feeds } of calibrationBatches(model, each, data, batching)) {
      const results = await session.run(feeds, [...outputs.values()]);
      for (const [input, output] of outputs) add(sums.get(input)!, results[output]!.data as Float32Array);
    }
  } finally {
    await session.close();
  }
  return sums;
}

function add(sum: Float64Array, more: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += more[i]!;
}

/** The model with xᵀ·x of some values as its outputs. */
function withProducts(model: Model, sizes: ReadonlyMap<string, number>) {
  const e = edit(model.graph);
  const outputs = new Map<string, string>();
  for (const [input, size] of sizes) {
    const [rows] = e.add({ op: "Reshape", inputs: [input, e.weight("minnow.rows", int64s([-1, size]))] });
    const output = e.fresh(`minnow.hessian.${outputs.size}`);
    e.add({ op: "Gemm", inputs: [rows!, rows!], outputs: [output], attrs: { transA: int(1) } });
    outputs.set(input, output);
  }
  e.setOutputs([...outputs.values()].map((name) => ({ name })));
  return { model: { ...model, graph: e.done() }, outputs };
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
