import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AutoModel, AutoModelForCausalLM, AutoTokenizer, env, type Tensor } from "@huggingface/transformers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create } from "../../src/architectures/index.ts";
import { edit, type Model } from "../../src/ir/index.ts";
import { load, save } from "../../src/onnx/index.ts";
import { minnow } from "./run.ts";

const WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ..."the cat sat on a mat and saw two birds".split(" ")];
const SENTENCE = "the cat sat on a mat and saw two birds";
let folder: string;
const at = (...names: string[]) => join(folder, ...names);
const json = async (path: string) => JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-hf-"));
  env.allowRemoteModels = false;
  env.localModelPath = folder;
  const sizes = { vocabulary: 64, layers: 2, dimension: 64, heads: 4, inner: 128, seed: 3 };
  await writeFolder("bert", create("bert_tiny", sizes), { model_type: "bert", hidden_size: 64 });
  await writeFolder("llama", create("llama", { ...sizes, kvHeads: 2 }), { model_type: "llama", hidden_size: 64 });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** A folder as Transformers.js reads it. */
async function writeFolder(name: string, model: Model, config: object) {
  await mkdir(at(name, "onnx"), { recursive: true });
  await save(model, at(name, "onnx", "model.onnx"));
  await writeFile(at(name, "config.json"), JSON.stringify({ ...config, "transformers.js_config": { mine: 1 } }));
  const vocabulary = Object.fromEntries(WORDS.map((word, id) => [word, id]));
  const special = WORDS.slice(0, 4).map((content, id) => ({ id, content, special: true }));
  const tokenizer = {
    version: "1.0",
    added_tokens: special,
    normalizer: null,
    pre_tokenizer: { type: "Whitespace" },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab: vocabulary, unk_token: "[UNK]" },
  };
  await writeFile(at(name, "tokenizer.json"), JSON.stringify(tokenizer));
  const settings = { tokenizer_class: "PreTrainedTokenizerFast", unk_token: "[UNK]", pad_token: "[PAD]" };
  await writeFile(at(name, "tokenizer_config.json"), JSON.stringify(settings));
}

type Dtype = "fp32" | "fp16" | "q8" | "int8" | "uint8" | "q4" | "q4f16" | "bnb4" | "q2";

/** What Transformers.js computes of the sentence in a type. */
async function answer(name: "bert" | "llama", dtype: Dtype): Promise<Float32Array> {
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const Loader = name === "bert" ? AutoModel : AutoModelForCausalLM;
  const model = await Loader.from_pretrained(name, { dtype, device: "cpu" });
  const outputs = (await model(tokenizer(SENTENCE))) as Record<string, Tensor>;
  await model.dispose();
  return (outputs["last_hidden_state"] ?? outputs["logits"])!.data as Float32Array;
}

function sqnr(exact: Float32Array, other: Float32Array): number {
  let [signal, noise] = [0, 0];
  exact.forEach((value, i) => {
    signal += value * value;
    noise += (value - other[i]!) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}

/** Signal to noise in dB that each type has to reach. */
const LEAST = { fp16: 45, q8: 20, int8: 20, uint8: 20, q4: 8, q4f16: 8, bnb4: 8 } as const;
const TYPES = Object.keys(LEAST) as (keyof typeof LEAST)[];

describe("quantize of a folder", () => {
  it("writes files that Transformers.js loads by their types, with nearly the same answers", async () => {
    for (const name of ["bert", "llama"] as const) {
      const { code, err } = await minnow("quantize", at(name), "--to", TYPES.join(), "--json");
      expect(err).toBe("");
      expect(code).toBe(0);
      const exact = await answer(name, "fp32");
      const size = (await stat(at(name, "onnx", "model.onnx"))).size;
      for (const type of TYPES) {
        expect(sqnr(exact, await answer(name, type)), `${name} ${type}`).toBeGreaterThan(LEAST[type]);
      }
      const q4 = (await stat(at(name, "onnx", "model_q4f16.onnx"))).size;
      expect(q4).toBeLessThan(0.6 * size);
    }
  }, 240_000);

  it("notes the options of each model", async () => {
    const config = await json(at("llama", "quantize_config.json"));
    expect(config["modes"]).toEqual(TYPES);
    const { model } = config["per_model_config"] as Record<string, { op_types: string[]; weight_type: string }>;
    expect(model!.weight_type).toBe("QInt8");
    expect(model!.op_types).toContain("MatMul");
    expect(await json(at("llama", "config.json"))).toMatchObject({ model_type: "llama" });
  });

  it("splits off data where asked, says so in config.json, and Transformers.js finds it", async () => {
    const exact = await answer("bert", "fp32");
    const { code } = await minnow("quantize", at("bert"), "--to", "q4,fp16", "--external-data", "--force", "--quiet");
    expect(code).toBe(0);
    const files = await readdir(at("bert", "onnx"));
    expect(files).toContain("model_q4.onnx_data");
    const own = (await json(at("bert", "config.json")))["transformers.js_config"];
    expect(own).toEqual({ mine: 1, use_external_data_format: { "model_q4.onnx": 1, "model_fp16.onnx": 1 } });
    expect(sqnr(exact, await answer("bert", "q4"))).toBeGreaterThan(LEAST.q4);
    await minnow("quantize", at("bert"), "--to", "q4", "--force");
    const after = (await json(at("bert", "config.json")))["transformers.js_config"];
    expect(after).toEqual({ mine: 1, use_external_data_format: { "model_fp16.onnx": 1 } });
  }, 120_000);

  it("takes every float model of a folder, and gives convolutions unsigned weights and a word", async () => {
    await mkdir(at("two", "onnx"), { recursive: true });
    const net = create("squeezenet1_1", { classes: 4, resolution: 64, width: 0.25 });
    for (const part of ["encoder_model", "decoder_model"]) await save(net, at("two", "onnx", `${part}.onnx`));
    const { code, out } = await minnow("quantize", at("two"), "--to", "q8");
    expect(code).toBe(0);
    expect(out).toContain("times slower");
    const files = await readdir(at("two", "onnx"));
    expect(files.filter((file) => file.includes("_quantized")).sort()).toEqual([
      "decoder_model_quantized.onnx",
      "encoder_model_quantized.onnx",
    ]);
    const config = (await json(at("two", "quantize_config.json")))["per_model_config"];
    expect(config).toMatchObject({ encoder_model: { weight_type: "QUInt8" } });
  }, 120_000);

  it("refuses what is there, what is no type, and what is slower on the target, with what to do", async () => {
    const there = await minnow("quantize", at("bert"), "--to", "q8");
    expect([there.code, there.err]).toEqual([1, expect.stringContaining("--force")]);
    const wrong = await minnow("quantize", at("bert"), "--to", "int8-storage");
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("q4f16")]);
    const slow = await minnow("quantize", at("bert"), "--to", "q4", "--target", "wasm");
    expect(slow.code).toBe(1);
    expect(slow.err).toMatch(/slower than float32 on wasm.*measured/s);
    const forced = await minnow("quantize", at("bert"), "--to", "q4", "--target", "wasm", "--force");
    expect(forced.code).toBe(0);
  }, 120_000);
});

describe("quantize of a file", () => {
  it("makes every format that needs no data, and loads what it wrote", async () => {
    const model = create("llama", { vocabulary: 64, layers: 1, dimension: 64, heads: 4, inner: 64, seed: 3 });
    await save(model, at("llama.onnx"));
    const { size } = await stat(at("llama.onnx"));
    const formats =
      "uint8 q4f16 q2 bnb4 fp16 dynamic-int8 int8-storage int4-storage int3-storage int2-storage fp8-storage fp8e5m2-storage fp16-storage bf16-storage codebook-storage";
    for (const to of formats.split(" ")) {
      const output = at(`llama.${to}.onnx`);
      const { code, err } = await minnow("quantize", at("llama.onnx"), "--to", to, "-o", output);
      expect([code, err], to).toEqual([0, ""]);
      expect((await stat(output)).size, to).toBeLessThan(0.75 * size);
    }
  }, 240_000);

  it("rounds blocks by the method that is named, and knows no other", async () => {
    const made = async (...more: string[]) => {
      const output = at(`method${more.join("")}.onnx`);
      const { code } = await minnow("quantize", at("llama.onnx"), "--to", "q4", "-o", output, ...more);
      return { code, bytes: code === 0 ? await readFile(output, "base64") : "" };
    };
    const [nearest, searched] = [await made(), await made("--method", "mse")];
    expect([nearest.code, searched.code]).toEqual([0, 0]);
    expect(searched.bytes).not.toBe(nearest.bytes);
    expect(searched.bytes.length).toBe(nearest.bytes.length);
    expect((await made("--method", "entropy")).code).toBe(2);
    const [turned, blind] = [await made("--rotate"), await made("--rounding", "gptq")];
    expect([turned.code, blind.code]).toEqual([0, 2]);
    expect(turned.bytes).not.toBe(nearest.bytes);
  }, 120_000);

  it("says which node it is that a runtime does not load", async () => {
    const model = await load(at("bert", "onnx", "model.onnx"));
    const e = edit(model.graph);
    e.add({ op: "Mystery", domain: "nobody", inputs: ["input_ids"], outputs: ["mystery"] });
    e.setOutputs([...model.graph.outputs, { name: "mystery" }]);
    await save({ ...model, graph: e.done(), opsets: new Map([...model.opsets, ["nobody", 1]]) }, at("odd.onnx"));
    const { code, err } = await minnow("quantize", at("odd.onnx"), "--to", "q4");
    expect(code).toBe(1);
    expect(err).toMatch(/does not load.*Mystery/s);
  });
});
