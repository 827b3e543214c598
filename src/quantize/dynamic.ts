import { int } from "../ir/attrs.ts";
import { codeOf } from "../ir/dtype.ts";
import type { Model, Node } from "../ir/graph.ts";
import { elements, type Tensor, tensorFrom } from "../ir/tensor.ts";
import { titleOf } from "../ir/walk.ts";
import { ruleOf } from "../ops/index.ts";
import { inferModel } from "../ops/infer.ts";
import { type Change, type Json, type Pass, type PassResult, upgrade } from "../passes/index.ts";
import { merged } from "../passes/pass.ts";
import { type Matrix, matrixOf } from "./blocks.ts";
import { oneOf } from "./options.ts";
import { Packer, packLevels } from "./packed.ts";
import { matcher } from "./plan.ts";
import { type Product, productOf } from "./products.ts";
import { roundToNearest } from "./rounding/rtn.ts";
import { constantIn, ownerOf, type Scope, visitScopes } from "./scopes.ts";

/** Options of {@link quantizeDynamic}, in ONNX Runtime's words. */
export interface QuantizeDynamicOptions {
  /** `int8` (default) has its zero in the middle; `uint8` a zero point for each channel, convolutions apart. */
  readonly weightType?: "int8" | "uint8";
  /** 7 bits for weights, for x86 processors without VNNI, where sums of 8-bit products saturate; default false. */
  readonly reduceRange?: boolean;
  /** Convolutions as well, which ONNX Runtime then runs 3–7 times slower than in float; default false. */
  readonly convolutions?: boolean;
  /** Nodes to leave in float, by name; `*` stands for anything. */
  readonly nodesToExclude?: readonly string[];
}

const LEAST_ELEMENTS = 512;
const KEPT_BYTES = 2 ** 26;

/**
 * Dynamic 8-bit quantization: weights in 8 bits with a scale for each output channel, activations rounded to 8 bits by
 * their range at every run, sums in integers. It needs no data and suits transformers on CPUs, in Node and in WASM.
 * A weight that several nodes read stays one. Convolutions stay in float unless asked for.
 * Source: ONNX, DynamicQuantizeLinear and MatMulInteger; ONNX Runtime, "Quantize ONNX models", dynamic quantization.
 *
 * @example
 * const { model: small } = await quantizeDynamic().run(model);
 */
export function quantizeDynamic(options: QuantizeDynamicOptions = {}): Pass {
  oneOf("weightType", options.weightType, ["int8", "uint8"]);
  return {
    name: "quantizeDynamic",
    options: options as Json,
    run: (model) => new DynamicQuantizer(options).run(model),
  };
}

interface Integers {
  readonly levels: string;
  readonly scales: string;
  readonly zeroPoints: string;
}

class DynamicQuantizer {
  readonly #options: QuantizeDynamicOptions;
  readonly #packer = new Packer(KEPT_BYTES);
  readonly #changes: Change[] = [];
  /** What was made of weights, by the graph that has them. */
  readonly #weights = new Map<Scope, Map<string, Integers>>();
  /** Rounded activations: levels, scale, zero point, by graph and name. */
  readonly #rounded = new Map<Scope, Map<string, readonly string[]>>();
  #model!: Model;
  #excluded!: (node: Node) => boolean;

  constructor(options: QuantizeDynamicOptions) {
    this.#options = options;
  }

  async run(given: Model): Promise<PassResult> {
    const { model, changes } = await upgrade().run(given);
    this.#model = model;
    this.#excluded = matcher(this.#options.nodesToExclude ?? [], model);
    const graph = await visitScopes(model.graph, (node, scope) => this.#node(node, scope));
    if (graph === model.graph) return { model: given, changes: merged(this.#changes) };
    return { model: { ...model, graph }, changes: merged([...changes, ...this.#changes]) };
  }

  async #node(node: Node, scope: Scope): Promise<void> {
    const constant = (name: string) => constantIn(scope, name);
    const found =
      node.op === "Conv"
        ? this.#convolution(node, constant)
        : productOf(node, this.#model, inferModel(this.#model), constant);
    if (found === undefined) return;
    const why = "why" in found ? found.why : this.#refusal(node, found.matrix.weight);
    if (why !== undefined) this.#note(`Left a layer in float: ${why}.`, node);
    else if ("matrix" in found) {
      await this.#integer(node, found, scope);
      this.#note(
        `Quantized a layer: ${this.#options.weightType ?? "int8"} weights, activations by their range at every run.`,
        node,
      );
    }
  }

  #refusal(node: Node, weight: Tensor): string | undefined {
    if (this.#excluded(node)) return "it is excluded";
    return elements(weight.shape) < LEAST_ELEMENTS ? "its weight is small" : undefined;
  }

  #convolution(node: Node, constant: (name: string) => Tensor | undefined): Product | { why: string } | undefined {
    const quant = ruleOf(node)?.quant;
    const [input = "", name = "", bias = ""] = node.inputs;
    const weight = constant(name);
    if (quant?.kind !== "contraction" || weight?.dtype !== "float32") return undefined;
    if (this.#options.convolutions !== true)
      return { why: "ONNX Runtime runs dynamic int8 convolutions 3–7 times slower than float ones" };
    return { node, input, matrix: matrixOf(name, weight), bias };
  }

  /** activation → integers; sums; times both scales; plus the bias. */
  async #integer(node: Node, { input, matrix, bias }: Product, scope: Scope): Promise<void> {
    const { edit } = scope;
    const [x = "", scale = "", zero = ""] = this.#activation(input, scope);
    const weight = await this.#weight(matrix, node.op === "Conv", scope);
    const [y = ""] = node.outputs;
    const near = (what: string) => edit.fresh(`${y}_${what}`);
    const [sums, floats, scales] = [near("sums"), near("floats"), near("scale")];
    const product = bias === "" ? y : near("product");
    const made = (op: string, inputs: string[], output: string) => ({
      op,
      inputs,
      outputs: [output],
      name: `${output}_${op}`,
    });
    const steps = [
      {
        ...made(
          node.op === "Conv" ? "ConvInteger" : "MatMulInteger",
          [x, weight.levels, zero, weight.zeroPoints],
          sums,
        ),
        attrs: node.op === "Conv" ? node.attrs : {},
      },
      { ...made("Cast", [sums], floats), attrs: { to: int(codeOf("float32")) } },
      made("Mul", [scale, weight.scales], scales),
      made("Mul", [floats, scales], product),
    ];
    if (bias !== "") steps.push(made("Add", [product, this.#along(bias, matrix, node, scope)], y));
    edit.replace(node, ...steps.map((step, i) => (i === steps.length - 1 ? { ...step, name: node.name } : step)));
  }

  #activation(input: string, scope: Scope): readonly string[] {
    const known = this.#rounded.get(scope) ?? new Map<string, readonly string[]>();
    this.#rounded.set(scope, known);
    const names =
      known.get(input) ?? ["quantized", "scale", "zero"].map((part) => scope.edit.fresh(`${input}_${part}`));
    if (!known.has(input)) {
      scope.edit.add({ op: "DynamicQuantizeLinear", inputs: [input], outputs: names, name: `${names[0]}_op` });
      known.set(input, names);
    }
    return names;
  }

  /** The integers of a weight beside it, made once: [columns, rows] for a product, its own shape for a convolution. */
  async #weight(matrix: Matrix, convolution: boolean, scope: Scope): Promise<Integers> {
    const home = ownerOf(scope, matrix.name)!;
    const made = this.#weights.get(home) ?? new Map<string, Integers>();
    this.#weights.set(home, made);
    const key = `${matrix.name} ${matrix.turned} ${convolution}`;
    const known = made.get(key);
    if (known !== undefined) return known;
    const { weightType = "int8", reduceRange = false } = this.#options;
    const grid = {
      bits: reduceRange ? 7 : 8,
      symmetric: weightType === "int8" || convolution,
      blockSize: Math.max(1, matrix.columns),
    } as const;
    const packing = { matrix, grid, rounding: roundToNearest };
    const shape = convolution ? matrix.weight.shape : [matrix.columns, matrix.rows];
    const channels = convolution ? [matrix.rows, ...matrix.weight.shape.slice(2).map(() => 1)] : [matrix.rows];
    const { levels, scales, zeroPoints } = await packLevels(this.#packer, packing, { shape, turned: !convolution });
    const integers: Integers = {
      levels: home.edit.weight(`${matrix.name}_q8`, levels),
      scales: home.edit.weight(`${matrix.name}_s`, { ...scales, shape: channels }),
      zeroPoints: home.edit.weight(
        `${matrix.name}_z`,
        zeroPoints ? { ...zeroPoints, shape: [matrix.rows] } : tensorFrom("int8", [], [0]),
      ),
    };
    made.set(key, integers);
    return integers;
  }

  /** The bias, along the channels of a convolution's output. */
  #along(bias: string, { rows, weight }: Matrix, { op }: Node, scope: Scope): string {
    if (op !== "Conv") return bias;
    const shape = scope.edit.weight(
      `${bias}_shape`,
      tensorFrom("int64", [weight.shape.length], [1, rows, ...weight.shape.slice(2).map(() => 1)]),
    );
    return scope.edit.add({ op: "Reshape", inputs: [bias, shape], name: scope.edit.fresh(`${bias}_along`) })[0]!;
  }

  #note(what: string, node: Node): void {
    this.#changes.push({ what, at: titleOf(node) });
  }
}
