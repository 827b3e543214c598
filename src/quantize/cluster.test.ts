import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Net } from "../architectures/index.ts";
import { arrays } from "../data/arrays.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, readFloats } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { compare } from "../measure/index.ts";
import { normal, random } from "../numeric/random.ts";
import { load, toBytes } from "../onnx/index.ts";
import { openSession } from "../runtime/index.ts";
import { adamW } from "../train/optimizers.ts";
import { constant } from "../train/schedules.ts";
import { clusterWeights, storeWeights, tuneClusters } from "./index.ts";
import { coded, positionsOf } from "./sparse-codebook.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-cluster-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Two layers and a kernel of which so many numbers are not 0. */
async function sparse(density: number, seed = 3): Promise<Model> {
  const net = new Net({ seed });
  let x = net.input("x", ["N", 1, 12, 12]);
  x = net.relu(net.conv(x, { name: "conv", out: 13, kernel: 5, padding: 0, bias: true }));
  x = net.relu(net.linear(net.flatten(x), { name: "fc1", out: 60 }));
  const model = net.model({ y: net.linear(x, { name: "fc2", out: 5 }) }, "net");
  const e = edit(model.graph);
  const next = random(seed);
  for (const [name, weight] of model.graph.weights)
    if (weight.dtype === "float32" && weight.shape.length > 1)
      e.setWeight(
        name,
        float32s(
          weight.shape,
          (await readFloats(weight)).map((value) => (next() < density ? value : 0)),
        ),
      );
  return { ...model, graph: e.done() };
}

function images(count: number) {
  const next = random(8);
  const data = Float32Array.from({ length: count * 144 }, () => normal(next));
  return { dtype: "float32" as const, shape: [count, 1, 12, 12], data };
}

const different = async (model: Model, name: string) => new Set(await readFloats(model.graph.weights.get(name)!));
const zerosIn = (values: Float32Array) => [...values].flatMap((value, i) => (value === 0 ? [i] : []));

describe("clusterWeights", () => {
  it("leaves as many numbers as were asked for, by name, each the mean of those it stands for, and all zeros", async () => {
    const model = await sparse(0.4);
    const { model: shared } = await clusterWeights({ clusters: { "conv*": 32, "fc*": 6 } }).run(model);
    expect((await different(shared, "conv.weight")).size).toBeLessThanOrEqual(33);
    expect((await different(shared, "fc1.weight")).size).toBe(7);
    const [before, after] = [model, shared].map(({ graph }) => graph.weights.get("fc1.weight")!);
    const [was, is] = [await readFloats(before!), await readFloats(after!)];
    expect(zerosIn(is)).toEqual(zerosIn(was));
    for (const number of await different(shared, "fc1.weight")) {
      const own = was.filter((_, i) => is[i] === number);
      expect(own.reduce((a, b) => a + b, 0) / own.length).toBeCloseTo(number, 4);
    }
    expect((await clusterWeights({ clusters: 6 }).run(shared)).model.graph.weights.get("fc1.weight")).toBe(after);
    expect(() => clusterWeights({ clusters: 256 })).toThrow(/from 2 to 255/);
  });
});

describe("clusters of each channel", () => {
  it("are nearer than those of a weight, and are stored and tuned as they are, whichever way the matrix lies", async () => {
    const model = await sparse(1);
    const errorOf = async (other: Model, name: string) => {
      const [a, b] = [model, other].map(({ graph }) => graph.weights.get(name)!);
      const [was, is] = [await readFloats(a!), await readFloats(b!)];
      return was.reduce((sum, value, i) => sum + (value - is[i]!) ** 2, 0);
    };
    const x = images(32);
    const y = Array.from({ length: 32 }, (_, i) => i % 5);
    const { model: whole } = await clusterWeights({ clusters: 5 }).run(model);
    const { model: shared } = await clusterWeights({ clusters: 5, perChannel: true }).run(model);
    expect(await errorOf(shared, "fc1.weight")).toBeLessThan(await errorOf(whole, "fc1.weight"));
    const options = { data: arrays({ x, y }), epochs: 1, batch: 16, optimizer: adamW(), schedule: constant(0.01) };
    const { model: tuned } = await tuneClusters(shared, options);
    for (const name of ["conv.weight", "fc1.weight", "fc2.weight"])
      expect(await errorOf(tuned, name)).toBeGreaterThan(0);
    for (const few of [shared, tuned]) {
      expect((await different(few, "fc1.weight")).size).toBe(5 * 60);
      const { model: stored } = await storeWeights({ to: "codebook" }).run(few);
      expect(stored.graph.nodes.map(({ op }) => op)).toContain("Add");
      expect((await compare(few, stored, arrays({ x }))).outputs[0]!.maxAbs).toBe(0);
      expect((await toBytes(stored)).byteLength).toBeLessThan(0.3 * (await toBytes(few)).byteLength);
    }
  });
});

describe("tuneClusters", () => {
  it("moves the numbers by the sum of their places' gradients, none apart, and no zero", async () => {
    const { model } = await clusterWeights({ clusters: 8 }).run(await sparse(0.3));
    const x = images(96);
    const y = Array.from({ length: 96 }, (_, i) => i % 5);
    for (const [i, label] of y.entries()) x.data.fill(3, 144 * i + 24 * label, 144 * i + 24 * label + 24);
    const options = { data: arrays({ x, y }), epochs: 12, batch: 16, optimizer: adamW(), schedule: constant(0.003) };
    const { model: tuned, history } = await tuneClusters(model, options);
    expect(history.at(-1)!.loss).toBeLessThan(0.9 * history[0]!.loss);
    for (const name of ["conv.weight", "fc1.weight", "fc2.weight"]) {
      const [was, is] = [model, tuned].map(({ graph }) => graph.weights.get(name)!);
      const [before, after] = [await readFloats(was!), await readFloats(is!)];
      expect(zerosIn(after)).toEqual(zerosIn(before));
      const partner = new Map<number, number>();
      before.forEach((value, i) => {
        if (!partner.has(value)) partner.set(value, after[i]!);
        expect(after[i]).toBe(partner.get(value));
      });
      expect([...partner].filter(([a, b]) => a !== b).length).toBeGreaterThan(4);
    }
    expect(tuned.graph.inputs).toEqual(model.graph.inputs);
    await expect(tuneClusters(await sparse(1), options)).rejects.toMatchObject({ code: "quantize/not-clustered" });
  });
});

describe("a weight that is mostly 0, stored as a codebook", () => {
  it.each([0.6, 0.2, 0.06, 0.004])(
    "is the very same when loaded, on Node and WASM, where %f of it is not 0",
    async (density) => {
      const { model } = await clusterWeights({ clusters: 16 }).run(await sparse(density));
      const { model: stored } = await storeWeights({ to: "codebook" }).run(model);
      verify(stored);
      const data = arrays({ x: images(4) });
      for (const runtime of ["node", "wasm"] as const)
        expect((await compare(model, stored, data, { runtime })).outputs[0]!.maxAbs, runtime).toBe(0);
      const ops = stored.graph.nodes.map(({ op }) => op);
      expect(ops).toContain(density < 0.1 ? "ScatterElements" : density < 0.5 ? "Where" : "Gather");
      const limit = density < 0.1 ? 0.02 + 0.6 * density : density < 0.5 ? 0.12 : 0.2;
      expect((await toBytes(stored)).byteLength).toBeLessThan(limit * (await toBytes(model)).byteLength);
    },
  );

  it("is a constant once ONNX Runtime has loaded it: of its nodes none is left", async () => {
    for (const density of [0.2, 0.06]) {
      const { model } = await clusterWeights().run(await sparse(density));
      const { model: stored } = await storeWeights({ to: "codebook" }).run(model);
      const path = join(folder, `${density}.onnx`);
      await (await openSession(stored, { optimizedModelPath: path })).close();
      const ops = new Set((await load(path)).graph.nodes.map(({ op }) => op));
      for (const op of ["Cast", "CumSum", "Gather", "ScatterElements", "Where", "BitwiseAnd"])
        expect(ops).not.toContain(op);
    }
  });

  it("stands in the fewest bytes a Huffman code of its bytes would take", () => {
    const next = random(4);
    const table = Float32Array.of(-2, -1, 0, 1, 2);
    for (const density of [0.001, 0.01, 0.1, 0.3]) {
      const values = Float32Array.from({ length: 20_000 }, () =>
        next() < density ? table[Math.floor(next() * 5)]! : 0,
      );
      const found = positionsOf(values, table)!;
      expect(coded(found.bytes) + coded(found.indices)).toBeLessThan(
        coded(Uint8Array.from(values, (value) => table.indexOf(value))),
      );
      expect(found.form).toBe(density > 0.2 ? "mask" : "gaps");
    }
    expect(positionsOf(Float32Array.of(1, 2, 1), Float32Array.of(1, 2))).toBeUndefined();
    expect(coded(Uint8Array.from([7, 7, 7, 7, 7, 7, 7, 7]))).toBe(1);
  });
});
