import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { int, intAttr } from "../ir/attrs.ts";
import type { Attrs, Model, Node } from "../ir/graph.ts";
import { elements, int64s, type Tensor } from "../ir/tensor.ts";
import { titleOf } from "../ir/walk.ts";
import { inferModel } from "../ops/infer.ts";
import { type Change, type Json, type Pass, type PassResult, upgrade } from "../passes/index.ts";
import { merged } from "../passes/pass.ts";
import { type Grid, type Matrix, matrixOf, type RoundedMatrix, type Rounding } from "./blocks.ts";
import { oneOf } from "./options.ts";
import { type PackedMatrix, Packer, type Packing, packBlocks, packBnb4, packInPlace, storedBits } from "./packed.ts";
import { matcher } from "./plan.ts";
import { type Product, productOf } from "./products.ts";
import { ROUNDINGS, type RoundingMethod } from "./rounding/index.ts";
import { FP4, NF4, roundToTable } from "./rounding/table.ts";
import { constantIn, ownerOf, type Scope, visitScopes } from "./scopes.ts";
import { roundBySecondOrder } from "./second-order.ts";
import type { CalibrateOptions } from "./types.ts";

/** Options of {@link quantizeWeights}, in ONNX Runtime's words. */
export interface QuantizeWeightsOptions extends CalibrateOptions {
  /** Bits of a level; 3 are stored in 4, of which brotli takes the rest. Default 4. */
  readonly bits?: 2 | 3 | 4 | 8;
  /** Numbers that share a scale, a power of two from 16 on. Default 32. */
  readonly blockSize?: number;
  /** Levels around a fixed middle instead of a zero point for each block. Default true. */
  readonly symmetric?: boolean;
  /**
   * `QOperator` (default): MatMulNBits and GatherBlockQuantized, which keep weights small in memory. `QDQ`:
   * DequantizeLinear in blocks, standard ONNX from opset 21 (2 bits: 25), which ONNX Runtime fuses to MatMulNBits in Node.
   */
  readonly quantFormat?: "QOperator" | "QDQ";
  /** What MatMulNBits computes in: 0 whatever the runtime takes, 1 float32, 4 int8 (fast on CPUs). Default 4. */
  readonly accuracyLevel?: 0 | 1 | 2 | 3 | 4;
  /**
   * What levels mean: `uniform` steps (default), or the 16 numbers of `nf4` or `fp4` times the largest magnitude of the
   * block, which MatMulBnb4 computes with; blocks are of 64 then, unless said otherwise.
   */
  readonly levels?: "uniform" | "nf4" | "fp4";
  /** How numbers are rounded, and for `gptq` how the scales are found; default `rtn`, `mse` with `gptq` and `adaRound`. */
  readonly method?: RoundingMethod;
  /**
   * Rounds so that errors cancel on the examples of `data` (GPTQ): 100 or so are enough. Matrices inside the graphs of an
   * If or Loop, and tables, are rounded without. Default false.
   */
  readonly gptq?: boolean;
  /**
   * Learns on the examples of `data` which numbers to round up and which down (AdaRound), instead of `gptq`. Default false.
   */
  readonly adaRound?: boolean;
  /** For `adaRound`: steps of gradient descent; default 500. */
  readonly steps?: number;
  /** For `gptq`: what is added to the diagonal of the Hessian, as a share of its mean; default 0.01. */
  readonly damping?: number;
  /** For `gptq`: columns in the order of how much they count; default true. */
  readonly actOrder?: boolean;
  readonly data?: Dataset;
  /** Quantizes tables that rows are picked from as well (4 and 8 bits). Default false. */
  readonly embeddings?: boolean;
  /** Nodes to leave in float, by name; `*` stands for anything. */
  readonly nodesToExclude?: readonly string[];
}

/** Smaller weights stay as they are. */
const LEAST_ELEMENTS = 512;
/** Results that are kept as long as they are no more than this together; others are computed when they are written. */
const KEPT_BYTES = 2 ** 24;
const TABLES = { nf4: NF4, fp4: FP4 };
const MICROSOFT = "com.microsoft";

/**
 * Stores the matrices that activations are multiplied with in 8, 4, 3 or 2 bits, in blocks with a scale each, and leaves
 * activations in float. It needs no data. Memory stays at a few times the largest *result*, whatever the size of the model:
 * weights are read in pieces when the result is written. A weight that several nodes read stays one; what is quantized or
 * float16 already stays as it is.
 * Throws a MinnowError `quantize/option` for wrong options at once, and `quantize/broken-weight` for weights that hold NaN
 * or infinity: when it runs, or for large models when the result is written.
 * Source: ONNX Runtime's contrib operators MatMulNBits and GatherBlockQuantized; ONNX, DequantizeLinear-21.
 *
 * @example
 * const { model: small } = await quantizeWeights({ bits: 4, blockSize: 32 }).run(model);
 */
export function quantizeWeights(options: QuantizeWeightsOptions = {}): Pass {
  check(options);
  const { data, signal, onProgress, threads, batch, ...rest } = options;
  return { name: "quantizeWeights", options: rest as Json, run: (model) => new WeightQuantizer(options).run(model) };
}

const bySecondOrder = ({ gptq = false, adaRound = false }: QuantizeWeightsOptions): boolean => gptq || adaRound;

class WeightQuantizer {
  readonly #options: QuantizeWeightsOptions;
  readonly #grid: Grid;
  readonly #rounding: Rounding;
  readonly #table: keyof typeof TABLES | undefined;
  readonly #packer = new Packer(KEPT_BYTES);
  readonly #changes: Change[] = [];
  /** Names of what was packed, by the graph that has the weight, and by the weight and how it lies. */
  readonly #packed = new Map<Scope, Map<string, readonly string[]>>();
  #rounded: ReadonlyMap<string, RoundedMatrix> = new Map();
  #model!: Model;
  #excluded!: (node: Node) => boolean;

  constructor(options: QuantizeWeightsOptions) {
    const { bits = 4, symmetric = true, levels = "uniform", method = bySecondOrder(options) ? "mse" : "rtn" } = options;
    const { blockSize = levels === "uniform" ? 32 : 64 } = options;
    this.#options = options;
    this.#grid = { bits, symmetric, blockSize };
    this.#table = levels === "uniform" ? undefined : levels;
    this.#rounding = this.#table === undefined ? ROUNDINGS[method] : roundToTable(TABLES[this.#table]);
  }

  get #qdq(): boolean {
    return this.#options.quantFormat === "QDQ";
  }

  async run(given: Model): Promise<PassResult> {
    const opset = this.#qdq ? (this.#grid.bits === 2 ? 25 : 21) : undefined;
    const { model, changes } = await upgrade(opset === undefined ? {} : { to: opset }).run(given);
    this.#model = model;
    this.#excluded = matcher(this.#options.nodesToExclude ?? [], model);
    if (bySecondOrder(this.#options)) this.#rounded = await this.#roundAll(model);
    const graph = await visitScopes(model.graph, (node, scope) => this.#node(node, scope));
    const all = merged([...changes, ...this.#changes]);
    if (graph === model.graph) return { model: given, changes: merged(this.#changes) };
    const opsets = this.#qdq ? model.opsets : new Map([[MICROSOFT, 1], ...model.opsets]);
    return { model: { ...model, graph, opsets, irVersion: Math.max(4, model.irVersion) }, changes: all };
  }

  /** The matrices of the model's own products, rounded on the examples. */
  async #roundAll(model: Model): Promise<ReadonlyMap<string, RoundedMatrix>> {
    const weights = new Set<string>();
    for (const node of model.graph.nodes) {
      const found = productOf(node, model, inferModel(model), (name) => model.graph.weights.get(name));
      if (found === undefined || "why" in found || this.#refusal(found.matrix, node) !== undefined) continue;
      if (model.graph.inputs.every((input) => input.name !== found.matrix.name)) weights.add(found.matrix.name);
    }
    return roundBySecondOrder(model, this.#grid, this.#rounding, {
      ...this.#options,
      data: this.#options.data!,
      weights,
    });
  }

  async #node(node: Node, scope: Scope): Promise<void> {
    const constant = (name: string) => constantIn(scope, name);
    const found = productOf(node, this.#model, inferModel(this.#model), constant) ?? this.#tableOf(node, constant);
    if (found === undefined) return;
    const why = "why" in found ? found.why : this.#refusal(found.matrix, node);
    if (why !== undefined) this.#note(`Left a layer in float: ${why}.`, node);
    else if ("matrix" in found) await this.#quantize(node, found, scope);
  }

  /** The table a node picks rows from by an index. */
  #tableOf(
    node: Node,
    constant: (name: string) => Tensor | undefined,
  ): { matrix: Matrix } | { why: string } | undefined {
    if (this.#options.embeddings !== true || node.op !== "Gather" || node.domain !== "") return undefined;
    const name = node.inputs[0] ?? "";
    const weight = constant(name);
    if (weight?.dtype !== "float32" || weight.shape.length !== 2 || intAttr(node, "axis", 0) !== 0) return undefined;
    const matrix = matrixOf(name, weight);
    if (!this.#qdq && matrix.columns % this.#grid.blockSize !== 0)
      return { why: "the rows of its table are no whole number of blocks" };
    return { matrix };
  }

  #refusal({ weight, name, columns }: Matrix, node: Node): string | undefined {
    if (this.#table !== undefined && columns % this.#grid.blockSize !== 0)
      return "the rows of its matrix are no whole number of blocks";
    if (this.#excluded(node)) return "it is excluded";
    if (elements(weight.shape) < LEAST_ELEMENTS) return "its weight is small";
    return this.#model.graph.outputs.some((output) => output.name === name) ? "its weight is an output" : undefined;
  }

  async #quantize(node: Node, found: Product | { matrix: Matrix }, scope: Scope): Promise<void> {
    const { bits } = this.#grid;
    if (this.#qdq) await this.#dequantize(found.matrix, scope);
    else if ("input" in found) await this.#multiply(node, found, scope);
    else await this.#pick(node, found.matrix, scope);
    this.#note(`Quantized a weight to ${bits} bits in blocks of ${this.#grid.blockSize}.`, node);
  }

  async #multiply(node: Node, { input, matrix, bias }: Product, scope: Scope): Promise<void> {
    const names = await this.#names(matrix, scope, this.#table === undefined ? packBlocks : packBnb4);
    const [output = ""] = node.outputs;
    const product = bias === "" ? output : scope.edit.fresh(`${output}_product`);
    const op = this.#table === undefined ? "MatMulNBits" : "MatMulBnb4";
    const attrs = this.#productAttrs(matrix);
    const made = { op, domain: MICROSOFT, inputs: [input, ...names], outputs: [product], attrs };
    if (bias === "") scope.edit.replace(node, { ...made, name: node.name });
    else
      scope.edit.replace(
        node,
        { ...made, name: scope.edit.fresh(`${node.name}_product`) },
        { op: "Add", inputs: [product, bias], outputs: [output], name: node.name },
      );
  }

  #productAttrs({ rows, columns }: Matrix): Attrs {
    const sizes = { K: int(columns), N: int(rows), block_size: int(this.#grid.blockSize) };
    if (this.#table !== undefined) return { ...sizes, quant_type: int(this.#table === "nf4" ? 1 : 0) };
    const level = this.#options.accuracyLevel ?? 4;
    return { ...sizes, bits: int(storedBits(this.#grid.bits)), ...(level > 0 && { accuracy_level: int(level) }) };
  }

  async #pick(node: Node, matrix: Matrix, scope: Scope): Promise<void> {
    const { bits, blockSize } = this.#grid;
    const [levels = "", ...rest] = await this.#names(matrix, scope, packBlocks);
    const attrs = {
      bits: int(storedBits(bits)),
      block_size: int(blockSize),
      gather_axis: int(0),
      quantize_axis: int(1),
    };
    const table = scope.edit.fresh(`${levels}_rows`);
    const shape = scope.edit.weight(`${levels}_shape`, int64s([matrix.rows, (matrix.columns * storedBits(bits)) / 8]));
    const indices = node.inputs[1] ?? "";
    scope.edit.replace(
      node,
      { op: "Reshape", inputs: [levels, shape], outputs: [table], name: `${table}_reshape` },
      {
        op: "GatherBlockQuantized",
        domain: MICROSOFT,
        inputs: [table, indices, ...rest],
        outputs: node.outputs,
        attrs,
        name: node.name,
      },
    );
  }

  /** Puts DequantizeLinear where the weight was, under its name, for all who read it. */
  async #dequantize(matrix: Matrix, scope: Scope): Promise<void> {
    const { name, turned } = matrix;
    const home = ownerOf(scope, name)!;
    const inputs = await this.#names(matrix, scope, packInPlace);
    if (home.edit.constant(name) === undefined) return;
    home.edit.removeWeight(name);
    const attrs = { axis: int(turned ? 0 : 1), block_size: int(this.#grid.blockSize) };
    home.edit.add({
      op: "DequantizeLinear",
      name: home.edit.fresh(`${name}_dequantize`),
      inputs,
      outputs: [name],
      attrs,
    });
  }

  /** The names of a packed weight's parts, beside the weight itself, made once. */
  async #names(
    matrix: Matrix,
    scope: Scope,
    pack: (packer: Packer, packing: Packing) => Promise<PackedMatrix>,
  ): Promise<readonly string[]> {
    const home = ownerOf(scope, matrix.name)!;
    const packed = this.#packed.get(home) ?? new Map<string, readonly string[]>();
    this.#packed.set(home, packed);
    const layout = `${matrix.name} ${matrix.turned}`;
    const made = packed.get(layout);
    if (made !== undefined) return made;
    const known = home.around === undefined ? this.#rounded.get(matrix.name) : undefined;
    const { levels, scales, zeroPoints } = await pack(this.#packer, {
      matrix,
      grid: this.#grid,
      rounding: this.#rounding,
      rounded: known?.rows === matrix.rows && known.columns === matrix.columns ? known : undefined,
    });
    const names = [
      home.edit.weight(`${matrix.name}_q${this.#grid.bits}`, levels),
      home.edit.weight(`${matrix.name}_s`, scales),
    ];
    if (zeroPoints !== undefined) names.push(home.edit.weight(`${matrix.name}_z`, zeroPoints));
    packed.set(layout, names);
    return names;
  }

  #note(what: string, node: Node): void {
    this.#changes.push({ what, at: titleOf(node) });
  }
}

function check(options: QuantizeWeightsOptions): void {
  const { bits = 4, blockSize = 32, quantFormat = "QOperator", accuracyLevel = 4, method = "rtn" } = options;
  oneOf("bits", bits, [2, 3, 4, 8]);
  oneOf("quantFormat", quantFormat, ["QOperator", "QDQ"]);
  oneOf("accuracyLevel", accuracyLevel, [0, 1, 2, 3, 4]);
  oneOf("method", method, Object.keys(ROUNDINGS));
  const wrong = (at: string, what: string, mend: string): never => {
    throw new MinnowError(what, { code: "quantize/option", at, mend });
  };
  if (!Number.isInteger(Math.log2(blockSize)) || blockSize < 16)
    wrong("blockSize", `It is ${blockSize}.`, "Give a power of two from 16 on.");
  if (method === "hqq" && options.symmetric !== false)
    wrong("method", "HQQ finds zero points, and symmetric levels have none.", "Give symmetric: false as well.");
  const learned = options.adaRound === true ? "adaRound" : "gptq";
  if (options.gptq === true && options.adaRound === true)
    wrong("adaRound", "GPTQ and AdaRound are two ways to round.", "Give one of them.");
  if (bySecondOrder(options) && options.data === undefined)
    throw new MinnowError("It measures inputs on examples, and there is no data.", {
      code: "quantize/no-data",
      at: learned,
      mend: "Give 100 or so typical examples as data, or use the method kQuant or mse.",
    });
  if (bySecondOrder(options) && (options.levels ?? "uniform") !== "uniform")
    wrong(learned, "It rounds to even steps, and levels are others.", "Leave one of them out.");
  oneOf("levels", options.levels, ["uniform", "nf4", "fp4"]);
  if ((options.levels ?? "uniform") !== "uniform" && (bits !== 4 || options.embeddings || quantFormat === "QDQ"))
    wrong("levels", `${options.levels} is for products in the format QOperator, in 4 bits.`, "Leave the others out.");
  if (options.embeddings === true && bits === 2 && quantFormat === "QOperator")
    wrong("embeddings", "ONNX Runtime picks rows from tables of 4 and 8 bits, not of 2.", "Leave embeddings in float.");
}
