import { MinnowError } from "../errors.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, readFloats } from "../ir/tensor.ts";
import type { Json, Pass, PassResult } from "../passes/index.ts";
import { averagesOf, examplesOf, type MeasureData, meanAlong, observing, productsAlong } from "./activations.ts";
import { type Derivation, derive } from "./derive.ts";
import type { Lowest } from "./lowest.ts";
import { boundOf, maskOf } from "./masks.ts";
import { matricesOf, type WeightMatrix } from "./matrices.ts";
import { prepared } from "./prepare.ts";
import { reestimateBehind } from "./reestimate.ts";
import { type Amount, sparseGpt } from "./sparsegpt.ts";

/**
 * How single numbers are judged.
 * - `magnitude`: |w|.
 * - `wanda`: |w|·‖x‖, x being what it is multiplied with (Sun et al. 2024, arXiv 2306.11695). Needs data.
 * - `sparsegpt`: by the curvature, the numbers that stay making up for those that go (arXiv 2301.00774). Needs data; kernels
 *   of more than one tap, whose curvature is not measured, are judged by `wanda`.
 */
export type SparseMethod = "magnitude" | "wanda" | "sparsegpt";

export interface SparsePruningOptions extends MeasureData {
  /** Share of the numbers of weights that become 0; default 0.5. */
  readonly sparsity?: number;
  /** Instead: `2:4` keeps two of every four numbers that stand one after the other in a sum. */
  readonly pattern?: `${number}:${number}`;
  /** Default `magnitude`. */
  readonly method?: SparseMethod;
  /**
   * What is ranked together: all weights (`global`), each weight (`layer`), or each output (`row`). Default `layer`, and `row`
   * for `wanda`, as in its paper.
   */
  readonly scope?: "global" | "layer" | "row";
  /** Layers or weights that stay, by name; `*` stands for anything. */
  readonly ignoredLayers?: readonly string[];
  /** Measures the statistics of normalizations again, on `data`; default where there is data. */
  readonly reestimate?: boolean;
}

/**
 * Sets single numbers of weights to 0. Shapes stay, and ONNX Runtime multiplies with zeros as with other numbers, so that
 * nothing gets faster: what gets smaller is the download, once it is compressed (brotli), the more so together with few-bit
 * storage. Throws a MinnowError `prune/option` for options that make no sense, and `prune/nothing` where no weight is summed over.
 *
 * @example
 * const { model: sparse } = await sparsePruning({ sparsity: 0.7, method: "wanda", data: photos.take(128) }).run(model);
 */
export function sparsePruning(options: SparsePruningOptions = {}): Pass {
  const { data: _d, signal: _s, onProgress: _p, ...rest } = options;
  const amount = amountOf(options);
  return {
    name: "sparsePruning",
    options: rest as unknown as Json,
    run: (model) => sparsified(model, amount, options),
  };
}

/** How much goes; a MinnowError `prune/option` for what makes no sense. */
export function amountOf({
  sparsity = 0.5,
  pattern,
  method = "magnitude",
  scope,
}: Pick<SparsePruningOptions, "sparsity" | "pattern" | "method" | "scope">): Amount {
  const bad = (at: string, what: string, mend: string): never => {
    throw new MinnowError(`It is ${what}.`, { code: "prune/option", at, mend });
  };
  if (!["magnitude", "wanda", "sparsegpt"].includes(method))
    bad("method", JSON.stringify(method), "It can be magnitude, wanda or sparsegpt.");
  if (scope !== undefined && !["global", "layer", "row"].includes(scope))
    bad("scope", JSON.stringify(scope), "It can be global, layer or row.");
  if (!(sparsity > 0 && sparsity < 1)) bad("sparsity", String(sparsity), "Give a share above 0 and below 1.");
  if (pattern === undefined) return { sparsity };
  const [keep = 0, of = 0] = pattern.split(":").map(Number);
  if (!(Number.isInteger(keep) && Number.isInteger(of) && keep > 0 && keep < of))
    bad("pattern", JSON.stringify(pattern), "Give how many stay of how many: 2:4 or 4:8.");
  return { keep, of };
}

async function sparsified(given: Model, amount: Amount, options: SparsePruningOptions): Promise<PassResult> {
  const base = await prepared(given);
  const d = derive(base.model);
  const matrices = matricesOf(d, options.ignoredLayers);
  if (matrices.length === 0) throw noMatrix();
  const { method = "magnitude" } = options;
  const work = new Sparsifier(
    d,
    amount,
    options,
    method === "magnitude" ? new Map() : await normsOf(d, matrices, options),
  );
  const e = edit(d.model.graph);
  let rest = matrices;
  if (method === "sparsegpt") {
    const whole = matrices.filter(isWhole);
    rest = matrices.filter((matrix) => !isWhole(matrix));
    for (const matrix of whole) e.setWeight(matrix.weight, await work.second(matrix));
  }
  const bound = options.scope === "global" && "sparsity" in amount ? await work.bound(rest) : undefined;
  for (const matrix of rest) e.setWeight(matrix.weight, await work.first(matrix, bound));
  const share = "of" in amount ? 1 - amount.keep / amount.of : amount.sparsity;
  const what = `Set ${Math.round(100 * share)} % of the numbers of ${matrices.length} weights to 0.`;
  const sparse = { ...d.model, graph: e.done() };
  const changes = [...base.changes, { what, at: "model" }];
  return { model: await reestimateBehind(sparse, options, changes), changes };
}

export const noMatrix = (): MinnowError =>
  new MinnowError("No weight of the model is a matrix or a kernel that is summed over.", {
    code: "prune/nothing",
    mend: "Check ignoredLayers; a quantized model has to be pruned before it is quantized.",
  });

/** Whether every column is a feature of its own, and few enough for their products to fit. */
const isWhole = ({ input, columnAt, featureOf }: WeightMatrix): boolean =>
  input !== undefined && columnAt.length <= 4096 && featureOf.every((feature, c) => feature === c);

/** ‖x‖ of every feature of what matrices are summed against: the root of its mean square. */
async function normsOf(d: Derivation, matrices: readonly WeightMatrix[], options: MeasureData) {
  const e = edit(d.model.graph);
  const known = matrices.filter(({ input }) => input !== undefined);
  const names = known.map(({ input }) => {
    const square = e.add({ op: "Mul", inputs: [input!.value, input!.value] })[0]!;
    return meanAlong(d, e, square, input!.value, input!.axis);
  });
  const means = await averagesOf(observing(d.model, e, names), names, examplesOf(options.data), options);
  return new Map(known.map(({ weight }, i) => [weight, means[i]!.map(Math.sqrt)]));
}

class Sparsifier {
  readonly #d: Derivation;
  readonly #amount: Amount;
  readonly #options: SparsePruningOptions;
  readonly #norms: ReadonlyMap<string, Float64Array>;

  constructor(d: Derivation, amount: Amount, options: SparsePruningOptions, norms: ReadonlyMap<string, Float64Array>) {
    this.#d = d;
    this.#amount = amount;
    this.#options = options;
    this.#norms = norms;
  }

  #values = (matrix: WeightMatrix): Promise<Float32Array> =>
    readFloats(this.#d.model.graph.weights.get(matrix.weight)!);

  /** Scores row by row. */
  async #scores(matrix: WeightMatrix): Promise<Float32Array> {
    const { rowAt, columnAt, featureOf, weight } = matrix;
    const [values, norms, width] = [await this.#values(matrix), this.#norms.get(weight), columnAt.length];
    const out = new Float32Array(rowAt.length * width);
    for (let r = 0; r < rowAt.length; r++)
      for (let c = 0; c < width; c++)
        out[r * width + c] = Math.abs(values[rowAt[r]! + columnAt[c]!]!) * (norms?.[featureOf[c]!] ?? 1);
    return out;
  }

  /** The bound of what goes from all of some matrices together. */
  bound(matrices: readonly WeightMatrix[]): Promise<Lowest> {
    return boundOf(matrices, (matrix) => this.#scores(matrix), (this.#amount as { sparsity: number }).sparsity);
  }

  /** The weight with what scores lowest set to 0. */
  async first(matrix: WeightMatrix, bound: Lowest | undefined) {
    const scope = this.#options.scope ?? (this.#options.method === "wanda" ? "row" : "layer");
    const mask = await maskOf(matrix, await this.#scores(matrix), { amount: this.#amount, scope, bound });
    const values = (await this.#values(matrix)).map((value, i) => (mask[i] === 0 ? 0 : value));
    return float32s(this.#d.model.graph.weights.get(matrix.weight)!.shape, values);
  }

  /** The weight by its curvature. */
  async second(matrix: WeightMatrix) {
    const { rowAt, columnAt, input, weight } = matrix;
    const e = edit(this.#d.model.graph);
    const name = productsAlong(this.#d, e, input!);
    const model = observing(this.#d.model, e, [name]);
    const [products] = await averagesOf(model, [name], examplesOf(this.#options.data), this.#options);
    const values = Float32Array.from(await this.#values(matrix));
    const width = columnAt.length;
    const rows = new Float32Array(rowAt.length * width);
    for (let i = 0; i < rows.length; i++) rows[i] = values[rowAt[Math.floor(i / width)]! + columnAt[i % width]!]!;
    await sparseGpt(rows, rowAt.length, products!, this.#amount);
    for (let i = 0; i < rows.length; i++) values[rowAt[Math.floor(i / width)]! + columnAt[i % width]!] = rows[i]!;
    return float32s(this.#d.model.graph.weights.get(weight)!.shape, values);
  }
}
