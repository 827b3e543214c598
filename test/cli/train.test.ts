import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
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
const NET = () => at("net.onnx");
const digits = (output: string, ...more: string[]) => [
  "train",
  NET(),
  "--data",
  at("digits"),
  "--preprocess",
  "unit",
  "--limit",
  "300",
  "--batch",
  "30",
  "-o",
  at(output),
  ...more,
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-train-"));
  await prepareDigits(at("digits"));
  const net = new Net({ seed: 3 });
  const half = { kernel: 2, stride: 2, padding: 0 };
  let x = net.input("image", ["N", 1, 28, 28]);
  x = net.relu(net.batchNorm(net.conv(net.maxPool(x, half), { name: "conv", out: 8, kernel: 3 }), { name: "bn" }));
  x = net.flatten(net.maxPool(x, half));
  await save(net.model({ scores: net.linear(x, { name: "fc", out: 10 }) }, "net"), NET());
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("train", () => {
  it("trains on one part, judges on the other, and gives the fields others rely on", async () => {
    const { code, out } = await minnow(...digits("a.onnx", "--epochs", "5", "--augment", "crop=2", "--json"));
    expect(code).toBe(0);
    const told = JSON.parse(out);
    expect(told).toMatchObject({
      output: at("a.onnx"),
      epochs: [1, 2, 3, 4, 5].map((epoch) => ({ epoch })),
      untouched: [],
    });
    expect(told.before.metrics.accuracy).toBeLessThan(0.3);
    expect(told.after.metrics.accuracy).toBeGreaterThan(0.7);
    expect(told.after.parameters).toBe(told.before.parameters);
    expect(told.epochs[4].loss).toBeLessThan(told.epochs[0].loss);
    expect(told.epochs[4].samplesPerSecond).toBeGreaterThan(0);
    const evaluated = await minnow(
      "evaluate",
      at("a.onnx"),
      "--data",
      at("digits/test"),
      "--preprocess",
      "unit",
      "--limit",
      "600",
      "--json",
    );
    expect(JSON.parse(evaluated.out).metrics.accuracy).toBeGreaterThan(0.7);
    const report = await readFile(at("a.report.html"), "utf8");
    expect(report).toContain("<svg");
    expect(report).toContain("minnow train");
    expect(report).not.toMatch(/(src|href)="?https?:/);
    expect(await readdir(folder)).not.toContain("a.checkpoint.safetensors");
  });

  it("Ctrl-C saves the state; --resume ends with the bytes of a training that never stopped", async () => {
    const options = ["--epochs", "2", "--ema", "0.9", "--quiet"];
    expect((await minnow(...digits("whole.onnx", ...options))).code).toBe(0);
    const running = minnow(...digits("part.onnx", ...options));
    const watch = setInterval(() => {
      if (!existsSync(at("part.checkpoint.safetensors"))) return;
      clearInterval(watch);
      process.emit("SIGINT");
    }, 5);
    const stopped = await running;
    expect(stopped.code).toBe(130);
    expect(stopped.err).toContain("--resume");
    expect(await readdir(folder)).not.toContain("part.onnx");
    const again = await minnow(...digits("part.onnx", ...options));
    expect(again.code).toBe(1);
    expect(again.err).toContain("--force to begin anew");
    expect((await minnow(...digits("part.onnx", ...options, "--resume"))).code).toBe(0);
    expect(await readFile(at("part.onnx"))).toEqual(await readFile(at("whole.onnx")));
  });

  it("quantization-aware, writes the integer model: weights of 4 bits, about as good as the float it started from", async () => {
    expect((await minnow(...digits("float.onnx", "--epochs", "5"))).code).toBe(0);
    const [, , ...rest] = digits("qat.onnx", "--epochs", "2", "--qat", "int4", "--json");
    const { code, out } = await minnow("train", at("float.onnx"), ...rest);
    expect(code).toBe(0);
    const { before, after } = JSON.parse(out);
    expect(after.metrics.accuracy).toBeGreaterThan(before.metrics.accuracy - 0.05);
    expect(after.bytes).toBeLessThan(0.5 * before.bytes);
    const { graph } = await load(at("qat.onnx"));
    expect(graph.weights.get("conv.weight")?.dtype).toBe("int4");
    expect(graph.nodes.some(({ op }) => op === "QuantizeLinear")).toBe(true);
    const [, , ...wide] = digits(
      "wide.onnx",
      "--epochs",
      "1",
      "--qat",
      "int4",
      "--first-last",
      "int8",
      "--live-batch-norm",
    );
    expect((await minnow("train", at("float.onnx"), ...wide)).out).toContain("int4 (first and last int8)");
    expect((await load(at("wide.onnx"))).graph.weights.get("conv.weight")?.dtype).toBe("int8");
    const alone = await minnow(...digits("alone.onnx", "--first-last", "int8"));
    expect(alone).toMatchObject({ code: 2, err: expect.stringContaining("--qat int8 or --qat int4 too") });
  }, 60_000);

  it("freezes by pattern, and names what stays as it is", async () => {
    const { code, out } = await minnow(
      ...digits("head.onnx", "--epochs", "1", "--freeze", "conv*", "--freeze", "bn.*"),
    );
    expect(code).toBe(0);
    expect(out).toContain("3 weights left as they were: conv.weight (frozen)");
    const [before, after] = [await load(NET()), await load(at("head.onnx"))];
    const bytes = async (model: typeof before, name: string) => model.graph.weights.get(name)?.read();
    expect(await bytes(after, "conv.weight")).toEqual(await bytes(before, "conv.weight"));
    expect(await bytes(after, "bn.running_mean")).toEqual(await bytes(before, "bn.running_mean"));
    expect(await bytes(after, "fc.weight")).not.toEqual(await bytes(before, "fc.weight"));
  });

  it("takes a fifth of one source to judge, and says so", async () => {
    const options = digits("fifth.onnx", "--epochs", "1", "--limit", "200").map((word) =>
      word === at("digits") ? at("digits/train") : word,
    );
    const { code, out, err } = await minnow(...options);
    expect(code).toBe(0);
    expect(out).toContain("160 to learn from, 40 to judge (seed 0)");
    expect(err).toMatch(/epoch +1 {2}loss \d/);
  });

  it("a rate that is far too high ends with a clear word, and nothing is written", async () => {
    const { code, err } = await minnow(...digits("wild.onnx", "--epochs", "1", "--lr", "1e12", "--warmup", "0"));
    expect(code).toBe(1);
    expect(err).toContain("diverged");
    expect(err).toContain("Lower the learning rate");
    expect(err).not.toContain("    at ");
    expect(await readdir(folder)).not.toContain("wild.onnx");
  });

  it("help fits 90 columns", async () => {
    const { code, out } = await minnow("train", "--help");
    expect(code).toBe(0);
    for (const line of out.split("\n")) expect(line.length, line).toBeLessThanOrEqual(90);
  });

  it("says which word of the command line is wrong, and exits 2", async () => {
    for (const [options, word] of [
      [["--augment", "spin"], "spin"],
      [["--optimizer", "adagrad"], "adagrad"],
      [["--metric", "beauty"], "beauty"],
      [["--epochs", "0"], "--epochs"],
    ] as const) {
      const { code, err } = await minnow(...digits("x.onnx", ...options));
      expect(code, word).toBe(2);
      expect(err).toContain(word);
    }
    expect((await minnow(...digits("x.onnx", "--freeze", "head*"))).err).toContain('No weight fits "head*"');
    expect((await minnow(...digits("x.onnx", "--resume"))).err).toContain("no checkpoint to go on from");
  });
});

describe("prune", () => {
  it("sets more and more weights to 0 while it trains and holds them there; a codebook stores what is left", async () => {
    const zeros = (output: string, ...more: string[]) => [
      "prune",
      ...digits(output, "--sparsity", "80%", "--schedule", "gradual", "--scope", "global", ...more).slice(1),
    ];
    const { code, out, err } = await minnow(...zeros("sparse.onnx", "--epochs", "4", "--json"));
    expect(code, err).toBe(0);
    const told = JSON.parse(out);
    expect(told.sparsity).toBeCloseTo(0.8, 2);
    expect(told.after.brotliBytes).toBeLessThan(0.45 * told.before.brotliBytes);
    expect(told.after.metrics.accuracy).toBeGreaterThan(0.5);
    const storage = (to: string) => [
      "quantize",
      at("sparse.onnx"),
      "--to",
      to,
      "--clusters",
      "8",
      "-o",
      at("few.onnx"),
      "--json",
    ];
    expect((await minnow(...storage("int8-storage"))).err).toContain("no codebook is written");
    const stored = await minnow(...storage("codebook-storage"));
    expect(JSON.parse(stored.out).after.bytes).toBeLessThan(0.3 * told.after.bytes);
    const refused = await minnow(...zeros("x.onnx", "--epochs", "4", "--method", "wanda"));
    expect([refused.code, refused.err]).toEqual([
      2,
      expect.stringMatching(/magnitude, movement|magnitude or movement/),
    ]);
    expect(existsSync(at("x.onnx"))).toBe(false);
  });
});

describe("prune --finetune", () => {
  const prune = (net: string, ...more: string[]) =>
    minnow("prune", net, ...digits("cut.onnx", "--macs", "60%", "--round-to", "1", ...more).slice(2));

  it("cuts and trains by turns, taught by the model as it was, and leaves no checkpoint", async () => {
    const ways = ["--schedule", "linear:2", "--regularize", "group-lasso=0.001", "--teacher", "self"];
    const { code, out, err } = await prune(at("a.onnx"), "--finetune", "4", ...ways, "--json");
    expect(code, err).toBe(0);
    const told = JSON.parse(out);
    expect(told.epochs.map(({ epoch }: { epoch: number }) => epoch)).toEqual([1, 2, 3, 4]);
    expect(told.cuts.map(({ epoch }: { epoch: number }) => epoch)).toEqual([1, 2]);
    expect(told.after.macs).toBeLessThanOrEqual(0.6 * told.before.macs);
    expect(told.after.metrics.accuracy).toBeGreaterThan(0.6);
    expect((await readdir(folder)).filter((name) => name.includes("cut.checkpoint"))).toEqual([]);
  });

  it("says what goes with it alone, and what it cannot do", async () => {
    const said = async (...more: string[]) => (await prune(NET(), ...more)).err;
    expect(await said("--force")).toMatch(/--batch is given without --finetune/);
    expect(await said("--force", "--finetune", "2", "--plan")).toMatch(/--plan and --finetune/);
    expect(await said("--force", "--finetune", "2", "--schedule", "linear:4")).toMatch(/4 cuts, and 2 epochs/);
    expect(await said("--force", "--finetune", "2", "--schedule", "quick")).toMatch(/one-shot, linear:4/);
    expect(await said("--force", "--finetune", "2", "--regularize", "l3")).toMatch(/group-lasso, growing, slimming/);
    expect(await said("--force", "--finetune", "2", "--resume")).toMatch(/no checkpoint to go on from/);
  });
});
