import type { SafeTensor } from "../files/safetensors.ts";
import type { Model } from "../ir/graph.ts";
import { elements, type Tensor, viewOf } from "../ir/tensor.ts";
import { type LoraLayer, loraLayers } from "./lora-layers.ts";
import { ordered } from "./lora-numbers.ts";

/**
 * What the modules of a model's weights are called in the net it was exported from, by the names of the weights: those of the state
 * dict's `….weight` that hold the same numbers, transposed or not. For exporters that renamed weights and kept no scope; the
 * result is the option `names` of what takes an adapter. Weights that two modules share in number are left out.
 *
 * @example
 * const { tensors } = await readSafetensors(await openPath("model.safetensors"));
 * const merged = mergeLora(model, adapter, { names: await modulesByValue(model, tensors) });
 */
export async function modulesByValue(
  model: Model,
  tensors: ReadonlyMap<string, SafeTensor>,
): Promise<ReadonlyMap<string, string>> {
  const [modules, twice] = [new Map<string, string>(), new Set<string>()];
  for (const [name, { dtype, shape, read }] of tensors) {
    const module = /^(.+)\.weight$/.exec(name)?.[1];
    if (module === undefined || dtype !== "float32" || shape.length < 2) continue;
    const key = keyOf(shape, viewOf("float32", await read()) as Float32Array);
    if (modules.has(key)) twice.add(key);
    modules.set(key, module);
  }
  const names = new Map<string, string>();
  for (const layer of loraLayers(model)) {
    const key = await keyOfLayer(model, layer);
    const module = twice.has(key) ? undefined : modules.get(key);
    if (module !== undefined) names.set(layer.weight, module);
  }
  return names;
}

const keyOfLayer = async ({ graph }: Model, layer: LoraLayer): Promise<string> =>
  keyOf(layer.shape, await ordered(graph.weights.get(layer.weight) as Tensor, layer));

/** The shape and a hash of the numbers' bits: two 32-bit sums of products, equal for equal numbers. */
function keyOf(shape: readonly number[], values: Float32Array): string {
  const bits = new Uint32Array(values.buffer, values.byteOffset, elements(shape));
  let [a, b] = [0x811c9dc5, 0x9e3779b9];
  for (const word of bits) {
    a = Math.imul(a ^ word, 0x01000193);
    b = Math.imul(b + word, 0x85ebca6b) ^ (b >>> 13);
  }
  return `[${shape}] ${a >>> 0} ${b >>> 0}`;
}
