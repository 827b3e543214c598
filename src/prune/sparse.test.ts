import { describe, expect, it } from "vitest";
import { apart, outputsOf } from "../../test/laws/masking.ts";
import { inception, Net, unet } from "../../test/laws/nets.ts";
import { arrays } from "../data/index.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, readFloats, type Tensor } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { bitsOf, isLowest, lowestOf } from "./lowest.ts";
import { type SparsePruningOptions, sparsePruning } from "./sparse.ts";

const matrices = (model: Model): Map<string, Tensor> =>
  new Map(
    [...model.graph.weights].filter(
      ([, { shape, dtype }]) => dtype === "float32" && shape.filter((n) => n > 1).length > 1,
    ),
  );

const zerosOf = (values: Float32Array): number => values.filter((v) => v === 0).length;

/** Examples with features of very different size, and some that go together. */
function examples(count: number, width: number) {
  const next = random(3);
  const data = new Float32Array(count * width);
  for (let n = 0; n < count; n++) {
    const common = next() - 0.5;
    for (let i = 0; i < width; i++) data[n * width + i] = (i % 8 === 0 ? 8 : 0.5) * (next() - 0.5) + 2 * common;
  }
  return { dtype: "float32" as const, shape: [count, width], data };
}

/** One layer from 64 features to 24, and its examples. */
function layer() {
  const net = new Net(18, { x: ["N", 64] });
  return { model: net.model(net.one("MatMul", ["x", net.weight(64, 24)])), x: examples(256, 64) };
}

describe("sparsePruning", () => {
  it.each(["layer", "row", "global"] as const)("sets the share that was asked for to 0, by %s", async (scope) => {
    const model = unet(18);
    const { model: sparse } = await sparsePruning({ sparsity: 0.6, scope }).run(model);
    let [zeros, count] = [0, 0];
    for (const [name, tensor] of matrices(sparse)) {
      const values = await readFloats(tensor);
      const own = zerosOf(values);
      if (scope === "layer") expect(own, name).toBe(Math.round(0.6 * values.length));
      [zeros, count] = [zeros + own, count + values.length];
    }
    expect(Math.abs(zeros / count - 0.6)).toBeLessThan(scope === "row" ? 0.03 : 0.001);
  });

  it("keeps what is largest of all layers together, and never changes it", async () => {
    const model = inception(18);
    const { model: sparse } = await sparsePruning({ sparsity: 0.5, scope: "global" }).run(model);
    let [gone, kept] = [0, Infinity];
    for (const [name, tensor] of matrices(sparse)) {
      if (!model.graph.weights.has(name)) continue;
      const [before, after] = [await readFloats(model.graph.weights.get(name)!), await readFloats(tensor)];
      after.forEach((v, i) => {
        if (v === 0) gone = Math.max(gone, Math.abs(before[i]!));
        else {
          expect(v).toBe(before[i]);
          kept = Math.min(kept, Math.abs(v));
        }
      });
    }
    expect(gone).toBeLessThanOrEqual(kept);
  });

  it.each(["magnitude", "wanda", "sparsegpt"] as const)("keeps 2 of 4 along what is summed, by %s", async (method) => {
    const { model, x } = layer();
    const { model: sparse } = await sparsePruning({ pattern: "2:4", method, data: arrays({ x }) }).run(model);
    const values = await readFloats([...matrices(sparse).values()][0]!);
    for (let column = 0; column < 24; column++)
      for (let at = 0; at < 64; at += 4)
        expect([0, 1, 2, 3].filter((k) => values[(at + k) * 24 + column] === 0)).toHaveLength(2);
  });

  it("loses least by curvature, less by what is multiplied, most by magnitude alone", async () => {
    const { model, x } = layer();
    const feeds = { x };
    const whole = await outputsOf(model, feeds);
    const errorOf = async (method: NonNullable<SparsePruningOptions["method"]>) => {
      const { model: sparse } = await sparsePruning({ sparsity: 0.6, method, data: arrays({ x }) }).run(model);
      const made = await outputsOf(sparse, feeds);
      return whole.reduce((sum, v, i) => sum + (v - made[i]!) ** 2, 0);
    };
    const [magnitude, wanda, sparsegpt] = [
      await errorOf("magnitude"),
      await errorOf("wanda"),
      await errorOf("sparsegpt"),
    ];
    expect(wanda).toBeLessThan(0.7 * magnitude);
    expect(sparsegpt).toBeLessThan(0.7 * wanda);
  });

  it("leaves layers that are ignored, and outputs that hardly move where little goes", async () => {
    const model = unet(18);
    const first = model.graph.nodes[0]!.name;
    const { model: sparse } = await sparsePruning({ sparsity: 0.02, ignoredLayers: [first] }).run(model);
    const name = model.graph.nodes[0]!.inputs[1]!;
    expect(zerosOf(await readFloats(sparse.graph.weights.get(name)!))).toBe(0);
    const feed = { x: { dtype: "float32" as const, shape: [1, 3, 16, 16], data: new Float32Array(768).fill(0.5) } };
    const { difference, largest } = apart(await outputsOf(model, feed), await outputsOf(sparse, feed));
    expect(difference).toBeGreaterThan(0);
    expect(difference).toBeLessThan(0.05 * largest);
  });

  it("says what it cannot do", async () => {
    expect(() => sparsePruning({ sparsity: 1 })).toThrow(/above 0 and below 1/);
    expect(() => sparsePruning({ pattern: "4:2" })).toThrow(/2:4 or 4:8/);
    await expect(sparsePruning({ method: "wanda" }).run(unet(18))).rejects.toMatchObject({ code: "prune/no-data" });
    const net = new Net(18, { x: ["N", 5] });
    await expect(sparsePruning().run(net.model(net.one("Relu", ["x"])))).rejects.toMatchObject({
      code: "prune/nothing",
    });
  });
});

describe("the lowest of many", () => {
  it("are as many as asked for, ties included, and none is above one that stays", async () => {
    const next = random(8);
    for (let round = 0; round < 40; round++) {
      const scores = Float32Array.from({ length: 200 }, () => Math.round(next() * 40) / 40);
      const tensor = float32s([200], scores);
      const count = Math.floor(next() * 200) + 1;
      const lowest = await lowestOf(async function* () {
        yield await readFloats(tensor);
      }, count);
      const gone = Array.from(bitsOf(scores), (bits) => isLowest(lowest, bits));
      expect(gone.filter(Boolean)).toHaveLength(count);
      const most = Math.max(...scores.filter((_, i) => gone[i]));
      expect(most).toBeLessThanOrEqual(Math.min(...scores.filter((_, i) => !gone[i]), Infinity));
    }
  });
});
