import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Model } from "../../src/ir/index.ts";
import { randomFeeds } from "../../src/measure/index.ts";
import { load, save } from "../../src/onnx/index.ts";
import { outputsOf } from "../laws/masking.ts";
import { Net, resnet, transformer, unet } from "../laws/nets.ts";
import { minnow } from "./run.ts";

let folder: string;
let model: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-prune-"));
  model = await written("unet", unet(18));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function written(name: string, of: Model): Promise<string> {
  const path = join(folder, `${name}.onnx`);
  await save(of, path);
  return path;
}

/** What a refusal prints, with the promise that it shows no stack and writes nothing. */
async function refused(code: number, ...argv: string[]): Promise<string> {
  const before = await readdir(folder);
  const ran = await minnow("prune", ...argv);
  expect(ran.code, ran.err).toBe(code);
  expect(ran.err).not.toContain("    at ");
  expect(ran.out).toBe("");
  expect(await readdir(folder)).toEqual(before);
  return ran.err;
}

describe("minnow prune", () => {
  it("prints the plan and writes nothing", async () => {
    const before = await readdir(folder);
    const { code, out } = await minnow("prune", model, "--macs", "50%", "--round-to", "1", "--plan");
    expect(code).toBe(0);
    for (const word of ["channels", "parameters", "MACs", "Stays as it is", "slides a window"])
      expect(out).toContain(word);
    for (const line of out.split("\n")) expect(line.length, line).toBeLessThanOrEqual(110);
    expect(await readdir(folder)).toEqual(before);
  });

  it("writes a model that runs, within what was asked for, and says both in JSON", async () => {
    const output = join(folder, "small.onnx");
    const { code, out } = await minnow(
      "prune",
      model,
      "--macs",
      "50%",
      "--params",
      "60%",
      "--round-to",
      "1",
      "-o",
      output,
      "--json",
    );
    expect(code).toBe(0);
    const said = JSON.parse(out);
    expect(said.output).toBe(output);
    expect(said.after.macs).toBeLessThanOrEqual(0.5 * said.before.macs);
    expect(said.after.parameters).toBeLessThanOrEqual(0.6 * said.before.parameters);
    expect(said.plan.after.macs).toBe(said.after.macs);
    expect(said.plan.groups[0]).toMatchObject({ size: expect.any(Number), kept: expect.any(Number) });
    expect(said.comparison.outputs[0].sqnr).toBeGreaterThan(-40);
    const made = await load(output);
    expect((await outputsOf(made, randomFeeds(made))).every(Number.isFinite)).toBe(true);
  });

  it("takes a size of the file, with a unit", async () => {
    const output = join(folder, "sized.onnx");
    const { code, out } = await minnow("prune", model, "--size", "25kB", "--round-to", "1", "-o", output, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out).after.bytes).toBeLessThanOrEqual(25_000);
  });

  it("takes a latency, and measures it", async () => {
    const { code, out } = await minnow("prune", model, "--latency", "95%", "--round-to", "1", "--plan", "--json");
    if (code === 0) expect(JSON.parse(out).plan.after.macs).toBeLessThan(JSON.parse(out).plan.before.macs);
    expect([0, 1]).toContain(code);
  });

  it("sets single weights to 0, which shrinks the download alone", async () => {
    const output = join(folder, "sparse.onnx");
    const { code, out } = await minnow("prune", model, "--sparsity", "70%", "-o", output, "--json");
    expect(code).toBe(0);
    const { before, after } = JSON.parse(out);
    expect(after.macs).toBe(before.macs);
    expect(after.brotliBytes).toBeLessThan(0.6 * before.brotliBytes);
    expect(await refused(2, model, "--sparsity", "70%", "--macs", "50%")).toMatch(/given together/);
    expect(await refused(2, model, "--sparsity", "170%")).toMatch(/--sparsity/);
    expect(await refused(1, model, "--sparsity", "4:2")).toMatch(/2:4 or 4:8/);
  });

  it("takes residual blocks out, and makes two layers of one", async () => {
    const deep = await written("deep", resnet(18, 3));
    const output = join(folder, "structured.onnx");
    const plan = await minnow("prune", deep, "--drop-blocks", "every:3", "--plan");
    expect(plan.code, plan.err).toBe(0);
    expect(plan.out.match(/goes/g)).toHaveLength(4);
    const dropped = await minnow("prune", deep, "--drop-blocks", "every:3", "-o", output, "--json");
    expect(dropped.code, dropped.err).toBe(0);
    const { before, after, plan: said, comparison } = JSON.parse(dropped.out);
    expect(after.macs).toBe(said.after.macs);
    expect(after.macs).toBeLessThan(0.6 * before.macs);
    expect(comparison.samples).toBeGreaterThan(0);
    for (const kernels of ["outputs", "spatial"]) {
      const argv = ["--low-rank", "70%", "--kernels", kernels, "--round-to", "1", "-o", output, "--force"];
      const factored = await minnow("prune", deep, ...argv, "--json");
      expect(factored.code, factored.err).toBe(0);
      const ranks = JSON.parse(factored.out);
      expect(ranks.after.macs).toBe(ranks.plan.macs.after);
      expect(ranks.after.macs).toBeLessThanOrEqual(0.7 * ranks.before.macs);
      expect((await outputsOf(await load(output), randomFeeds(await load(output)))).every(Number.isFinite)).toBe(true);
    }
    await rm(output);
    expect(await refused(1, deep, "--drop-blocks", "2")).toMatch(/there are none/);
    expect(await refused(2, deep, "--drop-blocks", "2", "--macs", "50%")).toMatch(/given together/);
    expect(await refused(1, model, "--drop-blocks", "every:2")).toMatch(/no residual block/);
    expect(await refused(2, deep, "--low-rank", "170%")).toMatch(/between 0% and 100%/);
    expect(await refused(1, deep, "--low-rank", "1%")).toMatch(/lowest rank/);
  });

  it("cuts whole heads and feed-forward widths alone", async () => {
    const gpt = await written("gpt", transformer(17, 2, "before"));
    const argv = ["--only", "heads,ffn", "--ratio", "0.5", "--round-to", "1", "--plan", "--json"];
    const { code, out, err } = await minnow("prune", gpt, ...argv);
    expect(code, err).toBe(0);
    const { groups } = JSON.parse(out).plan;
    expect(groups.map(({ kind, size, kept }: Record<string, unknown>) => `${kind} ${size} ${kept}`).sort()).toEqual([
      "ffn 40 20",
      "ffn 40 20",
      "heads 4 2",
      "heads 4 2",
    ]);
    expect(await refused(1, gpt, "--only", "head")).toMatch(/It can be heads/);
  });

  it("says what is possible where what is asked for is not", async () => {
    const first = (await load(model)).graph.nodes[0]!.name;
    const nothing = new Net(18, { x: ["N", 5] });
    const bare = await written("bare", nothing.model(nothing.linear("x", 5, 3)));
    const one = new Net(18, { x: ["N", 3, 6, 6] });
    const thin = await written(
      "thin",
      one.model(one.conv(one.conv(one.conv("x", 3, 1, [3, 3]), 1, 8, [3, 3]), 8, 2, [1, 1])),
    );
    const thinFirst = (await load(thin)).graph.nodes[0]!.name;
    expect(await refused(1, bare)).toMatch(/Nothing of the model can be cut.*graph output/);
    expect(await refused(1, model, "--params", "10", "--round-to", "1")).toMatch(/at most 10 are asked for/);
    expect(await refused(1, thin, "--layers", thinFirst)).toMatch(/one channel, and one must stay/);
    expect(await refused(1, model, "--layers", "x")).toMatch(/"x" is an input of the model/);
    expect(await refused(1, model, "--layers", `${first}x`)).toContain(first);
    expect(await refused(1, model, "--macs", "100GB")).toMatch(/within what is asked for/);
    expect(await refused(1, model, "--ratio", "0.1", "--round-to", "64")).toMatch(/multiples of 64/);
    expect(await refused(1, model, "--score", "taylor")).toMatch(/no examples/);
    expect(await refused(2, model, "--score", "best")).toMatch(/l1, l2, bn/);
    expect(await refused(2, model, "--macs", "150%")).toMatch(/between 0% and 100%/);
    expect(await refused(2)).toMatch(/MODEL is missing/);
  });
});
