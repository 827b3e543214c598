import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Net, normal } from "../../src/architectures/index.ts";
import { int } from "../../src/ir/index.ts";
import { random } from "../../src/numeric/random.ts";
import { save } from "../../src/onnx/index.ts";
import { PCM16, wav } from "../wav.ts";
import { minnow } from "./run.ts";

let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-heard-"));
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A tone that rises or falls, somewhere in noise, at any loudness. */
function glide(rises: boolean, next: () => number): number[] {
  const [start, loud, from] = [400 + 400 * next(), 0.1 + 0.8 * next(), Math.floor(800 * next())];
  let turns = 0;
  return Array.from({ length: 4000 }, (_, i) => {
    const share = Math.max(0, i - from) / 3200;
    turns += (start + 1500 * (rises ? share : 1 - share)) / 8000;
    return Math.max(-1, Math.min(1, loud * Math.sin(2 * Math.PI * turns) + 0.02 * (next() - 0.5)));
  });
}

describe("train on sounds", () => {
  it("learns from .wav files whose names tell the class, and evaluate hears them the same way", async () => {
    const next = random(5);
    await mkdir(at("glides"));
    for (let i = 0; i < 120; i++)
      await writeFile(
        at(`glides/${i % 2 === 0 ? "up" : "down"}_${i}.wav`),
        wav([glide(i % 2 === 0, next)], { ...PCM16, rate: 8000 }),
      );
    const net = new Net({ seed: 1 });
    let x = net.input("sound", ["N", 1, 24, 16]);
    x = net.relu(net.batchNorm(net.conv(x, { name: "conv", out: 8, kernel: 5, stride: 2 }), { name: "bn" }));
    x = net.relu(net.batchNorm(net.conv(x, { name: "conv2", out: 8, kernel: 3, stride: 2 }), { name: "bn2" }));
    await save(net.model({ scores: net.linear(net.flatten(x), { name: "fc", out: 2 }) }, "net"), at("ears.onnx"));
    const heard = [
      "--data",
      at("glides"),
      "--label-pattern",
      "^(up|down)_",
      "--sample-rate",
      "8000",
      "--seconds",
      "0.5",
    ];
    const { code, out, err } = await minnow("train", at("ears.onnx"), ...heard, "--epochs", "6", "--batch", "16");
    expect(err).toContain("epoch");
    expect(code).toBe(0);
    expect(out).toContain("120 sounds in 2 classes (matched alphabetically)");
    expect(out).toContain("24 frames of 30 ms, 16 mel filters; 0.5 s at 8000 Hz");
    expect(out).toContain("96 to learn from, 24 to judge (seed 0)");
    const judged = await minnow("evaluate", at("ears.trained.onnx"), ...heard, "--json");
    expect(JSON.parse(judged.out).metrics.accuracy).toBeGreaterThan(0.9);
  });

  it("says which expression is none", async () => {
    const { code, err } = await minnow("evaluate", at("ears.onnx"), "--data", at("glides"), "--label-pattern", "(");
    expect(code).toBe(2);
    expect(err).toContain('--label-pattern is "("');
  });
});

/** The sum of the vectors of a text's words, then two scores. */
function bag(vocabulary: number, length: number) {
  const net = new Net({ seed: 2 });
  const shape = ["N", length || "T"];
  const [ids, mask] = [net.input("input_ids", shape, "int64"), net.input("attention_mask", shape, "int64")];
  const words = net.embedding(ids, { name: "words", count: vocabulary, size: 8, init: normal(0.1) });
  const seen = net.op("Unsqueeze", [net.op("Cast", [mask], { name: "seen", attrs: { to: int(1) } }), net.ints([2])], {
    name: "seen",
  });
  const attrs = { keepdims: int(0) };
  const sum = net.op("ReduceSum", [net.mul(words, seen, "kept"), net.ints([1])], { name: "sum", attrs });
  return net.model({ scores: net.linear(sum, { name: "classifier", out: 2 }) }, "bag");
}

describe("train on texts", () => {
  const SUBJECTS = { animal: ["cat", "dog", "mouse", "horse"], thing: ["ship", "boat", "car", "plane"] };
  const sentences = (count: number) => {
    const next = random(7);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T;
    return Array.from({ length: count }, (_, i) => {
      const label = i % 2 === 0 ? "animal" : "thing";
      const filler = Array.from({ length: 3 }, () => pick(["very", "old", "new", "small", "large", "the"])).join(" ");
      return { text: `The ${filler} ${pick(SUBJECTS[label])} ${pick(["went", "came", "stopped"])} there.`, label };
    });
  };

  it("makes a vocabulary of what is learned from, leaves it beside the model, and reads it again", async () => {
    const rows = sentences(160);
    await mkdir(at("net"));
    await mkdir(at("out"));
    await writeFile(at("texts.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
    await save(bag(40, 0), at("net/reader.onnx"));
    const texts = ["--data", at("texts.jsonl")];
    const learning = ["--epochs", "5", "--batch", "16", "--optimizer", "adamw", "--lr", "0.02"];
    const output = ["-o", at("out/reader.onnx")];
    const { code, out, err } = await minnow("train", at("net/reader.onnx"), ...texts, ...learning, ...output);
    expect(err).toContain("epoch");
    expect(code).toBe(0);
    expect(out).toContain("160 texts in 2 classes (matched alphabetically)");
    expect(out).toMatch(/128 to learn from, 32 to judge \(seed 0\); \d+ in the vocabulary, 128 of each text/);
    const { model } = JSON.parse(await readFile(at("out/tokenizer.json"), "utf8"));
    expect(model.vocab).toMatchObject({ cat: expect.any(Number), plane: expect.any(Number) });
    expect(await readdir(at("net"))).toEqual(["reader.onnx"]);
    const judged = await minnow("evaluate", at("out/reader.onnx"), ...texts, "--json");
    expect(JSON.parse(judged.out).metrics.accuracy).toBeGreaterThan(0.95);
    const again = await minnow("train", at("net/reader.onnx"), ...texts, "-o", at("out/other.onnx"));
    expect(again.code).toBe(1);
    expect(again.err).toContain("tokenizer.json");
  });

  it("says that a tokenizer is missing, or is one of another model", async () => {
    const missing = await minnow("evaluate", at("net/reader.onnx"), "--data", at("texts.jsonl"));
    expect(missing.code).toBe(1);
    expect(missing.err).toContain("There is no tokenizer.json beside it");
    await mkdir(at("small"));
    await save(bag(9, 16), at("small/reader.onnx"));
    await writeFile(at("small/tokenizer.json"), await readFile(at("out/tokenizer.json")));
    const stranger = await minnow("evaluate", at("small/reader.onnx"), "--data", at("texts.jsonl"));
    expect(stranger.code).toBe(1);
    expect(stranger.err).toMatch(/knows \d+ tokens, and the model has embeddings for 9/);
    await writeFile(at("small/tokenizer.json"), "{");
    expect((await minnow("evaluate", at("small/reader.onnx"), "--data", at("texts.jsonl"))).err).toContain("no JSON");
  });
});
