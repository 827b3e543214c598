import { describe, expect, it } from "vitest";
import { Net } from "../architectures/index.ts";
import { arrays } from "../data/index.ts";
import { type Model, readFloats } from "../ir/index.ts";
import { normal, random } from "../numeric/random.ts";
import { openSession } from "../runtime/index.ts";
import { updateBatchNorm } from "./index.ts";

const COUNT = 128;
const next = random(2);
const values = Float32Array.from({ length: COUNT * 32 }, (_, i) => 3 + 2 * normal(next) + (i % 2));
const data = arrays({ x: { dtype: "float32", shape: [COUNT, 2, 4, 4], data: values } });

function net(): Model {
  const made = new Net({ seed: 4 });
  const image = made.input("x", ["N", 2, 4, 4]);
  const first = made.relu(made.batchNorm(made.conv(image, { name: "a", out: 4, kernel: 3 }), { name: "a.bn" }));
  const second = made.batchNorm(made.conv(first, { name: "b", out: 3, kernel: 1 }), { name: "b.bn" });
  return made.model({ y: second }, "two");
}

const floats = async (model: Model, name: string) => [...(await readFloats(model.graph.weights.get(name) as never))];

describe("Statistics measured anew", () => {
  it("make the output of each normalization have mean β and variance γ² over the data", async () => {
    const { model, changes } = await updateBatchNorm({ data, batch: COUNT }).run(net());
    expect(changes.length).toBeGreaterThan(0);
    const session = await openSession(model, { threads: 1 });
    const { y } = await session.run({ x: { dtype: "float32", shape: [COUNT, 2, 4, 4], data: values } }, ["y"]);
    await session.close();
    const out = y?.data as Float32Array;
    for (let c = 0; c < 3; c++) {
      const own = [...out].filter((_, i) => Math.floor(i / 16) % 3 === c);
      const mean = own.reduce((a, b) => a + b, 0) / own.length;
      expect(mean).toBeCloseTo(0, 3);
      expect(own.reduce((a, b) => a + (b - mean) ** 2, 0) / own.length).toBeCloseTo(1, 2);
    }
  });

  it("are those of all examples in the first layer, however many stand in a batch", async () => {
    const whole = (await updateBatchNorm({ data, batch: COUNT }).run(net())).model;
    const parts = (await updateBatchNorm({ data, batch: 16 }).run(net())).model;
    for (const name of ["a.bn.running_mean", "a.bn.running_var"]) {
      const [a, b] = [await floats(whole, name), await floats(parts, name)];
      for (const [c, value] of a.entries())
        expect(Math.abs((b[c] ?? 0) - value)).toBeLessThan(1e-4 * (1 + Math.abs(value)));
    }
  });

  it("change no weight, and leave a model without normalizations alone", async () => {
    const before = net();
    const { model } = await updateBatchNorm({ data }).run(before);
    for (const name of before.graph.weights.keys())
      if (!name.includes("running")) expect(await floats(model, name)).toEqual(await floats(before, name));
    const plain = new Net({ seed: 1 });
    const none = plain.model({ y: plain.relu(plain.input("x", ["N", 2, 4, 4])) }, "none");
    expect((await updateBatchNorm({ data }).run(none)).model).toBe(none);
  });

  it("see pictures as they are augmented: mirrored ones have the same, shifted ones the black that comes in too", async () => {
    const plain = new Net({ seed: 1 });
    const model = plain.model({ y: plain.batchNorm(plain.input("x", ["N", 1, 4, 4]), { name: "bn" }) }, "input");
    const grey = arrays({ x: { dtype: "float32", shape: [2 * COUNT, 1, 4, 4], data: values } });
    const pixels = { layout: "nchw" as const, black: [0], white: [1], luma: [1] };
    const meanOf = async (options: object) =>
      (
        await floats((await updateBatchNorm({ data: grey, pixels, ...options }).run(model)).model, "bn.running_mean")
      )[0] ?? 0;
    const mean = await meanOf({});
    expect(await meanOf({ augment: { flip: true } })).toBeCloseTo(mean, 4);
    expect(await meanOf({ augment: { crop: 2 } })).toBeLessThan(0.9 * mean);
  });
});
