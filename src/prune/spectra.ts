import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { readFloats } from "../ir/tensor.ts";
import { symmetricEigen } from "../numeric/eigen.ts";
import { type LinearLayer, type Matrix, matrixOf, type Split, transposed } from "../passes/low-rank.ts";
import { averagesOf, examplesOf, type MeasureData, meanAlong, observing, productsAlong } from "./activations.ts";
import { derive } from "./derive.ts";

/** Outputs of more numbers are judged by their weight alone: eigenvectors take n³. */
const LONGEST = 1024;
/** Layers whose matrix is longer on both sides stay as they are. */
const LONGEST_WEIGHT = 2048;
/** Numbers of the matrices that are measured in one run over the data. */
const AT_ONCE = 2 ** 24;

/** The directions of a layer's matrix, the one that says most first. */
export interface Spectrum {
  readonly layer: LinearLayer;
  readonly split: Split;
  readonly full: number;
  /** Squares along each direction. */
  readonly values: Float64Array;
  /** Directions by rows: of the matrix's rows (`left`) or columns (`right`). */
  readonly basis: Float64Array;
  readonly side: "left" | "right";
  /** The mean of its outputs, where it is held by the bias. */
  readonly mean?: Float64Array;
}

/** The spectra of layers: of their outputs on the data, where there is some and the split allows, else of their weights. */
export async function spectraOf(
  model: Model,
  layers: readonly LinearLayer[],
  splitOf: (layer: LinearLayer) => Split,
  options: MeasureData,
): Promise<Spectrum[]> {
  const judged = layers.filter((layer) => Math.min(layer.outputs, layer.inner) <= LONGEST_WEIGHT);
  const byOutputs =
    options.data === undefined
      ? []
      : judged.filter((layer) => splitOf(layer) === "outputs" && layer.outputs <= LONGEST);
  const measured =
    byOutputs.length === 0 ? new Map<LinearLayer, Spectrum>() : await outputSpectra(model, byOutputs, options);
  const out: Spectrum[] = [];
  for (const layer of judged) out.push(measured.get(layer) ?? (await weightSpectrum(model, layer, splitOf(layer))));
  return out;
}

async function weightSpectrum(model: Model, layer: LinearLayer, split: Split): Promise<Spectrum> {
  const matrix = await matrixOf(layer, model.graph.weights.get(layer.weight)!, split);
  const side = matrix.rows <= matrix.columns ? "left" : "right";
  const n = Math.min(matrix.rows, matrix.columns);
  const { values, vectors } = symmetricEigen(gram(side === "left" ? matrix : turned(matrix)), n);
  return { layer, split, full: n, values, basis: vectors, side };
}

const turned = ({ rows, columns, values }: Matrix): Matrix => ({
  rows: columns,
  columns: rows,
  values: transposed(values, rows, columns),
});

/** M·Mᵀ. */
function gram({ rows, columns, values }: Matrix): Float64Array {
  const out = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    const a = values.subarray(i * columns, (i + 1) * columns);
    for (let j = 0; j <= i; j++) {
      const b = values.subarray(j * columns, (j + 1) * columns);
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += a[k]! * b[k]!;
      out[i * rows + j] = sum;
      out[j * rows + i] = sum;
    }
  }
  return out;
}

async function outputSpectra(model: Model, layers: readonly LinearLayer[], options: MeasureData) {
  const found = new Map<LinearLayer, Spectrum>();
  const d = derive(model);
  for (const portion of portions(layers)) {
    const e = edit(model.graph);
    const names = portion.flatMap(({ node, axisFromEnd }) => {
      const value = node.outputs[0] ?? "";
      const axis = d.axes.get(value)!.length - 1 - axisFromEnd;
      return [productsAlong(d, e, { value, axis }), meanAlong(d, e, value, value, axis)];
    });
    const averages = await averagesOf(observing(model, e, names), names, examplesOf(options.data), options);
    for (const [i, layer] of portion.entries())
      found.set(layer, outputSpectrum(layer, averages[2 * i]!, averages[2 * i + 1]!));
  }
  return found;
}

/** Of the covariance where the bias can hold the mean, else of the mean square. */
function outputSpectrum(layer: LinearLayer, products: Float64Array, mean: Float64Array): Spectrum {
  const n = layer.outputs;
  if (layer.takesBias)
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) products[i * n + j]! -= mean[i]! * mean[j]!;
  const { values, vectors } = symmetricEigen(products, n);
  const full = Math.min(n, layer.inner);
  return { layer, split: "outputs", full, values, basis: vectors, side: "left", ...(layer.takesBias && { mean }) };
}

function* portions(layers: readonly LinearLayer[]): Generator<LinearLayer[]> {
  let [portion, count]: [LinearLayer[], number] = [[], 0];
  for (const layer of layers) {
    const size = layer.outputs ** 2;
    if (count + size > AT_ONCE && portion.length > 0) {
      yield portion;
      [portion, count] = [[], 0];
    }
    portion.push(layer);
    count += size;
  }
  if (portion.length > 0) yield portion;
}

/** The two matrices for a rank, and the bias that holds what the mean has of the other directions. */
export async function factorsOf(model: Model, spectrum: Spectrum, rank: number) {
  const { layer, split, basis, side, mean } = spectrum;
  const { weights } = model.graph;
  const matrix = await matrixOf(layer, weights.get(layer.weight)!, split);
  const long = side === "left" ? matrix.rows : matrix.columns;
  const kept = basis.slice(0, rank * long);
  if (side === "right") return { left: byColumns(matrix, kept, rank), right: kept, rank };
  const right = product(kept, rank, matrix);
  const left = transposed(kept, rank, long);
  if (mean === undefined) return { left, right, rank };
  const own = weights.get(layer.node.inputs[2] ?? "");
  const old = own === undefined ? new Float64Array(mean.length) : Float64Array.from(await readFloats(own));
  return { left, right, rank, bias: biasFor(old, mean, kept, rank) };
}

/** ȳ + UᵀU·(b − ȳ), U by rows. */
function biasFor(old: Float64Array, mean: Float64Array, basis: Float64Array, rank: number): Float64Array {
  const out = mean.slice();
  for (let r = 0; r < rank; r++) {
    const u = basis.subarray(r * mean.length, (r + 1) * mean.length);
    const along = u.reduce((sum, value, i) => sum + value * (old[i]! - mean[i]!), 0);
    for (let i = 0; i < out.length; i++) out[i]! += along * u[i]!;
  }
  return out;
}

/** A·M, A [rank, rows]. */
function product(a: Float64Array, rank: number, { rows, columns, values }: Matrix): Float64Array {
  const out = new Float64Array(rank * columns);
  for (let r = 0; r < rank; r++) {
    const to = out.subarray(r * columns, (r + 1) * columns);
    for (let k = 0; k < rows; k++) {
      const factor = a[r * rows + k]!;
      const from = values.subarray(k * columns, (k + 1) * columns);
      for (let c = 0; c < columns; c++) to[c]! += factor * from[c]!;
    }
  }
  return out;
}

/** M·Bᵀ, B [rank, columns]. */
function byColumns({ rows, columns, values }: Matrix, b: Float64Array, rank: number): Float64Array {
  const out = new Float64Array(rows * rank);
  for (let i = 0; i < rows; i++)
    for (let r = 0; r < rank; r++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += values[i * columns + k]! * b[r * columns + k]!;
      out[i * rank + r] = sum;
    }
  return out;
}
