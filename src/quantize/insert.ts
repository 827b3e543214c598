import { floatAttr, int } from "../ir/attrs.ts";
import { edit, type GraphEdit, renameReads } from "../ir/edit.ts";
import type { Graph, Model, Node } from "../ir/graph.ts";
import { elements, float32s, type Tensor, tensorFrom } from "../ir/tensor.ts";
import { titleOf, usesOf } from "../ir/walk.ts";
import { type Change, merged } from "../passes/pass.ts";
import { type Affine, affineOf, type QuantType, quantizeLevel } from "./affine.ts";
import type { Contraction, Plan, QuantizedValue } from "./plan.ts";
import type { QuantizeStaticOptions, Ranges } from "./types.ts";
import { finiteFloats, type QuantizedWeight, quantizeWeight } from "./weights.ts";

/** What is added to the outputs of contractions, by the name of the output: one number for each output channel. */
export type Corrections = ReadonlyMap<string, Float64Array>;

export type Formats = Pick<
  QuantizeStaticOptions,
  "perChannel" | "activationType" | "weightType" | "activationSymmetric" | "weightSymmetric" | "reduceRange"
>;

/**
 * Writes a plan into the graph: QuantizeLinear and DequantizeLinear around every value, weights in 8 bits, biases in 32
 * bits with the scale of what they are added to. Weights in `rounded` are on levels already, a scale for each channel. Values
 * and weights keep their names; what is new has short ones.
 */
export async function insertQuantization(
  model: Model,
  plan: Plan,
  ranges: Ranges,
  formats: Formats,
  corrections: Corrections = new Map(),
  rounded: ReadonlyMap<string, QuantizedWeight> = new Map(),
): Promise<{ model: Model; changes: readonly Change[] }> {
  const writer = new QuantizedWriter(model, plan, ranges, formats, corrections, rounded);
  for (const name of plan.constants) await writer.constant(name);
  for (const contraction of plan.contractions) await writer.contraction(contraction);
  for (const contraction of plan.excluded) await writer.floatBias(contraction);
  for (const value of plan.values.values()) writer.value(value);
  return { model: { ...model, graph: writer.done() }, changes: merged(writer.changes) };
}

/** The largest bias; what is summed on top stays below 2³¹. */
const MOST_BIAS = 2 ** 30;

class QuantizedWriter {
  readonly changes: Change[] = [];
  readonly #graph: Graph;
  readonly #plan: Plan;
  readonly #ranges: Ranges;
  readonly #formats: Formats;
  readonly #corrections: Corrections;
  readonly #rounded: ReadonlyMap<string, QuantizedWeight>;
  readonly #edit: GraphEdit;
  readonly #affine = new Map<string, Affine>();
  /** Names of constants by what they hold, so that equal ones stand once. */
  readonly #shared = new Map<string, string>();
  readonly #counts = new Map<string, number>();
  /** What each node reads instead of what it read. */
  readonly #reads = new Map<Node, Map<string, string>>();
  /** Biases by node: where the node had none, its inputs grow. */
  readonly #biases = new Map<Node, { index: number; name: string }>();

  constructor(
    { graph }: Model,
    plan: Plan,
    ranges: Ranges,
    formats: Formats,
    corrections: Corrections,
    rounded: ReadonlyMap<string, QuantizedWeight>,
  ) {
    this.#graph = graph;
    this.#plan = plan;
    this.#ranges = ranges;
    this.#formats = formats;
    this.#corrections = corrections;
    this.#rounded = rounded;
    this.#edit = edit(graph);
    for (const value of plan.values.values()) this.#affine.set(value.name, this.#affineOf(value));
  }

  get #type(): QuantType {
    return this.#formats.activationType ?? "uint8";
  }

  #affineOf({ name, like, inside, range }: QuantizedValue): Affine {
    const known = this.#affine.get(like);
    if (known !== undefined) return known;
    const symmetric = this.#formats.activationSymmetric ?? false;
    const seen = range === undefined ? this.#ranges.get(name)! : { min: range[0], max: range[1] };
    return affineOf(seen, { type: this.#type, symmetric, inside });
  }

  /** Rounds a value: QuantizeLinear, DequantizeLinear, and everything that has to read the result. */
  value({ name }: QuantizedValue): void {
    const { writer, readers, outputs } = usesOf(this.#graph);
    const { scale, zeroPoint } = this.#affine.get(name)!;
    const parameters = [this.#scale(scale), this.#zeros(this.#type, [zeroPoint])];
    const source = writer.get(name);
    const integer = source !== undefined && this.#plan.nodes.has(source);
    const levels = this.#name("q");
    let from = name;
    let to = this.#name("d");
    if (integer && outputs.has(name)) {
      // The output keeps its name, and what computes it gets another.
      [from, to] = [to, name];
      this.#edit.change(source, { outputs: source.outputs.map((output) => (output === name ? from : output)) });
    }
    this.#add("QuantizeLinear", [from, ...parameters], levels);
    this.#add("DequantizeLinear", [levels, ...parameters], to);
    for (const node of readers.get(name) ?? [])
      if (this.#plan.nodes.has(node)) this.#redirect(node, name, to);
      else if (integer) this.#redirect(node, name, this.#apart(node, to));
  }

  /**
   * What a layer that was excluded reads. Between DequantizeLinear and QuantizeLinear ONNX Runtime quantizes a constant
   * float weight by itself, with one scale; a sum of one number, which costs a copy, keeps it from that.
   */
  #apart(node: Node, from: string): string {
    if (!this.#plan.excluded.some((contraction) => contraction.node === node)) return from;
    const key = `apart ${from}`;
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    const to = this.#name("d");
    this.#shared.set(key, to);
    this.#add("Sum", [from], to);
    return to;
  }

  /** A constant that is read as activations are: in their type, with one scale. */
  async constant(name: string): Promise<void> {
    const weight = this.#graph.weights.get(name)!;
    const values = await finiteFloats(name, weight);
    const range = { min: values.reduce((a, b) => Math.min(a, b), 0), max: values.reduce((a, b) => Math.max(a, b), 0) };
    const affine = affineOf(range, { type: this.#type });
    const levels = Array.from(values, (value) => quantizeLevel(value, affine, this.#type));
    const readers = usesOf(this.#graph).readers.get(name) ?? [];
    const parameters = [this.#scale(affine.scale), this.#zeros(this.#type, [affine.zeroPoint])];
    const to = this.#name("d");
    this.#add("DequantizeLinear", [this.#name("c", tensorFrom(this.#type, weight.shape, levels)), ...parameters], to);
    for (const node of readers) if (this.#plan.nodes.has(node)) this.#redirect(node, name, to);
  }

  /** Puts the weight and the bias of a contraction into integers. */
  async contraction(contraction: Contraction): Promise<void> {
    const { node, weight, input } = contraction;
    const inputScale = this.#affine.get(input)!.scale;
    const bias = await this.#biasOf(contraction);
    let quantized = this.#rounded.get(weight) ?? (await this.#quantize(contraction));
    const least = leastScales(quantized, bias, inputScale);
    if (least !== undefined) {
      quantized = await this.#quantize(contraction, least);
      const what = "Made the steps of a weight coarser where its bias would not fit into 32 bits.";
      this.changes.push({ what, at: titleOf(node) });
    }
    this.#redirect(node, weight, this.#weight(contraction, quantized, least !== undefined));
    if (bias !== undefined) this.#bias(contraction, bias, quantized.scales, inputScale);
  }

  /** Corrects the bias of a layer that stays in float: it sees what the integer layers before it got wrong. */
  async floatBias(contraction: Contraction): Promise<void> {
    const { node, bias } = contraction;
    if (bias === undefined || !this.#corrections.has(node.outputs[0] ?? "")) return;
    const values = await this.#biasOf(contraction);
    if (values === undefined) return;
    const alone = usesOf(this.#graph).readers.get(bias.name)?.length === 1;
    const tensor = float32s([values.length], values);
    this.#biases.set(node, {
      index: bias.index,
      name: alone ? this.#store(bias.name, tensor) : this.#name("b", tensor),
    });
  }

  #axisOf({ channel }: Contraction): number | undefined {
    return (this.#formats.perChannel ?? true) ? channel?.weight : undefined;
  }

  async #quantize(contraction: Contraction, least?: Float64Array): Promise<QuantizedWeight> {
    const { weightType = "int8", weightSymmetric = true, reduceRange = false } = this.#formats;
    return quantizeWeight(contraction.weight, this.#graph.weights.get(contraction.weight)!, {
      type: weightType,
      axis: this.#axisOf(contraction),
      symmetric: weightSymmetric || contraction.depthwise,
      reduceRange,
      leastScales: least,
    });
  }

  /** The name of the dequantized weight; a weight that several nodes read in the same way stands once. */
  #weight(contraction: Contraction, { tensor, scales, zeroPoints }: QuantizedWeight, own: boolean): string {
    const { weight: name } = contraction;
    const axis = this.#axisOf(contraction);
    const key = `${axis} ${name}`;
    const known = this.#shared.get(key);
    if (known !== undefined && !own) return known;
    const to = this.#name("w");
    if (!own) this.#shared.set(key, to);
    const readers = usesOf(this.#graph).readers.get(name) ?? [];
    const stored = readers.length === 1 ? this.#store(name, tensor) : this.#name("w", tensor);
    const parameters = [this.#scale(scales, axis), this.#zeros(tensor.dtype as QuantType, zeroPoints, axis)];
    this.#add("DequantizeLinear", [stored, ...parameters], to, axis);
    return to;
  }

  /** The numbers to add to each output channel, where they can be put into the node's bias. */
  async #biasOf({ node, bias, channel, weight }: Contraction): Promise<Float64Array | undefined> {
    if (bias === undefined || channel === undefined) return undefined;
    const correction = this.#corrections.get(node.outputs[0] ?? "");
    const channels = correction?.length ?? this.#graph.weights.get(weight)!.shape[channel.weight]!;
    const old = this.#graph.weights.get(bias.name);
    if (bias.name !== "" && !isVector(old, channels)) return undefined;
    if (bias.name === "" && correction === undefined) return undefined;
    const values = old ? Float64Array.from(await finiteFloats(bias.name, old)) : new Float64Array(channels);
    const factor = floatAttr(node, "beta", 1);
    if (correction !== undefined && factor !== 0)
      for (let c = 0; c < channels; c++) values[c]! += correction[c]! / factor;
    return values;
  }

  #bias({ node, bias }: Contraction, values: Float64Array, weightScales: Float32Array, inputScale: number): void {
    const { index, name } = bias!;
    const perChannel = weightScales.length === values.length;
    if (!perChannel && weightScales.length > 1) return;
    const scales = weightScales.map((scale) => Math.fround(scale * inputScale));
    const levels = values.map((value, c) => Math.round(value / scales[perChannel ? c : 0]!));
    const tensor = tensorFrom("int32", [values.length], levels);
    const alone = name !== "" && usesOf(this.#graph).readers.get(name)?.length === 1;
    const to = this.#name("b");
    const axis = perChannel && scales.length > 1 ? 0 : undefined;
    const stored = alone ? this.#store(name, tensor) : this.#name("b", tensor);
    this.#add("DequantizeLinear", [stored, this.#scale(scales, axis)], to, axis);
    this.#biases.set(node, { index, name: to });
  }

  #store(name: string, tensor: Tensor): string {
    this.#edit.setWeight(name, tensor);
    return name;
  }

  /** A short new name, with a constant under it if one is given. */
  #name(letter: string, tensor?: Tensor): string {
    const count = this.#counts.get(letter) ?? 0;
    this.#counts.set(letter, count + 1);
    const base = `${letter}${count}`;
    return tensor === undefined ? this.#edit.fresh(base) : this.#edit.weight(base, tensor);
  }

  #scale(values: number | Float32Array, axis?: number): string {
    const list = typeof values === "number" ? [values] : values;
    return this.#constant("s", `s${list.join()}`, float32s(axis === undefined ? [] : [list.length], list));
  }

  #zeros(type: QuantType, values: ArrayLike<number>, axis?: number): string {
    const shape = axis === undefined ? [] : [values.length];
    return this.#constant("z", `${type} ${shape} ${Array.from(values)}`, tensorFrom(type, shape, values));
  }

  #constant(letter: string, key: string, tensor: Tensor): string {
    const found = this.#shared.get(key) ?? this.#name(letter, tensor);
    this.#shared.set(key, found);
    return found;
  }

  #add(op: string, inputs: readonly string[], output: string, axis?: number): void {
    const attrs = axis === undefined || axis === 1 ? {} : { axis: int(axis) };
    this.#edit.add({ op, name: "", inputs, outputs: [output], attrs });
  }

  #redirect(node: Node, from: string, to: string): void {
    const reads = this.#reads.get(node) ?? new Map<string, string>();
    this.#reads.set(node, reads.set(from, to));
  }

  done(): Graph {
    for (const node of new Set([...this.#reads.keys(), ...this.#biases.keys()])) {
      let next = this.#edit.current(node)!;
      for (const [from, to] of this.#reads.get(node) ?? []) next = renameReads(next, from, to);
      const inputs = [...next.inputs];
      const bias = this.#biases.get(node);
      if (bias !== undefined) {
        while (inputs.length < bias.index) inputs.push("");
        inputs[bias.index] = bias.name;
      }
      this.#edit.change(node, { inputs, attrs: next.attrs });
    }
    for (const name of this.#graph.weights.keys())
      if (this.#edit.readersOf(name).length === 0 && !this.#edit.isOutput(name)) this.#edit.removeWeight(name);
    return this.#edit.done();
  }
}

const isVector = (tensor: Tensor | undefined, length: number): tensor is Tensor =>
  tensor?.dtype === "float32" && elements(tensor.shape) === length && (tensor.shape.at(-1) ?? 1) === length;

/** Scales under which every bias fits; undefined where all fit already. */
function leastScales(
  { scales }: QuantizedWeight,
  bias: Float64Array | undefined,
  inputScale: number,
): Float64Array | undefined {
  if (bias === undefined) return undefined;
  const least = new Float64Array(scales.length);
  bias.forEach((value, i) => {
    const c = scales.length === 1 ? 0 : i;
    least[c] = Math.max(least[c]!, Math.abs(value) / (inputScale * MOST_BIAS));
  });
  return scales.some((scale, c) => scale < least[c]!) ? least : undefined;
}
