import { describe, expect, it } from "vitest";
import { type Dataset, dataset } from "../data/dataset.ts";
import { matcher } from "./globs.ts";
import { learningBatches, orderOf } from "./order.ts";

const numbered = (size: number, broken: (i: number) => boolean = () => false): Dataset =>
  dataset({
    size,
    at: async (i) =>
      broken(i)
        ? { skipped: "damaged" }
        : { feeds: { x: { dtype: "float32", shape: [1], data: Float32Array.of(i) } }, label: i % 3 },
  });

async function take(count: number, data: Dataset, options: Parameters<typeof learningBatches>[1]) {
  const out: { indices: readonly number[]; next: number }[] = [];
  for await (const batch of learningBatches(data, options)) {
    expect(Array.from(batch.feeds["x"]?.data ?? [], Number)).toEqual(batch.indices);
    out.push(batch);
    if (out.length === count) break;
  }
  return out;
}

describe("the order of an epoch", () => {
  it("has every example once, and is another in the next epoch and under another seed", () => {
    const orders = [orderOf(50, 1, 0), orderOf(50, 1, 1), orderOf(50, 2, 0)];
    for (const order of orders) expect(order.toSorted((a, b) => a - b)).toEqual([...Array(50).keys()]);
    expect(new Set(orders.map(String)).size).toBe(3);
    expect(orderOf(50, 1, 1)).toEqual(orders[1]);
  });

  it("batches that go on from where one ended are the ones that would have come, unreadable examples or not", async () => {
    for (const broken of [undefined, (i: number) => i % 5 === 0]) {
      const data = numbered(23, broken);
      const options = { batch: 4, seed: 0, epoch: 2 };
      const whole = await take(7, data, options);
      for (let k = 0; k < 6; k++) {
        const rest = await take(6 - k, data, { ...options, from: whole[k]?.next as number });
        expect(rest.map(({ indices }) => indices)).toEqual(whole.slice(k + 1).map(({ indices }) => indices));
      }
      expect(whole.flatMap(({ indices }) => indices).some((i) => broken?.(i))).toBe(false);
    }
  });

  it("says so where fewer than half of the examples can be read", async () => {
    const data = numbered(20, (i) => i % 4 !== 0);
    await expect(take(5, data, { batch: 4, seed: 0, epoch: 0 })).rejects.toMatchObject({ code: "train/unreadable" });
  });
});

describe("patterns of names", () => {
  it("* stands for any characters, ? for one, and the rest for itself", () => {
    const fits = matcher(["features.*.weight", "fc?"]);
    expect(["features.0.conv.weight", "fc1"].map(fits)).toEqual([true, true]);
    expect(["features.0.conv.weights", "xfeatures.0.weight", "fc", "fc12", "featuresx0.weight"].some(fits)).toBe(false);
  });
});
