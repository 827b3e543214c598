import { float, floatAttr } from "../ir/attrs.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Model, Node } from "../ir/graph.ts";
import { float32s, readFloats, type Tensor } from "../ir/tensor.ts";
import { usesOf } from "../ir/walk.ts";
import { inferModel } from "../ops/infer.ts";
import { constantsToWeights, sequence, takeWeightsOffInputs, upgrade } from "../passes/index.ts";
import { LEAST_SCALE } from "./affine.ts";
import type { Contraction } from "./plan.ts";
import { finiteFloats, partsOf } from "./weights.ts";

/** The BatchNormalization that stood behind a layer before it was folded into its weight. */
export interface Normalization {
  /** The layer's weight as it was, each channel times the sign of γ. */
  readonly weight: Tensor;
  /** γ without its sign, β, running mean (less what bias the layer had) and running variance: names they had, and numbers. */
  readonly parameters: readonly (readonly [name: string, tensor: Tensor])[];
  readonly epsilon: number;
  readonly momentum: number;
}

/** How far a folded weight may lie from weight times gain, relative to the largest of its channel. */
const CLOSE = 1e-4;

/** The least gain of a channel, of its bias. */
const LEAST_GAIN = 2 ** -20;

/**
 * The normalizations of a model that `optimize` folded into the weights of layers, by the names of the weights: those of which
 * nothing else became part, so that they can stand behind the layers again.
 */
export async function normalizationsOf(
  given: Model,
  base: Model,
  contractions: readonly Contraction[],
): Promise<ReadonlyMap<string, Normalization>> {
  const { model } = await sequence([upgrade(), takeWeightsOffInputs(), constantsToWeights()]).run(given);
  const { writer, readers, outputs } = usesOf(model.graph);
  const facts = inferModel(base);
  const found = new Map<string, Normalization>();
  for (const node of model.graph.nodes) {
    const [x = ""] = node.inputs;
    const layer = writer.get(x);
    if (node.op !== "BatchNormalization" || layer === undefined || readers.get(x)?.length !== 1 || outputs.has(x))
      continue;
    const those = contractions.filter(({ weight }) => layer.inputs.includes(weight));
    const [contraction] = those;
    if (contraction === undefined || those.length > 1 || readers.get(contraction.weight)?.length !== 1) continue;
    const { channel, bias } = contraction;
    const rank = facts.get(contraction.node.outputs[0] ?? "")?.shape?.length ?? 0;
    if (channel === undefined || bias === undefined || rank + channel.output !== 1) continue;
    const made = await normalizationOf(model, base, contraction, layer, node);
    if (made !== undefined) found.set(contraction.weight, made);
  }
  return found;
}

async function normalizationOf(
  model: Model,
  base: Model,
  { weight: name, channel, bias }: Contraction,
  layer: Node,
  node: Node,
): Promise<Normalization | undefined> {
  const tensors = node.inputs.slice(1, 5).map((input) => model.graph.weights.get(input));
  const [before, after] = [model.graph.weights.get(name), base.graph.weights.get(name)];
  if (!tensors.every((tensor) => tensor?.dtype === "float32") || before?.dtype !== "float32") return undefined;
  if (`${before.shape}` !== `${after?.shape}` || after === undefined) return undefined;
  const [scale, shift, mean, variance] = (await Promise.all(tensors.map((t) => readFloats(t as Tensor)))) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const epsilon = floatAttr(node, "epsilon", 1e-5);
  const own = await biasOf(model, layer, bias?.index ?? 2, scale.length);
  if (own === undefined) return undefined;
  const centre = mean.map((m, c) => m - (own[c] as number));
  const gain = scale.map((s, c) => s / Math.sqrt((variance[c] as number) + epsilon));
  const [old, folded] = [await readFloats(before), await readFloats(after)];
  const { channels, channelOf } = partsOf(before.shape, channel?.weight);
  if (channels !== scale.length) return undefined;
  const off = new Float64Array(channels);
  const largest = new Float64Array(channels);
  for (const [i, value] of folded.entries()) {
    const c = channelOf(i);
    off[c] = Math.max(off[c] as number, Math.abs(value - (old[i] as number) * (gain[c] as number)));
    largest[c] = Math.max(largest[c] as number, Math.abs(value));
  }
  if (off.some((value, c) => value > CLOSE * (largest[c] as number))) return undefined;
  const tensor = base.graph.weights.get(bias?.name ?? "");
  const now = tensor === undefined ? new Float32Array(channels) : await readFloats(tensor);
  const moved = now.some((value, c) => {
    const expected = (shift[c] as number) - (centre[c] as number) * (gain[c] as number);
    return Math.abs(value - expected) > CLOSE * (1 + Math.abs(expected));
  });
  if (moved || now.length !== channels) return undefined;
  const signs = scale.map((s) => (s < 0 ? -1 : 1));
  const list = [scale.map(Math.abs), shift, centre, variance];
  return {
    weight: float32s(
      before.shape,
      old.map((value, i) => value * (signs[channelOf(i)] as number)),
    ),
    parameters: list.map((numbers, i) => [node.inputs[i + 1] as string, float32s([channels], numbers)] as const),
    epsilon,
    momentum: floatAttr(node, "momentum", 0.9),
  };
}

/** The bias that a layer had of its own; undefined where it is no constant. */
async function biasOf(
  { graph }: Model,
  layer: Node,
  index: number,
  channels: number,
): Promise<Float32Array | undefined> {
  const name = layer.inputs[index] ?? "";
  if (name === "") return new Float32Array(channels);
  const tensor = graph.weights.get(name);
  return tensor === undefined ? undefined : finiteFloats(name, tensor);
}

/**
 * Puts a normalization behind a layer whose weight is rounded, in the place of its bias. γ enters as |γ|: the sign of a channel
 * stays that of its weight, so that folding it later changes no level.
 */
export function normalize(
  e: GraphEdit,
  node: Node,
  bias: number,
  { parameters, epsilon, momentum }: Normalization,
): void {
  const now = e.current(node) ?? node;
  const [y = ""] = now.outputs;
  const raw = e.fresh(`${y}.raw`);
  const names = parameters.map(([name, tensor]) => e.weight(name, tensor));
  const [scale = ""] = e.add({ op: "Abs", name: "", inputs: [names[0] as string] });
  const old = now.inputs[bias] ?? "";
  e.change(node, { inputs: now.inputs.slice(0, bias), outputs: now.outputs.with(0, raw) });
  const attrs = { epsilon: float(epsilon), momentum: float(momentum) };
  e.add({ op: "BatchNormalization", name: "", inputs: [raw, scale, ...names.slice(1)], outputs: [y], attrs });
  if (old !== "" && e.constant(old) !== undefined && e.readersOf(old).length === 0) e.removeWeight(old);
}

/**
 * Folds the normalizations behind layers with rounded weights into the steps of the weights and into biases: levels stay what
 * they are. Done when a model is frozen.
 */
export async function foldNormalizations(model: Model): Promise<Model> {
  const { writer } = usesOf(model.graph);
  const e = edit(model.graph);
  for (const node of model.graph.nodes) {
    if (node.op !== "BatchNormalization") continue;
    const [x = "", scale = "", ...rest] = node.inputs;
    const layer = writer.get(x);
    const weight = writer.get(layer?.inputs[1] ?? "");
    const absolute = writer.get(scale);
    if (layer === undefined || layer.inputs.length > 2 || weight?.op !== "DequantizeLinear" || absolute?.op !== "Abs")
      continue;
    const tensors = [absolute.inputs[0] ?? "", ...rest].map((name) => model.graph.weights.get(name));
    if (!tensors.every((tensor) => tensor !== undefined)) continue;
    const [gamma, shift, mean, variance] = (await Promise.all(tensors.map((t) => readFloats(t as Tensor)))) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const epsilon = floatAttr(node, "epsilon", 1e-5);
    const gains = gamma.map((g, c) => Math.abs(g) / Math.sqrt((variance[c] as number) + epsilon));
    const bias = shift.map((b, c) => b - (mean[c] as number) * (gains[c] as number));
    // A channel without gain keeps a little, so that its bias fits into 32 bits.
    const gain = gains.map((g, c) => Math.max(g, LEAST_SCALE, Math.abs(bias[c] as number) * LEAST_GAIN));
    const current = e.current(weight) ?? weight;
    const [step = ""] = e.add({
      op: "Mul",
      name: "",
      inputs: [current.inputs[1] ?? "", e.weight("gain", float32s([gain.length], gain))],
    });
    e.change(weight, { inputs: current.inputs.with(1, step) });
    const [y = ""] = node.outputs;
    e.remove(node);
    e.change(layer, { inputs: [...layer.inputs, e.weight("bias", float32s([bias.length], bias))], outputs: [y] });
  }
  return { ...model, graph: e.done() };
}
