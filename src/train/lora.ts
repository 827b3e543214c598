import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { elements, lazyTensor, type Tensor, tensorOf, viewOf } from "../ir/tensor.ts";
import { parametersOf } from "../measure/parameters.ts";
import { random, seedOf } from "../numeric/random.ts";
import { factOf } from "../ops/facts.ts";
import {
  A,
  type Adapter,
  type AdapterModule,
  B,
  type Factor,
  type LoraConfig,
  type LoraOptions,
  loraConfig,
  MAGNITUDE,
  PREFIX,
  rankOf,
  scaleOf,
} from "./adapter.ts";
import { type Branch, withBranches } from "./lora-branches.ts";
import { type LoraLayer, loraLayers } from "./lora-layers.ts";
import { factor, lengthsOf, mergedOf, ordered, rearranged } from "./lora-numbers.ts";
import { layersOf, targetsOf } from "./lora-targets.ts";

/** A model with an adapter in it. */
export interface Adapted {
  readonly model: Model;
  readonly adapter: Adapter;
  /** Names of the adapter's weights in the model: what is trained. */
  readonly trainable: readonly string[];
}

export interface MatchOptions {
  /** What a weight's module is called, by the weight's name, where neither it nor its node tells (`modulesByValue`). */
  readonly names?: ReadonlyMap<string, string>;
}

/**
 * Puts low-rank branches (LoRA: Hu et al. 2021, arXiv:2106.09685) beside a model's weights: y = Wx + scale · B(Ax), scale = loraAlpha / r.
 * B is zeros at first, so that nothing changes; A is drawn from ±1/√in, as PEFT does. With `useDora` W + scale · B · A is scaled to
 * lengths that are learned as well, first those of W; the norm it is divided by is differentiated too (PEFT holds it constant).
 * Grouped convolutions are not adapted. Throws `lora/targets` where no module fits.
 *
 * @example
 * const { model, adapter, trainable } = await addLora(net, { r: 8, loraAlpha: 16, targetModules: ["q_proj", "v_proj"] });
 * const { model: trained } = await train(model, { data, epochs: 3, only: trainable });
 * await saveAdapter("adapters/mine", await adapterOf(trained, adapter));
 */
export async function addLora(model: Model, options: LoraOptions, { seed = 0 } = {}): Promise<Adapted> {
  const config = loraConfig(options);
  const modules = new Map<string, AdapterModule>();
  for (const [i, layer] of targetsOf(loraLayers(model), config).entries())
    modules.set(layer.module, await firstValues(model, layer, config, seedOf(seed, i)));
  return applyAdapter(model, { config, modules });
}

async function firstValues(model: Model, layer: LoraLayer, config: LoraConfig, seed: number): Promise<AdapterModule> {
  const [r, [out = 1, ...into]] = [rankOf(config, layer.module), layer.shape];
  const next = random(seed);
  const bound = 1 / Math.sqrt(elements(into));
  const a = factor([r, ...into], (data) => data.map(() => bound * (2 * next() - 1)));
  const b = factor([out, r, ...into.slice(1).map(() => 1)]);
  if (!config.useDora) return { a, b };
  const lengths = lengthsOf(await ordered(model.graph.weights.get(layer.weight) as Tensor, layer), out);
  return {
    a,
    b,
    magnitude: { shape: into.length > 1 ? [1, out, ...into.slice(1).map(() => 1)] : [out], data: lengths },
  };
}

/**
 * The model with an adapter in it, as branches beside its weights; gives what the adapter gave where it was trained. Its modules are
 * matched by name, however the exporter wrapped the net. Throws `lora/modules` and `lora/shape` where it is another model's.
 */
export function applyAdapter(model: Model, adapter: Adapter, { names }: MatchOptions = {}): Adapted {
  const { config, modules } = adapter;
  const layers = layersOf(loraLayers(model), adapter, names);
  const trainable: string[] = [];
  const adapted = withBranches(model, ({ g, hold }) => {
    const held = (module: string, part: string, { shape, data }: Factor): string => {
      const tensor = tensorOf("float32", shape, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      const name = g.edit.weight(`${PREFIX}${module}.${part}`, tensor);
      hold(name, factOf(tensor));
      trainable.push(name);
      return name;
    };
    return [...modules].map(([module, { a, b, magnitude }]): Branch => {
      const layer = layers.get(module) as LoraLayer;
      const parts = { a: held(module, A, a), b: held(module, B, b) };
      const length = magnitude && { length: held(module, MAGNITUDE, magnitude) };
      return { layer, ...parts, ...length, scale: scaleOf(config, module), dropout: config.loraDropout };
    });
  });
  return { model: adapted, adapter, trainable };
}

/** The adapter with the numbers it has in a model by now: after training. */
export async function adapterOf({ graph }: Model, { config, modules }: Adapter): Promise<Adapter> {
  const read = async (module: string, part: string, { shape }: Factor): Promise<Factor> => {
    const tensor = graph.weights.get(`${PREFIX}${module}.${part}`) as Tensor;
    return { shape, data: (viewOf("float32", await tensor.read()) as Float32Array).slice() };
  };
  const now = new Map<string, AdapterModule>();
  for (const [module, { a, b, magnitude }] of modules)
    now.set(module, {
      a: await read(module, A, a),
      b: await read(module, B, b),
      ...(magnitude && { magnitude: await read(module, MAGNITUDE, magnitude) }),
    });
  return { config, modules: now };
}

/**
 * The model with an adapter merged into its weights: W + scale · B · A, scaled to DoRA's lengths where it has such. Weights are computed
 * when they are read; the graph stays as it is, and so do the types, sizes and speed.
 */
export function mergeLora(model: Model, adapter: Adapter, { names }: MatchOptions = {}): Model {
  const layers = layersOf(loraLayers(model), adapter, names);
  const e = edit(model.graph);
  for (const [module, learned] of adapter.modules) {
    const layer = layers.get(module) as LoraLayer;
    const tensor = model.graph.weights.get(layer.weight) as Tensor;
    const scale = scaleOf(adapter.config, module);
    const back = layer.order.map((_, axis) => layer.order.indexOf(axis));
    e.setWeight(
      layer.weight,
      lazyTensor("float32", tensor.shape, async () => {
        const { sum, factors } = mergedOf(await ordered(tensor, layer), learned, scale);
        const size = sum.length / factors.length;
        const scaled = sum.map((value, i) => value * (factors[Math.floor(i / size)] as number));
        const data = rearranged(scaled, layer.shape, back, tensor.shape);
        return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      }),
    );
  }
  return { ...model, graph: e.done() };
}

/**
 * What is trained of a model, and all its parameters.
 *
 * @example
 * parameterCounts(adapted);   // { trainable: 12_288, all: 278_016 }
 */
export function parameterCounts({ model, trainable }: Pick<Adapted, "model" | "trainable">): {
  readonly trainable: number;
  readonly all: number;
} {
  const size = (name: string) => elements(model.graph.weights.get(name)?.shape ?? [0]);
  return { trainable: trainable.reduce((sum, name) => sum + size(name), 0), all: parametersOf(model) };
}
