import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import type { Tensor, TensorData } from "../ir/tensor.ts";
import {
  type Adapter,
  type AdapterModule,
  type Factor,
  type LoraOptions,
  loraConfig,
  PREFIX,
  scaleOf,
} from "./adapter.ts";
import type { MatchOptions } from "./lora.ts";
import { type Branch, withBranches } from "./lora-branches.ts";
import { type LoraLayer, loraLayers } from "./lora-layers.ts";
import { factor, mergedOf, ordered } from "./lora-numbers.ts";
import { layersOf, targetsOf } from "./lora-targets.ts";

/** A model that takes adapters with each call. */
export interface Switchable {
  readonly model: Model;
  /** What an adapter is fed as, beside the model's inputs; of several, made once each. */
  feeds(adapter: Adapter): Promise<Readonly<Record<string, TensorData>>>;
  /** What is fed for the model as it is. */
  readonly none: Readonly<Record<string, TensorData>>;
}

/**
 * The model with the factors of adapters as inputs: one session serves any number of adapters of any rank, switched from call to
 * call, in Node and in a page. Modules that an adapter leaves out are fed zeros. `like` says which modules are adapted: an adapter,
 * or what `addLora` takes. `useDora` lets adapters with DoRA's lengths in, at the cost of a product a layer.
 *
 * @example
 * const { model, feeds, none } = loraInputs(net, { targetModules: ["q_proj", "v_proj"] });
 * const session = await openSession(model);
 * const cheerful = await feeds(await loadAdapter("adapters/cheerful"));
 * await session.run({ input_ids, ...cheerful });
 * await session.run({ input_ids, ...none });
 */
export function loraInputs(model: Model, like: Adapter | LoraOptions, { names }: MatchOptions = {}): Switchable {
  const all = loraLayers(model);
  const config = "modules" in like ? like.config : loraConfig(like);
  const layers =
    "modules" in like
      ? layersOf(all, like, names)
      : new Map(targetsOf(all, config).map((layer) => [layer.module, layer] as const));
  const inputs = [...layers].map(([module, layer], i) => {
    const [out = 1, ...into] = layer.shape;
    const ones = into.slice(1).map(() => 1);
    const rank = `lora_r_${i}`;
    const shapes = {
      a: [rank, ...into],
      b: [out, rank, ...ones],
      ...(config.useDora && { factor: [out] }),
    };
    return { module, layer, shapes, key: `${PREFIX}${module}` };
  });
  const switchable = withBranches(model, ({ g, declare, hold }) =>
    inputs.map(({ layer, shapes, key }): Branch => {
      const named = Object.entries(shapes).map(([part, shape]) => {
        const name = g.edit.fresh(`${key}.lora_${part}`);
        declare({ name, type: { kind: "tensor", dtype: "float32", shape } });
        hold(name, { dtype: "float32", shape });
        return [part, name] as const;
      });
      return { layer, scale: 1, dropout: 0, ...(Object.fromEntries(named) as { a: string; b: string }) };
    }),
  );
  const fed = (key: string, parts: Readonly<Record<string, Factor>>) =>
    Object.entries(parts).map(([part, value]) => [`${key}.lora_${part}`, { dtype: "float32", ...value }] as const);
  const nothing = ({ layer, key }: (typeof inputs)[number]) => {
    const [out = 1, ...into] = layer.shape;
    const ones = factor([out], (data) => data.fill(1));
    const parts = { a: factor([1, ...into]), b: factor([out, 1, ...into.slice(1).map(() => 1)]) };
    return fed(key, { ...parts, ...(config.useDora && { factor: ones }) });
  };
  const factorOf = async (layer: LoraLayer, learned: AdapterModule, scale: number) => {
    const weight = await ordered(model.graph.weights.get(layer.weight) as Tensor, layer);
    const { factors } = mergedOf(weight, learned, scale);
    return { factor: { shape: [factors.length], data: factors } };
  };
  return {
    model: switchable,
    none: Object.fromEntries(inputs.flatMap((input) => nothing(input))),
    async feeds(adapter) {
      const own = new Map([...layersOf(all, adapter, names)].map(([module, layer]) => [layer, module]));
      const entries = [];
      for (const input of inputs) {
        const module = own.get(input.layer);
        own.delete(input.layer);
        const learned = module === undefined ? undefined : adapter.modules.get(module);
        if (module === undefined || learned === undefined) {
          entries.push(...nothing(input));
          continue;
        }
        const scale = scaleOf(adapter.config, module);
        const b = { ...learned.b, data: learned.b.data.map((value) => value * scale) };
        entries.push(
          ...fed(input.key, { a: learned.a, b, ...(config.useDora && (await factorOf(input.layer, learned, scale))) }),
        );
      }
      const [left] = own.values();
      if (left !== undefined || (adapter.config.useDora && !config.useDora)) throw notTaken(left);
      return Object.fromEntries(entries);
    },
  };
}

const notTaken = (module: string | undefined): MinnowError =>
  new MinnowError(
    module === undefined
      ? "The adapter has DoRA's lengths, and the model takes none."
      : `The adapter changes "${module}", for which the model has no input.`,
    {
      code: "lora/inputs",
      mend: "Make the model for all modules that its adapters change, with useDora where they have lengths.",
    },
  );
