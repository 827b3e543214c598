import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create } from "../../src/architectures/index.ts";
import { saveSafetensors } from "../../src/files/safetensors.ts";
import { elements, type Tensor } from "../../src/ir/index.ts";
import { costOf } from "../../src/measure/index.ts";
import { load } from "../../src/onnx/index.ts";
import { minnow } from "./run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-create-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

const SMALL = ["--width", "0.25", "--resolution", "32", "--classes", "9"];
const small = { width: 0.25, resolution: 32, classes: 9 };

/** A checkpoint of a net with other first weights. */
async function checkpoint(name: string, options = {}, change = (state: Map<string, Tensor>) => state): Promise<string> {
  const { graph } = create("mobilenet_v2", { ...small, seed: 5, ...options });
  const state = [...graph.weights].filter(([, { dtype, shape }]) => dtype === "float32" && elements(shape) > 1);
  await saveSafetensors(change(new Map(state)), at(name));
  return at(name);
}

describe("create", () => {
  it("writes a net, and gives the fields others rely on", async () => {
    const output = at("net.onnx");
    const { code, out } = await minnow("create", "mobilenet_v2", ...SMALL, "-o", output, "--json");
    expect(code).toBe(0);
    const { parameters, macs } = costOf(create("mobilenet_v2", small));
    const { size } = await stat(output);
    expect(JSON.parse(out)).toMatchObject({ output, before: null, after: { parameters, macs, bytes: size } });
    expect((await load(output)).graph.outputs[0]).toMatchObject({ type: { shape: ["N", 9] } });
  });

  it("gives the same bytes for the same seed, and others for another", async () => {
    const bytesOf = async (file: string, seed: string) => {
      await minnow("create", "mobilenet_v2", ...SMALL, "--seed", seed, "-o", at(file));
      return (await load(at(file))).graph.weights.get("features.0.0.weight")?.read();
    };
    const [one, two, other] = [
      await bytesOf("a.onnx", "1"),
      await bytesOf("b.onnx", "1"),
      await bytesOf("c.onnx", "2"),
    ];
    expect(one).toEqual(two);
    expect(one).not.toEqual(other);
  });

  it("lists every net with parameters, multiply-adds and paper", async () => {
    const { code, out } = await minnow("create", "--list", "--json");
    expect(code).toBe(0);
    const { architectures } = JSON.parse(out);
    expect(architectures.length).toBeGreaterThan(60);
    expect(architectures).toContainEqual({
      name: "squeezenet1_1",
      parameters: 1_235_496,
      macs: 349_151_936,
      resolution: 224,
      paper: expect.objectContaining({ id: "arXiv:1602.07360" }),
    });
  });

  it("fits a budget from below and says what it picked", async () => {
    const given = ["create", "mobilenet_v2", "--macs", "10M", "--resolution", "96", "--classes", "10"];
    const { code, out } = await minnow(...given, "-o", at("fit.onnx"), "--json");
    expect(code).toBe(0);
    const { after, options } = JSON.parse(out);
    expect(after.macs).toBeLessThanOrEqual(10e6);
    expect(after.macs).toBeGreaterThan(9e6);
    expect(costOf(create("mobilenet_v2", options)).macs).toBe(after.macs);
    const people = await minnow(...given, "-o", at("fit.onnx"), "--force");
    expect(people.out).toContain(`width ${options.width}`);
  });

  it("loads a checkpoint by names", async () => {
    const weights = await checkpoint("same.safetensors");
    const { code, out } = await minnow(
      "create",
      "mobilenet_v2",
      ...SMALL,
      "--weights",
      weights,
      "-o",
      at("w.onnx"),
      "--json",
    );
    expect(code).toBe(0);
    expect(JSON.parse(out).weights).toMatchObject({ missing: [], unexpected: [], mismatched: [] });
    const name = "features.3.conv.0.0.weight";
    const [got, wanted] = [(await load(at("w.onnx"))).graph, create("mobilenet_v2", { ...small, seed: 5 }).graph];
    expect(await got.weights.get(name)?.read()).toEqual(await wanted.weights.get(name)?.read());
  });

  it("with other classes replaces the head and says so; tells what is missing and what is unexpected", async () => {
    const weights = await checkpoint("other.safetensors", {}, (state) => {
      state.set("ema.decay", state.get("features.0.1.bias") as Tensor);
      state.delete("features.0.1.bias");
      return state;
    });
    const given = ["create", "mobilenet_v2", ...SMALL.with(-1, "3"), "--weights", weights, "-o", at("h.onnx")];
    const { code, out, err } = await minnow(...given);
    expect(code).toBe(0);
    expect(out).toContain("Replaced the head: 9 classes became 3");
    expect(err).toContain("not in the checkpoint, which keep their first values: features.0.1.bias");
    expect(err).toContain("of the checkpoint that the net has not: ema.decay");
  });
});

describe("create, of bad input", () => {
  const cases: [string, string[], number, RegExp][] = [
    ["a name that does not exist", ["mobilenetv2"], 2, /no architecture "mobilenetv2".*\n.*mobilenet_v2/],
    ["no name", [], 2, /name of a net is missing/],
    ["a resolution too small for the strides", ["mobilenet_v2", "--resolution", "8"], 2, /resolution of 17 or more/],
    ["a width that leaves no channel", ["mobilenet_v2", "--width", "0.001"], 2, /none left/],
    ["a width of zero", ["mobilenet_v2", "--width", "0"], 2, /number above 0/],
    ["classes that are no number", ["mobilenet_v2", "--classes", "ten"], 2, /--classes is "ten"/],
    ["an option the net has not", ["squeezenet1_1", "--depth", "2"], 2, /has no depth to choose/],
    ["a budget below the smallest net", ["mobilenet_v2", "--macs", "1k", "--resolution", "96"], 1, /smallest.*has \d+/],
    ["a budget that is none", ["mobilenet_v2", "--macs", "lots"], 2, /--macs is "lots"/],
    ["weights that are not there", ["mobilenet_v2", "--weights", "nowhere.safetensors"], 1, /no such file/],
  ];
  it.each(cases)("%s gets a clear word", async (_, given, wanted, words) => {
    const { code, err } = await minnow("create", ...given, "-o", at("bad.onnx"));
    expect(err).toMatch(words);
    expect(err).not.toContain("    at ");
    expect(code).toBe(wanted);
    expect(await readdir(folder)).not.toContain("bad.onnx");
  });

  it("weights of another family, of another width, and a file that is no checkpoint each get a clear word", async () => {
    await writeFile(at("model.pth"), "PK\x03\x04 a pickle of some model");
    const weights = await checkpoint("narrow.safetensors");
    for (const [given, words] of [
      [["resnet18", "--weights", weights], /of another net/],
      [["mobilenet_v2", "--width", "0.5", "--resolution", "32", "--weights", weights], /of another net|other shapes/],
      [["mobilenet_v2", ...SMALL.slice(0, 4), "--weights", weights], /--classes 9/],
      [["mobilenet_v2", "--weights", at("model.pth")], /safetensors/],
    ] as const) {
      const { code, err } = await minnow("create", ...given, "-o", at("bad.onnx"));
      expect(code).toBe(1);
      expect(err).toMatch(words);
      expect(await readdir(folder)).not.toContain("bad.onnx");
    }
  });
});

describe("optimize --separable", () => {
  beforeAll(async () => {
    await minnow("create", "resnet20", "-o", at("resnet20.onnx"));
  });

  it("shows by --plan what it would save, and writes nothing", async () => {
    const { code, out } = await minnow("optimize", at("resnet20.onnx"), "--separable", "--plan", "--json");
    expect(code).toBe(0);
    const { layers, macs } = JSON.parse(out);
    expect(layers).toHaveLength(19);
    expect(layers.at(-1)).toMatchObject({ macs: { before: 64 * 64 * 9 * 64, after: (64 * 9 + 64 * 64) * 64 } });
    expect(layers.at(-1).saving).toBeCloseTo(7.89, 2);
    expect(macs.before / macs.after).toBeGreaterThan(5);
    const people = await minnow("optimize", at("resnet20.onnx"), "--separable", "--plan");
    expect(people.out).toContain("7.9×");
    expect(await readdir(folder)).not.toContain("resnet20.min.onnx");
  });

  it("replaces what the plan says, but for nodes that are excluded", async () => {
    const given = [
      "optimize",
      at("resnet20.onnx"),
      "--separable",
      "--nodes-to-exclude",
      "conv1",
      "-o",
      at("cheap.onnx"),
      "--json",
    ];
    const { code, out } = await minnow(...given);
    expect(code).toBe(0);
    const { before, after } = JSON.parse(out);
    expect(after.macs).toBeLessThan(before.macs / 5);
    const convolutions = (await load(at("cheap.onnx"))).graph.nodes.filter(({ op }) => op === "Conv");
    expect(convolutions).toHaveLength(1 + 2 * 18);
    expect(costOf(await load(at("cheap.onnx"))).macs).toBe(after.macs);
  });

  it("--plan alone has nothing to plan", async () => {
    const { code, err } = await minnow("optimize", at("resnet20.onnx"), "--plan");
    expect([code, err]).toEqual([2, expect.stringContaining("--separable")]);
  });
});
