import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { prepareDigits } from "../../examples/digits/data.mjs";
import { Net } from "../../src/architectures/index.ts";
import { load, save } from "../../src/onnx/index.ts";
import { minnow } from "./run.ts";

let folder: string;
const at = (name: string) => join(folder, name);
const digits = (...more: string[]) => [
  ...["finetune", at("net.onnx"), "--data", at("digits"), "--preprocess", "unit", "--limit", "200"],
  ...["--batch", "20", "--lr", "0.01", ...more],
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-finetune-"));
  await prepareDigits(at("digits"));
  const net = new Net({ seed: 3 });
  let x = net.maxPool(net.input("image", ["N", 1, 28, 28]), { kernel: 2, stride: 2, padding: 0 });
  x = net.relu(net.linear(net.flatten(x), { name: "fc.0", out: 24 }));
  await save(net.model({ scores: net.linear(x, { name: "fc.1", out: 10 }) }, "net"), at("net.onnx"));
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("finetune", () => {
  it("learns by adapters alone, writes them as PEFT does, and the model with them merged in", async () => {
    const lora = "r=4,alpha=8,dropout=0.05,rslora,target=fc.0,fc.1";
    const { code, out } = await minnow(...digits("--epochs", "6", "--lora", lora, "--json"));
    expect(code).toBe(0);
    const told = JSON.parse(out);
    expect(told).toMatchObject({ output: at("net.finetuned.onnx"), adapter: at("net.adapter") });
    const trainable = 4 * (196 + 24) + 4 * (24 + 10);
    expect(told.lora).toEqual({ trainable, all: trainable + told.before.parameters });
    expect(told.after.parameters).toBe(told.before.parameters);
    expect(told.after.metrics.accuracy).toBeGreaterThan(told.before.metrics.accuracy + 0.2);
    const config = JSON.parse(await readFile(at("net.adapter/adapter_config.json"), "utf8"));
    expect(config).toMatchObject({
      ...{ r: 4, lora_alpha: 8, lora_dropout: 0.05, use_rslora: true, use_dora: false },
      ...{ target_modules: ["fc.0", "fc.1"], base_model_name_or_path: "net.onnx" },
    });
    expect(existsSync(at("net.adapter/adapter_model.safetensors"))).toBe(true);
    const again = await minnow(...digits("-o", at("b.onnx")));
    expect([again.code, again.err]).toEqual([1, expect.stringContaining("There is an adapter already")]);
  }, 60_000);

  it("says how many parameters learn, and writes a model that takes adapters as inputs", async () => {
    const written = ["--write", "inputs", "-o", at("served.onnx"), "--adapter", at("dora")];
    const { code, out } = await minnow(...digits("--epochs", "1", "--lora", "r=2,dora,target=fc.0", ...written));
    expect(code).toBe(0);
    expect(out).toMatch(/trainable params: 464 \|\| all params: .* \|\| trainable%: /);
    const { graph } = await load(at("served.onnx"));
    expect(graph.inputs.map(({ name }) => name.split(".").at(-1))).toEqual([
      "image",
      "lora_a",
      "lora_b",
      "lora_factor",
    ]);
  }, 60_000);

  it("words it does not know, and modules that are not there, are told", async () => {
    const unknown = await minnow(...digits("--lora", "rank=4"));
    expect(unknown.code).toBe(2);
    expect(unknown.err).toMatch(/--lora has "rank=4"/);
    const absent = await minnow(...digits("--lora", "target=q_proj", "-o", at("c.onnx"), "--adapter", at("c")));
    expect(absent.code).toBe(1);
    expect(absent.err).toMatch(/No module fits \["q_proj"\]/);
  });
});
