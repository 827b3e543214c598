import { describe, expect, it } from "vitest";
import type { TensorData } from "../ir/tensor.ts";
import { batches } from "./batches.ts";
import { dataset, type Example, type Skipped, split, spread } from "./dataset.ts";

const scalar = (value: number): TensorData => ({ dtype: "float32", shape: [2], data: Float32Array.of(value, -value) });

/** Example i holds i; those in `broken` cannot be read. Counts how many were read and are being read. */
function counting(size: number, broken: readonly number[] = []) {
  const seen = { reading: 0, most: 0, read: 0 };
  const data = dataset({
    size,
    classes: ["even", "odd"],
    labels: Array.from({ length: size }, (_, i) => i % 2),
    async at(i): Promise<Example | Skipped> {
      seen.most = Math.max(seen.most, ++seen.reading);
      await new Promise((done) => setTimeout(done, 0));
      seen.reading--;
      seen.read++;
      if (broken.includes(i)) return { skipped: "broken", name: `${i}` };
      return { feeds: { x: scalar(i) }, label: i % 2, name: `${i}` };
    },
  });
  return { data, seen };
}

const all = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const out: T[] = [];
  for await (const item of items) out.push(item);
  return out;
};

describe("a dataset", () => {
  it("is cut by take, skip and subset without reading anything", async () => {
    const { data, seen } = counting(10);
    const part = data.skip(2).take(5).subset([4, 0]);
    expect([part.size, part.labels, part.classes]).toEqual([2, [0, 0], ["even", "odd"]]);
    expect(seen.read).toBe(0);
    expect(await part.at(0)).toMatchObject({ name: "6" });
    expect(data.take(100).size).toBe(10);
    expect(data.skip(100).size).toBe(0);
  });

  it("says so when asked for an example it does not have", async () => {
    const { data } = counting(3);
    await expect(data.at(3)).rejects.toThrow("There is no example 3; there are 3");
    expect(() => data.subset([0, -1])).toThrow("no example -1");
  });
});

describe("batches", () => {
  it("stack examples along a new axis 0, in order, the last one smaller", async () => {
    const got = await all(batches(counting(5).data, 2));
    expect(got.map((b) => b.feeds.x?.shape)).toEqual([
      [2, 2],
      [2, 2],
      [1, 2],
    ]);
    expect(got[1]?.feeds.x?.data).toEqual(Float32Array.of(2, -2, 3, -3));
    expect(got.map((b) => [...(b.labels ?? [])])).toEqual([[0, 1], [0, 1], [0]]);
  });

  it("pass over what cannot be read, count it, and stay full", async () => {
    const got = await all(batches(counting(8, [0, 3, 7]).data, 2));
    expect(got.map((b) => [...b.indices])).toEqual([[1, 2], [4, 5], [6]]);
    expect(got.flatMap((b) => b.skipped.map((s) => s.name))).toEqual(["0", "3", "7"]);
  });

  it("tell the one reason when nothing can be read", async () => {
    await expect(all(batches(counting(2, [0, 1]).data, 2))).rejects.toThrow("None of the 2 examples can be read");
  });

  it("read ahead no further than asked, whatever the size of the dataset", async () => {
    const { data, seen } = counting(200);
    await all(batches(data, 4, { prefetch: 6 }));
    expect(seen.most).toBeLessThanOrEqual(6);
    expect(seen.read).toBe(200);
  });

  it("stop when the signal says so", async () => {
    const stop = new AbortController();
    const reading = batches(counting(100).data, 1, { signal: stop.signal });
    await reading.next();
    stop.abort();
    await expect(reading.next()).rejects.toThrow("aborted");
  });

  it("refuse examples of different shapes, naming the one", async () => {
    const data = dataset({
      size: 2,
      at: async (i) => ({
        name: `e${i}`,
        feeds: { x: { dtype: "uint8", shape: [i + 1], data: new Uint8Array(i + 1) } },
      }),
    });
    await expect(all(batches(data, 2))).rejects.toThrow('e1: "x" is uint8 [2], and uint8 [1]');
  });
});

describe("split", () => {
  const labels = Array.from({ length: 100 }, (_, i) => (i < 90 ? 0 : 1));
  const data = dataset({ size: 100, labels, at: async () => ({ feeds: {} }) });

  it("gives each part every class in its share, and loses nothing", () => {
    const [few, most] = split(data, 0.2);
    expect([few.size, most.size]).toEqual([20, 80]);
    expect(few.labels?.filter((l) => l === 1)).toHaveLength(2);
    expect(most.labels?.filter((l) => l === 1)).toHaveLength(8);
    expect(split(data, 30)[0].size).toBe(30);
    expect(split(data, 300)[1].size).toBe(0);
  });

  it("depends on the seed alone", async () => {
    const { data: numbered } = counting(50);
    const first = async (seed: number) => {
      const part = split(numbered, 10, { seed })[0];
      return Promise.all(Array.from({ length: 10 }, async (_, i) => (await part.at(i)).name));
    };
    expect(await first(1)).toEqual(await first(1));
    expect(await first(1)).not.toEqual(await first(2));
  });
});

describe("spread", () => {
  it("holds each class in its share in every beginning, to within one example", () => {
    const labels = Array.from({ length: 300 }, (_, i) => (i < 150 ? 0 : i < 250 ? 1 : 2));
    const order = spread(labels, 4);
    expect(order.toSorted((a, b) => a - b)).toEqual([...labels.keys()]);
    const counts = [0, 0, 0];
    for (const [i, index] of order.entries()) {
      counts[labels[index] as number]!++;
      for (const [c, share] of [1 / 2, 1 / 3, 1 / 6].entries())
        expect(Math.abs(counts[c]! - share * (i + 1))).toBeLessThanOrEqual(1);
    }
  });
});
