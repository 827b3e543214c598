import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Net } from "../architectures/index.ts";
import { arrays } from "../data/arrays.ts";
import type { SafeTensor } from "../files/safetensors.ts";
import type { Model } from "../ir/graph.ts";
import { elements, readFloats, type TensorData } from "../ir/tensor.ts";
import { normal, random } from "../numeric/random.ts";
import { openSession } from "../runtime/index.ts";
import { type Adapter, type LoraOptions, loadAdapter, saveAdapter, scaleOf } from "./adapter.ts";
import { adapterOf, addLora, applyAdapter, mergeLora, parameterCounts } from "./lora.ts";
import { loraInputs } from "./lora-inputs.ts";
import { modulesByValue } from "./lora-values.ts";
import { adamW } from "./optimizers.ts";
import { constant } from "./schedules.ts";
import { train } from "./train.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-lora-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A convolution with a stride, one by one, a matrix with a bias and one without. */
function net(): Model {
  const n = new Net({ seed: 3 });
  let x = n.input("image", ["N", 2, 6, 6]);
  x = n.relu(n.conv(x, { name: "features.0", out: 6, kernel: 3, stride: 2, bias: true }));
  x = n.relu(n.conv(x, { name: "features.1", out: 8, kernel: 1 }));
  x = n.relu(n.linear(n.flatten(x), { name: "head.0", out: 10 }));
  return n.model({ scores: n.linear(x, { name: "head.1", out: 3 }) }, "net");
}

/** The net with weights and nodes called by numbers. */
function renamed(model: Model): Model {
  const names = new Map([...model.graph.weights.keys()].map((name, i) => [name, `val_${i}`]));
  const weights = new Map([...model.graph.weights].map(([name, tensor]) => [names.get(name) as string, tensor]));
  const nodes = model.graph.nodes.map((node, i) => ({
    ...node,
    name: `node_${i}`,
    inputs: node.inputs.map((name) => names.get(name) ?? name),
  }));
  return { ...model, graph: { ...model.graph, weights, nodes } };
}

const MODULES = ["features.0", "features.1", "head.0", "head.1"];
const noise = (shape: number[], seed: number): TensorData => {
  const next = random(seed);
  return { dtype: "float32", shape, data: Float32Array.from({ length: elements(shape) }, () => normal(next)) };
};
const image = noise([5, 2, 6, 6], 1);

const numbersOf = (results: Readonly<Record<string, TensorData>>): number[] =>
  Array.from((results["scores"] as TensorData).data as Float32Array);

async function answers(model: Model, more: Readonly<Record<string, TensorData>> = {}): Promise<number[]> {
  const session = await openSession(model);
  const results = await session.run({ image, ...more });
  await session.close();
  return numbersOf(results);
}

function near(found: readonly number[], wanted: readonly number[]): void {
  const far = Math.max(...found.map((value, i) => Math.abs(value - (wanted[i] as number))));
  expect(found.length).toBe(wanted.length);
  expect(far / Math.max(...wanted.map(Math.abs))).toBeLessThan(2e-6);
}

/** An adapter whose numbers are all drawn, so that it changes what the model says. */
async function drawn(options: Partial<LoraOptions> = {}): Promise<Adapter> {
  const { adapter } = await addLora(net(), { r: 3, loraAlpha: 5, targetModules: MODULES, ...options });
  let seed = 10;
  const moved = ({ shape, data }: { shape: readonly number[]; data: Float32Array }) => {
    const more = noise([...shape], seed++).data as Float32Array;
    return { shape, data: data.map((value, i) => value + 0.3 * (more[i] as number)) };
  };
  const modules = [...adapter.modules].map(([module, { a, b, magnitude }]) => {
    const parts = { a: moved(a), b: moved(b), ...(magnitude && { magnitude: moved(magnitude) }) };
    return [module, parts] as const;
  });
  return { config: adapter.config, modules: new Map(modules) };
}

const KINDS: readonly (readonly [string, Partial<LoraOptions>])[] = [
  ["LoRA", {}],
  ["rsLoRA", { useRslora: true }],
  ["DoRA", { useDora: true }],
];

describe("addLora", () => {
  for (const [kind, options] of KINDS)
    it(`${kind}: the model says what it said before anything is learned`, async () => {
      const { model } = await addLora(net(), { r: 2, targetModules: MODULES, ...options });
      near(await answers(model), await answers(net()));
    });

  it("adapts the modules that are named, by their ends, by patterns, by an expression, or all matrices but the last", async () => {
    const adapted = async (targetModules: LoraOptions["targetModules"]) =>
      [...(await addLora(net(), { targetModules })).adapter.modules.keys()].join();
    expect(await adapted(["0"])).toBe("features.0,head.0");
    expect(await adapted(["head.1", "features.*"])).toBe("features.0,features.1,head.1");
    expect(await adapted(".*s\\.[01]")).toBe("features.0,features.1");
    expect(await adapted("all-linear")).toBe("head.0");
    await expect(adapted(["q_proj"])).rejects.toMatchObject({ code: "lora/targets" });
    await expect(adapted("(")).rejects.toMatchObject({ code: "lora/targets" });
  });

  it("refuses ranks and shares that are none", async () => {
    for (const wrong of [{ r: 0 }, { r: 1.5 }, { loraAlpha: 0 }, { loraDropout: 1 }, { rankPattern: { head: 0 } }])
      await expect(addLora(net(), { targetModules: MODULES, ...wrong })).rejects.toMatchObject({
        code: "lora/options",
      });
  });

  it("training moves the adapters alone, with dropout before them, and brings the loss down", async () => {
    const { model, adapter, trainable } = await addLora(net(), {
      r: 2,
      loraAlpha: 4,
      loraDropout: 0.1,
      useDora: true,
      targetModules: ["features.1", "head.0"],
    });
    const y = Array.from({ length: 60 }, (_, i) => i % 3);
    const x = noise([60, 2, 6, 6], 2);
    (x.data as Float32Array).forEach((v, i) => {
      (x.data as Float32Array)[i] = v + (y[Math.floor(i / 72)] as number);
    });
    const result = await train(model, {
      data: arrays({ x, y }),
      epochs: 8,
      batch: 12,
      only: trainable,
      optimizer: adamW(),
      schedule: constant(0.02),
    });
    expect(result.history.at(-1)?.loss).toBeLessThan(0.8 * (result.history[0]?.loss ?? 0));
    for (const [name, tensor] of net().graph.weights)
      if (tensor.dtype === "float32")
        expect(await readFloats(result.model.graph.weights.get(name) ?? tensor), name).toEqual(
          await readFloats(tensor),
        );
    const learned = await adapterOf(result.model, adapter);
    for (const [module, { a, b, magnitude }] of learned.modules) {
      const first = adapter.modules.get(module);
      expect(a.data).not.toEqual(first?.a.data);
      expect(b.data.some((value) => value !== 0)).toBe(true);
      expect(magnitude?.data).not.toEqual(first?.magnitude?.data);
    }
    near(await answers(mergeLora(net(), learned)), await answers(result.model));
    const counts = parameterCounts({ model, trainable });
    expect(counts.trainable).toBe(2 * (6 + 8) + 8 + 2 * (72 + 10) + 10);
    expect(counts.all).toBe(counts.trainable + parameterCounts({ model: net(), trainable: [] }).all);
  });
});

describe("an adapter", () => {
  for (const [kind, options] of KINDS)
    it(`${kind}: merged, beside the weights, and as inputs it gives the same answers, others than the model's`, async () => {
      const adapter = await drawn(options);
      const base = await answers(net());
      const beside = await answers(applyAdapter(net(), adapter).model);
      expect(Math.max(...beside.map((value, i) => Math.abs(value - (base[i] as number))))).toBeGreaterThan(0.1);
      near(await answers(mergeLora(net(), adapter)), beside);
      const { model, feeds, none } = loraInputs(net(), adapter);
      near(await answers(model, await feeds(adapter)), beside);
      near(await answers(model, none), base);
    });

  it("one model serves adapters of any rank and of some modules, switched from call to call", async () => {
    const wide = await drawn({ r: 4, useDora: true });
    const slim = await drawn({ r: 1, targetModules: ["head.0"] });
    const { model, feeds, none } = loraInputs(net(), { targetModules: MODULES, useDora: true });
    const session = await openSession(model);
    const say = async (more: Readonly<Record<string, TensorData>>) => numbersOf(await session.run({ image, ...more }));
    for (const adapter of [wide, slim, wide])
      near(await say(await feeds(adapter)), await answers(mergeLora(net(), adapter)));
    near(await say(none), await answers(net()));
    await session.close();
    const narrow = loraInputs(net(), { targetModules: ["head.0"] });
    await expect(narrow.feeds(wide)).rejects.toMatchObject({ code: "lora/inputs" });
  });

  for (const [kind, options] of KINDS)
    it(`${kind}: written and read it is what it was`, async () => {
      const adapter = await drawn({ ...options, rankPattern: { "head.0": 2 }, alphaPattern: { "head.0": 7 } });
      await saveAdapter(folder, adapter, { baseModel: "net.onnx" });
      const read = await loadAdapter(folder);
      expect(read.config).toEqual({ ...adapter.config });
      expect([...read.modules]).toEqual([...adapter.modules].toSorted());
      expect(scaleOf(read.config, "head.0")).toBeCloseTo(options.useRslora ? 7 / Math.sqrt(2) : 3.5);
      const json = JSON.parse(await readFile(join(folder, "adapter_config.json"), "utf8"));
      expect(json).toMatchObject({ peft_type: "LORA", r: 3, lora_alpha: 5, base_model_name_or_path: "net.onnx" });
    });

  it("of a wrapped net is matched by the ends of its names", async () => {
    const { config, modules } = await drawn();
    const wrapped = { config, modules: new Map([...modules].map(([module, of]) => [`net.${module}`, of])) };
    near(await answers(mergeLora(net(), wrapped)), await answers(mergeLora(net(), { config, modules })));
  });

  it("finds its modules by the numbers of their weights, where a model has no names of them", async () => {
    const { config, modules } = await drawn();
    const model = net();
    const state = [...model.graph.weights].map(([name, tensor]) => [`model.${name}`, tensor as SafeTensor] as const);
    const anonymous = renamed(model);
    const own = { config, modules: new Map([...modules].map(([module, of]) => [`model.${module}`, of])) };
    expect(() => mergeLora(anonymous, own)).toThrow(/has no module/);
    const names = await modulesByValue(anonymous, new Map(state));
    near(await answers(mergeLora(anonymous, own, { names })), await answers(mergeLora(model, { config, modules })));
  });

  it("of another model, of another kind or damaged is refused with a word", async () => {
    const { config, modules } = await drawn();
    const other = (module: string, like: string) => ({ config, modules: new Map([[module, modules.get(like)!]]) });
    expect(() => mergeLora(net(), other("attn.q_proj", "head.0"))).toThrow(/has no module "attn.q_proj"/);
    expect(() => mergeLora(net(), other("0", "head.0"))).toThrow(/may be "features.0" or "head.0"/);
    expect(() => mergeLora(net(), other("head.1", "head.0"))).toThrow(/adapter was made for another model/);
    await saveAdapter(folder, { config, modules });
    const path = join(folder, "adapter_config.json");
    const json = JSON.parse(await readFile(path, "utf8"));
    const written = async (changed: unknown) => {
      await writeFile(path, typeof changed === "string" ? changed : JSON.stringify(changed));
      return loadAdapter(folder);
    };
    await expect(written({ ...json, peft_type: "IA3" })).rejects.toMatchObject({ code: "lora/unsupported" });
    await expect(written({ ...json, modules_to_save: ["score"] })).rejects.toMatchObject({ code: "lora/unsupported" });
    await expect(written({ ...json, use_dora: true })).rejects.toMatchObject({ code: "lora/adapter" });
    await expect(written("{")).rejects.toMatchObject({ code: "lora/adapter" });
  });
});
