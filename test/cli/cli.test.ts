import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { prepareDigits } from "../../examples/digits/data.mjs";
import { commandHelp, overview } from "../../src/cli/help.ts";
import { loadVerb, VERBS } from "../../src/cli/verbs.ts";
import { edit, float32s, readFloats, type Tensor } from "../../src/ir/index.ts";
import { load, save } from "../../src/onnx/index.ts";
import { minnow } from "./run.ts";

const DIGITS = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));
let folder: string;
let data: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-cli-"));
  data = join(folder, "digits");
  await prepareDigits(data);
}, 60_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** A path in the test's folder. */
const at = (...names: string[]) => join(folder, ...names);

describe("the command line", () => {
  it("shows every command when it is given none, and exits 2", async () => {
    const { code, out } = await minnow();
    expect(code).toBe(2);
    for (const verb of ["inspect", "compress", "quantize", "optimize", "evaluate", "compare", "bench"])
      expect(out).toContain(verb);
  });

  it("offers the nearest command to a mistyped one", async () => {
    const { code, err } = await minnow("compres", "x.onnx");
    expect(code).toBe(2);
    expect(err).toContain("Did you mean compress?");
  });

  it("help fits 80 columns", async () => {
    expect((await overview()).split("\n").filter((line) => line.length > 80)).toEqual([]);
    for (const name of Object.keys(VERBS)) {
      const help = commandHelp(await loadVerb(name));
      expect(help.split("\n").filter((line) => line.length > 80)).toEqual([]);
    }
    expect(await minnow("quantize", "--help")).toMatchObject({ code: 0, err: "" });
  });

  it("names an option it does not know, and exits 2", async () => {
    const { code, err } = await minnow("inspect", DIGITS, "--depth", "3");
    expect(code).toBe(2);
    expect(err).toContain("--depth");
    expect(err).not.toContain("    at ");
  });
});

describe("inspect", () => {
  it("gives the fields others rely on as one JSON object", async () => {
    const { code, out } = await minnow("inspect", DIGITS, "--json");
    expect(code).toBe(0);
    const it = JSON.parse(out);
    expect(it).toMatchObject({
      parameters: 190_282,
      inputs: [{ name: "image", shape: ["N", 1, 28, 28] }],
      opsets: { "ai.onnx": 18 },
    });
    expect(it.bytes).toBe((await readFile(DIGITS)).byteLength);
    expect(it.macs).toBeGreaterThan(1e6);
    expect(it.layers[0]).toMatchObject({ op: "Conv" });
  });

  it("answers for people in 80 columns", async () => {
    const { out } = await minnow("inspect", DIGITS);
    expect(out).toContain("190 k");
    for (const line of out.split("\n").filter((l) => !l.includes("minnow ")))
      expect(line.length, line).toBeLessThanOrEqual(100);
  });
});

describe("bad input", () => {
  it("a missing model is named, with exit code 1", async () => {
    const { code, err } = await minnow("inspect", at("nowhere.onnx"));
    expect(code).toBe(1);
    expect(err).toContain("There is no such file");
  });

  it("a truncated model is told as such, and nothing is written", async () => {
    const bytes = await readFile(DIGITS);
    await writeFile(at("short.onnx"), bytes.subarray(0, 200_000));
    const { code, err } = await minnow("optimize", at("short.onnx"));
    expect(code).toBe(1);
    expect(err).toContain("short.onnx");
    expect(err).not.toContain("    at ");
    expect(await readdir(folder)).not.toContain("short.min.onnx");
  });

  it("a missing folder, an empty class and a folder without images each get their own word", async () => {
    await mkdir(at("hollow", "a"), { recursive: true });
    await mkdir(at("hollow", "b"), { recursive: true });
    await cp(at("digits", "test", "0"), at("hollow", "a"), { recursive: true });
    await mkdir(at("void"), { recursive: true });
    const missing = await minnow("evaluate", DIGITS, "--data", at("nowhere"));
    const empty = await minnow("evaluate", DIGITS, "--data", at("hollow"));
    const none = await minnow("evaluate", DIGITS, "--data", at("void"));
    expect([missing.code, empty.code, none.code]).toEqual([1, 1, 1]);
    expect(missing.err).toContain("no such file or folder");
    expect(empty.err).toContain('class folder "b" holds no images');
    expect(none.err).toContain("no images");
  });

  it("a file that is there is not written over without --force", async () => {
    await cp(DIGITS, at("kept.onnx"));
    await writeFile(at("kept.min.onnx"), "precious");
    const { code, err } = await minnow("optimize", at("kept.onnx"));
    expect(code).toBe(1);
    expect(err).toContain("--force");
    expect(await readFile(at("kept.min.onnx"), "utf8")).toBe("precious");
  });

  it("a corrupt image is skipped and counted", async () => {
    await cp(at("digits", "test"), at("damaged"), { recursive: true });
    const [first] = await readdir(at("damaged", "3"));
    await writeFile(at("damaged", "3", first as string), "no picture");
    const { code, out } = await minnow("evaluate", DIGITS, "--data", at("damaged"), "--preprocess", "unit", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ samples: 1999, skipped: 1 });
  });

  it("a weight that is NaN is told as such", async () => {
    const model = await load(DIGITS);
    const [name, tensor] = [...model.graph.weights].find(([, t]) => t.shape.length === 4) ?? [];
    const values = (await readFloats(tensor as Tensor)).slice().fill(Number.NaN, 5, 6);
    const e = edit(model.graph);
    e.setWeight(name as string, float32s(tensor?.shape ?? [], values));
    await save({ ...model, graph: e.done() }, at("nan.onnx"));
    const { code, err } = await minnow(
      "compress",
      at("nan.onnx"),
      "--data",
      data,
      "--preprocess",
      "unit",
      "--limit",
      "100",
    );
    expect(code).toBe(1);
    expect(err).toContain("not finite");
  });

  it("options with impossible values exit 2", async () => {
    for (const [name, value] of [
      ["--max-drop", "lots"],
      ["--max-size", "big"],
      ["--limit", "-3"],
      ["--target", "toaster"],
    ] as const) {
      const { code, err } = await minnow("compress", DIGITS, "--data", data, name, value);
      expect(code, name).toBe(2);
      expect(err).toContain(name);
    }
  });
});

describe("compress", () => {
  it("writes a model within the budget, and a report that stands alone", async () => {
    const output = at("out.onnx");
    const { code, out } = await minnow(
      "compress",
      DIGITS,
      "--data",
      data,
      "--preprocess",
      "unit",
      "--max-drop",
      "1%",
      "-o",
      output,
      "--json",
    );
    const summary = JSON.parse(out);
    expect(summary).toMatchObject({ met: true, output });
    expect(code).toBe(0);
    expect(summary.after.metrics.accuracy).toBeGreaterThan(0.97);
    expect((await readFile(output)).byteLength).toBe(summary.after.bytes);
    expect(summary.after.bytes).toBeLessThan(0.3 * summary.before.bytes);
    const report = await readFile(summary.report, "utf8");
    expect(report).toContain("The budget is met");
    expect(report).not.toMatch(/(src|href)="?https?:/);
    expect(await readdir(folder)).not.toContain("out.onnx.trials.jsonl");
  });

  it("an impossible budget is missed plainly: exit 1, the nearest one written all the same", async () => {
    const output = at("tiny.onnx");
    const { code, out } = await minnow(
      "compress",
      DIGITS,
      "--data",
      data,
      "--preprocess",
      "unit",
      "--limit",
      "600",
      "--max-size",
      "10kB",
      "-o",
      output,
      "--json",
    );
    expect(code).toBe(1);
    expect(JSON.parse(out).met).toBe(false);
    expect((await readFile(output)).byteLength).toBeGreaterThan(10_000);
  });

  it("an accuracy near chance stops with the likely cause", async () => {
    await mkdir(at("shuffled"), { recursive: true });
    for (let c = 0; c < 10; c++)
      await cp(at("digits", "test", String(c)), at("shuffled", String((c + 3) % 10)), { recursive: true });
    const { code, err } = await minnow(
      "compress",
      DIGITS,
      "--data",
      at("shuffled"),
      "--preprocess",
      "unit",
      "-o",
      at("no.onnx"),
    );
    expect(code).toBe(1);
    expect(err).toContain("--labels");
    expect(await readdir(folder)).not.toContain("no.onnx");
  });

  it("skips the candidate that took the last run down", async () => {
    const output = at("again.onnx");
    const killer = [{ name: "optimize" }, { name: "quantizeStatic", method: "minmax", biasCorrection: false }];
    await writeFile(`${output}.trials.jsonl`, `${JSON.stringify({ started: killer })}\n`);
    const { out } = await minnow(
      "compress",
      DIGITS,
      "--data",
      data,
      "--preprocess",
      "unit",
      "--limit",
      "600",
      "-o",
      output,
      "--json",
    );
    const skipped = JSON.parse(out).trials.find((t: { note?: string }) => t.note !== undefined);
    expect(skipped.recipe).toEqual(killer);
    expect(skipped.note).toContain("took the process down");
  });

  it("a flat folder without labels is judged by agreement with the float model", async () => {
    await mkdir(at("flat"), { recursive: true });
    for (const c of ["0", "1", "2"]) await cp(at("digits", "test", c), at("flat"), { recursive: true });
    const { code, out } = await minnow(
      "compress",
      DIGITS,
      "--data",
      at("flat"),
      "--preprocess",
      "unit",
      "-o",
      at("flat.onnx"),
      "--json",
    );
    expect(code).toBe(0);
    expect(JSON.parse(out).after.metrics.agreement).toBeGreaterThan(0.98);
  });
});

describe("compare", () => {
  it("finds a model equal to itself, and exits 0", async () => {
    const { code, out } = await minnow("compare", DIGITS, DIGITS, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ outputs: [{ name: "logits", maxAbs: 0 }], agreement: 1 });
  });

  it("is a gate: names the bound that failed, and exits 1", async () => {
    const { code, out } = await minnow("compare", DIGITS, DIGITS, "--max-size", "1kB");
    expect(code).toBe(1);
    expect(out).toContain("at most 1000 are allowed");
  });

  it("names where error is born, shows ranges and histograms, and every suggestion runs as it is printed", async () => {
    const [small, report] = [at("small.onnx"), at("difference.html")];
    const reading = ["--data", data, "--preprocess", "unit", "--limit", "100"];
    expect((await minnow("quantize", DIGITS, "-o", small, ...reading)).code).toBe(0);
    const { code, out } = await minnow("compare", DIGITS, small, ...reading, "--report", report);
    expect(code).toBe(0);
    expect(out).toContain("Where the error is born");
    const page = await readFile(report, "utf8");
    for (const words of ["range after", "Histograms", "<svg", "What to try"]) expect(page).toContain(words);
    expect(page).not.toMatch(/(src|href)="?https?:/);
    const commands = out.split("\n").filter((line) => line.startsWith("  minnow "));
    expect(commands.length).toBeGreaterThan(2);
    expect(commands.at(-1)).toContain("--to auto");
    // The search is tried below.
    for (const command of commands.filter((line) => !line.includes("--to auto"))) {
      const [, ...words] = command.trim().split(" ");
      const ran = await minnow(...words);
      expect(ran.code, `${command}: ${ran.err}`).toBe(0);
      expect((await readFile(words[words.indexOf("-o") + 1]!)).byteLength).toBeGreaterThan(0);
    }
  });
});

describe("quantize --to auto", () => {
  it("measures on the target and keeps the budget: in WebAssembly what it writes is not slower than float", async () => {
    const output = at("auto.onnx");
    const reading = ["--data", data, "--preprocess", "unit", "--limit", "100"];
    const bounds = ["--target", "wasm", "--max-drop", "1%", "--max-size", "300kB"];
    const { code, out, err } = await minnow(
      "quantize",
      DIGITS,
      "--to",
      "auto",
      ...bounds,
      ...reading,
      "-o",
      output,
      "--json",
    );
    expect(err).toBe("");
    const { met, before, after, recipe } = JSON.parse(out);
    expect(code).toBe(met ? 0 : 1);
    expect((await readFile(output)).byteLength).toBe(after.bytes);
    expect(after.bytes).toBeLessThan(before.bytes);
    expect(recipe[0]).toEqual({ name: "optimize" });
  });

  it("does not pretend to measure where nothing runs", async () => {
    const { code, err } = await minnow("quantize", DIGITS, "--to", "auto", "--target", "webnn", "--data", data);
    expect(code).toBe(2);
    expect(err).toContain("webnn is not on this machine");
  });
});
