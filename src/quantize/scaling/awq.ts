import type { Dataset } from "../../data/dataset.ts";
import { MinnowError } from "../../errors.ts";
import type { Model } from "../../ir/graph.ts";
import { titleOf } from "../../ir/walk.ts";
import { inferModel } from "../../ops/infer.ts";
import { optimize, type Pass, type PassResult } from "../../passes/index.ts";
import { merged } from "../../passes/pass.ts";
import { type Grid, roomFor, transpose } from "../blocks.ts";
import { type Product, productOf } from "../products.ts";
import { ROUNDINGS, type RoundingMethod } from "../rounding/index.ts";
import { measureInputs } from "../second-order.ts";
import type { CalibrateOptions } from "../types.ts";
import { observeChannels } from "./channels.ts";
import { groupsOf, type ScalingGroup } from "./groups.ts";
import { WorkingWeights } from "./working.ts";

export interface AwqOptions extends CalibrateOptions {
  readonly data: Dataset;
  /** The grid that weights are going to be rounded to, as `quantizeWeights` takes it. */
  readonly bits?: 2 | 3 | 4 | 8;
  readonly blockSize?: number;
  readonly symmetric?: boolean;
  readonly method?: RoundingMethod;
}

/** Exponents that are tried, from 0 (nothing moves) up. */
const STEPS = 20;

/**
 * Activation-aware weight scaling: enlarges the columns of matrices that large activations meet, mean|X|^α, before they
 * are rounded, and divides what makes those activations. For each group α is the one of 21 with the least squared error
 * of the outputs on the examples. What the model computes stays the same up to float rounding; round it afterwards with
 * the same grid. Optimizes the model first.
 * Source: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", arXiv 2306.00978.
 *
 * @example
 * const { model: ready } = await awq({ data: texts.take(64), bits: 4 }).run(model);
 * const { model: small } = await quantizeWeights({ bits: 4 }).run(ready);
 */
export function awq(options: AwqOptions): Pass {
  const { data, signal, onProgress, threads, batch, ...rest } = options;
  if (data === undefined)
    throw new MinnowError("AWQ measures activations on examples, and there is no data.", {
      code: "quantize/no-data",
      mend: "Give 100 or so typical examples as data.",
    });
  return { name: "awq", options: { ...rest }, run: (model) => scaled(model, options) };
}

async function scaled(given: Model, options: AwqOptions): Promise<PassResult> {
  const { model, changes } = await optimize().run(given);
  const readers = new Map<ScalingGroup, readonly Product[]>();
  for (const group of groupsOf(model)) {
    const found = productsOf(model, group);
    if (found.length > 0) readers.set(group, found);
  }
  const groups = [...readers.keys()];
  if (groups.length === 0) return { model: given, changes: [] };
  const weights = await WorkingWeights.of(model, groups);
  const seen = await observeChannels(model, groups, options.data, options);
  for (const [g, group] of groups.entries()) {
    const products = readers.get(group)!;
    const measured = await measureInputs(model, model, products, options);
    const errorOf = (factors: ArrayLike<number>) =>
      products.reduce((sum, product) => {
        return sum + errorAfter(group, product, weights, factors, measured.get(product.input)!.hessian, options);
      }, 0);
    weights.move(group, bestFactors(seen[g]!.mean, errorOf));
    options.onProgress?.(g + 1, groups.length);
  }
  const told = groups.map((group) => ({
    what: "Enlarged the columns that large activations meet.",
    at: titleOf(group.weights.find((w) => w.divided)!.node),
  }));
  return { model: weights.done(), changes: merged([...changes, ...told]) };
}

/** The products that read a group; none where something else does, since only matrices are rounded. */
function productsOf(model: Model, group: ScalingGroup): readonly Product[] {
  const nodes = group.weights.filter((w) => w.divided && w.matrix).map((w) => w.node);
  const products = nodes.map((node) =>
    productOf(node, model, inferModel(model), (name) => model.graph.weights.get(name)),
  );
  return products.every((p): p is Product => p !== undefined && "matrix" in p) ? products : [];
}

/** Factors for activations: 1 / mean|X|^α, their middle at 1, for the α that `errorOf` likes best. */
function bestFactors(mean: Float64Array, errorOf: (factors: Float64Array) => number): Float64Array {
  let best = { factors: mean.map(() => 1), error: Infinity };
  for (let step = 0; step <= STEPS; step++) {
    const scales = mean.map((x) => Math.max(x, 1e-4) ** (step / STEPS));
    const [low, high] = [scales.reduce((a, b) => Math.min(a, b)), scales.reduce((a, b) => Math.max(a, b))];
    const factors = scales.map((s) => Math.sqrt(low * high) / s);
    const error = errorOf(factors);
    if (error < best.error) best = { factors, error };
  }
  return best.factors;
}

/** Σ of the squared errors of a product's outputs when its columns are divided by factors and rounded. */
function errorAfter(
  { weights: members }: ScalingGroup,
  { node, matrix }: Product,
  weights: WorkingWeights,
  factors: ArrayLike<number>,
  hessian: Float64Array,
  { bits = 4, blockSize = 32, symmetric = true, method = "rtn" }: AwqOptions,
): number {
  const { rows, columns, turned } = matrix;
  const { classes } = members.find((w) => w.node === node && w.divided && w.matrix)!;
  const divided = weights.get(matrix.name).map((value, i) => value / factors[classes[i]!]!);
  const values = turned ? new Float32Array(divided.length) : divided;
  if (turned) transpose(divided, columns, rows, values);
  const grid: Grid = { bits, blockSize, symmetric };
  const errors = new Float64Array(columns);
  const factorAt = Float64Array.from({ length: columns }, (_, k) => factors[classes[turned ? k * rows : k]!]!);
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    for (let from = 0; from < columns; from += blockSize) {
      const block = values.subarray(row * columns + from, row * columns + Math.min(columns, from + blockSize));
      const into = roomFor(1, block.length);
      ROUNDINGS[method](block.slice(), block.length, grid, into);
      for (let k = 0; k < block.length; k++) {
        const value = (into.levels[k]! - into.zeroPoints[0]!) * into.scales[0]!;
        // The error in the weight as it stood before, which meets the activations as they were measured.
        errors[from + k] = (value - block[k]!) * factorAt[from + k]!;
      }
    }
    for (let i = 0; i < columns; i++) {
      let product = 0;
      for (let j = 0; j < columns; j++) product += hessian[i * columns + j]! * errors[j]!;
      sum += errors[i]! * product;
    }
  }
  return sum;
}
