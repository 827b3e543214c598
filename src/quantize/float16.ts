import type { Dataset } from "../data/dataset.ts";
import { int, mapSubgraphs, subgraphs, tensor as tensorOfAttr } from "../ir/attrs.ts";
import { byteSize, codeOf } from "../ir/dtype.ts";
import { renameReads } from "../ir/edit.ts";
import type { Attr, Graph, Model, Node, ValueInfo, ValueType } from "../ir/graph.ts";
import { elements, lazyTensor, type Tensor, tensorOf, viewOf } from "../ir/tensor.ts";
import { namesOf, readsOf, titleOf } from "../ir/walk.ts";
import { toBfloats, toHalves } from "../numeric/half.ts";
import { keyOf } from "../ops/define.ts";
import { ruleOf } from "../ops/index.ts";
import { inferModel } from "../ops/infer.ts";
import { type Change, type Json, type Pass, type PassResult, upgrade } from "../passes/index.ts";
import { merged } from "../passes/pass.ts";
import { observeExtrema } from "./extrema.ts";
import { oneOf } from "./options.ts";
import { matcher, nodesIn } from "./plan.ts";
import type { CalibrateOptions } from "./types.ts";

/** Options of {@link convertFloat16}. */
export interface ConvertFloat16Options extends CalibrateOptions {
  /** Default `float16`. ONNX Runtime's CPU and WASM builds have no kernels for `bfloat16`. */
  readonly to?: "float16" | "bfloat16";
  /** Inputs and outputs of the model stay float32; default true. */
  readonly keepIoTypes?: boolean;
  /** Operators to leave in float32: `Softmax`, `com.microsoft:Gelu`. */
  readonly opBlockList?: readonly string[];
  /** Nodes to leave in float32, by name; `*` stands for anything. */
  readonly nodeBlockList?: readonly string[];
  /** Examples on which activations are looked at: nodes that come near the largest float16 stay in float32. */
  readonly data?: Dataset;
}

/** Operators whose inputs of floats are float32 by ONNX's definition (all of them, or those of these indices). */
const FLOAT32: ReadonlyMap<string, readonly number[] | "all"> = new Map<string, readonly number[] | "all">([
  ["DynamicQuantizeLinear", "all"],
  ["NonMaxSuppression", "all"],
  ["QLinearConv", "all"],
  ["TfIdfVectorizer", "all"],
  ["Resize", [2]],
]);

/** Operators of com.microsoft that take float16. */
const MICROSOFT_HALF: ReadonlySet<string> = new Set(
  "Attention BiasGelu DequantizeLinear FastGelu FusedMatMul GatherBlockQuantized Gelu GroupQueryAttention MatMulBnb4 MatMulNBits MultiHeadAttention QuantizeLinear QuickGelu RotaryEmbedding SkipLayerNormalization SkipSimplifiedLayerNormalization".split(
    " ",
  ),
);

/** The largest float16, and the part of it that activations may reach on the examples. */
const MOST = 65504;
const HEADROOM = 0.5;
/** Larger weights are read and halved when they are written. */
const KEPT_BYTES = 2 ** 20;
/** Bytes of a weight that are looked at together. */
const PIECE = 2 ** 22;

/**
 * Computes in 16-bit floats: weights, activations and the attributes that name a type; half the bytes, made for GPUs. What
 * ONNX defines for float32 alone, operators without a rule, and what is blocked stays in float32 behind Casts, as does a
 * node that reads a weight beyond ±65504 or, with `data`, comes within half of that. In CPU and WASM builds ONNX Runtime
 * puts Casts around most of it, which is slower than float32: see `targets`.
 * Throws a MinnowError `quantize/option` for wrong options, `quantize/no-node` for a node that is not there.
 *
 * @example
 * const { model: half } = await convertFloat16({ opBlockList: ["Softmax"] }).run(model);
 */
export function convertFloat16(options: ConvertFloat16Options = {}): Pass {
  oneOf("to", options.to, ["float16", "bfloat16"]);
  const { data, signal, onProgress, threads, ...rest } = options;
  return { name: "convertFloat16", options: rest as Json, run: (model) => converted(model, options) };
}

async function converted(given: Model, options: ConvertFloat16Options): Promise<PassResult> {
  const { model, changes } = await upgrade().run(given);
  const blocked = matcher(options.nodeBlockList ?? [], model);
  const overflowing = await overflows(model, options);
  const converter = new Converter(model, options, (node) => blocked(node) || overflowing.has(node.outputs[0] ?? ""));
  if (!hasFloats(model)) return { model: given, changes: [{ what: "Found nothing in float32.", at: "model" }] };
  const graph = await converter.convert(model.graph);
  const what = `Converted the model to ${converter.to}.`;
  return { model: { ...model, graph }, changes: merged([...changes, { what, at: "model" }, ...converter.changes]) };
}

/** Values of the model's own graph that examples bring near the largest float16. */
async function overflows(model: Model, options: ConvertFloat16Options): Promise<ReadonlySet<string>> {
  const { data, to = "float16" } = options;
  if (data === undefined || to === "bfloat16") return new Set();
  const facts = inferModel(model);
  const names = model.graph.nodes
    .flatMap(({ outputs }) => outputs)
    .filter((name) => facts.get(name)?.dtype === "float32");
  const seen = await observeExtrema(model, names, data, options);
  const far = [...(seen?.values ?? [])].filter(([, { min, max }]) => Math.max(-min, max) > HEADROOM * MOST);
  return new Set(far.map(([name]) => name));
}

const hasFloats = (model: Model): boolean => [...inferModel(model).values()].some(({ dtype }) => dtype === "float32");

/** What of a node stays float32: all it reads and writes, the inputs of some indices, or nothing. */
interface Kept {
  readonly inputs: readonly number[] | "all";
  /** The reason, where users may wonder. */
  readonly why?: string;
}

class Converter {
  readonly changes: Change[] = [];
  readonly to: "float16" | "bfloat16";
  readonly keepIo: boolean;
  readonly #model: Model;
  readonly #listed: ReadonlySet<string>;
  readonly #blocked: (node: Node) => boolean;
  readonly #names: Set<string>;
  readonly #titles: Set<string>;
  readonly #functions: ReadonlySet<string>;

  constructor(model: Model, options: ConvertFloat16Options, blocked: (node: Node) => boolean) {
    this.#model = model;
    this.to = options.to ?? "float16";
    this.keepIo = options.keepIoTypes ?? true;
    this.#listed = new Set(options.opBlockList ?? []);
    this.#blocked = blocked;
    this.#names = namesOf(model.graph);
    this.#titles = new Set(nodesIn(model.graph).map(({ name }) => name));
    this.#functions = new Set(model.functions.map(({ name, domain }) => keyOf(name, domain)));
  }

  /** Whether a value was float32 in the model as it came. */
  isFloat(name: string): boolean {
    return name !== "" && inferModel(this.#model).get(name)?.dtype === "float32";
  }

  /** A name that no value has. */
  fresh(base: string): string {
    return freshIn(this.#names, base);
  }

  /** A name that no node has. */
  freshTitle(base: string): string {
    return freshIn(this.#titles, base);
  }

  kept(node: Node, readsWide: boolean): Kept {
    const key = keyOf(node.op, node.domain);
    if (readsWide) return { inputs: "all", why: "it reads a weight that 16 bits do not reach" };
    if (this.#blocked(node)) return { inputs: "all", why: "it is blocked, or comes near the largest float16" };
    if (this.#listed.has(key)) return { inputs: "all", why: "its operator is blocked" };
    const known = FLOAT32.get(key);
    if (known !== undefined) return { inputs: known };
    const native = node.domain === "" || node.domain === "ai.onnx" || MICROSOFT_HALF.has(node.op);
    if (!native || this.#functions.has(key) || ruleOf(node) === undefined)
      return { inputs: "all", why: "it is not known whether its operator takes 16 bits" };
    return { inputs: [] };
  }

  async convert(graph: Graph, around?: Half): Promise<Graph> {
    const half = new Half(this, graph, around);
    await half.weights();
    for (const node of graph.nodes) await half.node(node);
    return half.done();
  }
}

function freshIn(names: Set<string>, base: string): string {
  let name = base;
  for (let i = 1; names.has(name); i++) name = `${base}_${i}`;
  names.add(name);
  return name;
}

type Width = "half" | "float";

/** One graph in the making: each value of it under a name for either width, made by a Cast where it is asked for. */
class Half {
  readonly #of: Converter;
  readonly #graph: Graph;
  readonly #around: Half | undefined;
  readonly #weights = new Map<string, Tensor>();
  readonly #nodes: Node[] = [];
  readonly #known = new Map<string, { half?: string; float?: string }>();
  /** Weights that stay float32, so that what reads them does. */
  readonly #wide = new Set<string>();

  constructor(of: Converter, graph: Graph, around: Half | undefined) {
    this.#of = of;
    this.#graph = graph;
    this.#around = around;
    for (const { name } of graph.inputs) this.#known.set(name, this.#keepsIo ? { float: name } : { half: name });
  }

  get #keepsIo(): boolean {
    return this.#around === undefined && this.#of.keepIo;
  }

  async weights(): Promise<void> {
    const { to } = this.#of;
    for (const [name, weight] of this.#graph.weights) {
      const overridable = this.#known.has(name);
      const stays = weight.dtype !== "float32" || (overridable && this.#keepsIo);
      const wide = !stays && to === "float16" && (await reaches(weight, MOST));
      if (wide) this.#wide.add(name);
      if (!overridable || wide) this.#known.set(name, wide ? { float: name } : { half: name });
      this.#weights.set(name, stays || wide ? weight : await halved(weight, to));
    }
  }

  #isWide(name: string): boolean {
    if (this.#known.has(name) || this.#around === undefined) return this.#wide.has(name);
    return this.#around.#isWide(name);
  }

  #find(name: string): { half?: string; float?: string } | undefined {
    const own = this.#known.get(name);
    return own !== undefined || this.#around === undefined ? own : this.#around.#find(name);
  }

  /** The name under which a value has a width here. */
  #as(width: Width, name: string): string {
    if (!this.#of.isFloat(name)) return name;
    const known = this.#find(name) ?? { half: name };
    const found = known[width];
    if (found !== undefined) return found;
    const made = this.#of.fresh(`${name}_${width}`);
    this.#cast((known.half ?? known.float)!, made, width);
    this.#known.set(name, { ...known, [width]: made });
    return made;
  }

  #cast(from: string, to: string, width: Width): void {
    const attrs = { to: int(codeOf(width === "half" ? this.#of.to : "float32")) };
    this.#nodes.push({
      name: this.#of.freshTitle(`${to}_cast`),
      op: "Cast",
      domain: "",
      inputs: [from],
      outputs: [to],
      attrs,
    });
  }

  async node(node: Node): Promise<void> {
    const reads = [...readsOf(node)];
    const { inputs: which, why } = this.#of.kept(
      node,
      reads.some((name) => this.#isWide(name)),
    );
    if (why !== undefined && [...reads, ...node.outputs].some((name) => this.#of.isFloat(name)))
      this.#of.changes.push({ what: `Left a node in float32: ${why}.`, at: titleOf(node) });
    const next = which === "all" ? this.#floatNode(node, reads) : await this.#halfNode(node, which);
    const width = which === "all" ? "float" : "half";
    const after: [string, string][] = [];
    const outputs = node.outputs.map((name) => {
      if (!this.#of.isFloat(name)) return name;
      const wanted = !this.#graph.outputs.some((output) => output.name === name)
        ? width
        : this.#keepsIo
          ? "float"
          : "half";
      const own = wanted === width ? name : this.#of.fresh(`${name}_${width}`);
      this.#known.set(name, { [width]: own, [wanted]: name });
      if (own !== name) after.push([own, name]);
      return own;
    });
    this.#nodes.push({ ...next, outputs });
    for (const [from, to] of after) this.#cast(from, to, width === "half" ? "float" : "half");
  }

  #floatNode(node: Node, reads: readonly string[]): Node {
    return reads.reduce((now, name) => renameReads(now, name, this.#as("float", name)), node);
  }

  async #halfNode(node: Node, floats: readonly number[]): Promise<Node> {
    const inputs = node.inputs.map((name, i) => this.#as(floats.includes(i) ? "float" : "half", name));
    const visited = new Map<Graph, Graph>();
    for (const { graph } of subgraphs(node)) visited.set(graph, await this.#of.convert(graph, this));
    const inner = mapSubgraphs(node, (graph) => visited.get(graph) ?? graph);
    const attrs: Record<string, Attr> = {};
    for (const [name, attr] of Object.entries(inner.attrs)) attrs[name] = await this.#attr(name, attr);
    return { ...inner, inputs, attrs };
  }

  /** Attributes that name the type float32, and constants of it, in 16 bits. */
  async #attr(name: string, attr: Attr): Promise<Attr> {
    const { to } = this.#of;
    if ((name === "to" || name === "dtype" || name === "output_dtype") && attr.type === "int")
      return Number(attr.value) === codeOf("float32") ? int(codeOf(to)) : attr;
    if (attr.type === "tensor" && attr.value.dtype === "float32") return tensorOfAttr(await halved(attr.value, to));
    return attr;
  }

  done(): Graph {
    const { inputs, outputs, valueInfo } = this.#graph;
    const typed = (info: ValueInfo): ValueInfo =>
      info.type === undefined || this.#keepsIo ? info : { ...info, type: this.#type(info.type) };
    const others = [...valueInfo].filter(([name]) => !this.#of.isFloat(name));
    return {
      ...this.#graph,
      inputs: inputs.map(typed),
      outputs: outputs.map(typed),
      weights: this.#weights,
      nodes: this.#nodes,
      valueInfo: new Map(others),
    };
  }

  #type(type: ValueType): ValueType {
    if ("of" in type) return { ...type, of: this.#type(type.of) } as ValueType;
    return type.dtype === "float32" ? { ...type, dtype: this.#of.to } : type;
  }
}

/** A weight in 16 bits, ties to even; a large one is read and halved when it is written. */
export async function halved(weight: Tensor, to: "float16" | "bfloat16"): Promise<Tensor> {
  const convert = to === "float16" ? toHalves : toBfloats;
  const make = async () => {
    const out = new Uint16Array(elements(weight.shape));
    for await (const { at, values } of piecesOf(weight)) convert(values, out.subarray(at, at + values.length));
    return new Uint8Array(out.buffer);
  };
  const large = byteSize(weight.dtype, elements(weight.shape)) > KEPT_BYTES;
  return large ? lazyTensor(to, weight.shape, make) : tensorOf(to, weight.shape, await make());
}

/** Whether a weight holds numbers beyond ±most; NaN and infinity, which 16 bits have too, do not count. */
export async function reaches(weight: Tensor, most: number): Promise<boolean> {
  for await (const { values } of piecesOf(weight))
    for (let i = 0; i < values.length; i++) {
      const magnitude = Math.abs(values[i]!);
      if (magnitude > most && magnitude !== Number.POSITIVE_INFINITY) return true;
    }
  return false;
}

/** The numbers of a weight, a few megabytes at a time. */
async function* piecesOf(weight: Tensor): AsyncGenerator<{ at: number; values: Float32Array }> {
  const bytes = byteSize(weight.dtype, elements(weight.shape));
  for (let offset = 0; offset < bytes; offset += PIECE) {
    const length = Math.min(PIECE, bytes - offset);
    yield { at: offset / 4, values: viewOf("float32", await weight.read({ offset, length })) as Float32Array };
  }
}
