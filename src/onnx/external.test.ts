import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Model } from "../ir/graph.ts";
import { float32s, lazyTensor, readFloats, tensorOf } from "../ir/tensor.ts";
import { load, save, toBytes } from "./index.ts";
import type { Raw } from "./schema.ts";
import { bytesOf, modelFile, RELU, weight } from "./wire.samples.ts";

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "minnow-"));
  folder = join(root, "models");
  await mkdir(folder);
});
afterEach(() => rm(root, { recursive: true }));

/** A float weight [count] whose data lies elsewhere. */
const outside = (name: string, count: number, entries: Record<string, string>): Raw<"Tensor"> => ({
  name,
  dims: [count],
  dtype: 1,
  location: 1,
  external: Object.entries(entries).map(([key, value]) => ({ key, value })),
});

/** Writes a model with these weights and gives its path. */
async function modelOf(...weights: Raw<"Tensor">[]): Promise<string> {
  const path = join(folder, "model.onnx");
  await writeFile(path, modelFile({ ...RELU, weights }));
  return path;
}

const data = (...values: number[]) => bytesOf(Float32Array.from(values));

describe("External data", () => {
  it("is read from many files, at offsets, with or without a length", async () => {
    await mkdir(join(folder, "sub"));
    await writeFile(join(folder, "a.bin"), data(1, 2, 3));
    await writeFile(join(folder, "sub", "b b.bin"), data(4));
    const path = await modelOf(
      outside("x1", 2, { location: "a.bin", offset: "4", length: "8", checksum: "0" }),
      outside("x2", 1, { location: "a.bin" }),
      outside("x3", 1, { location: "sub/b b.bin" }),
    );
    for (const from of [path, pathToFileURL(path)]) {
      const { graph } = await load(from);
      const values = await Promise.all([...graph.weights.values()].map(async (t) => [...(await readFloats(t))]));
      expect(values).toEqual([[2, 3], [1], [4]]);
    }
  });

  it("may lie in more files than can be open at once", async () => {
    const weights: Raw<"Tensor">[] = [];
    for (let i = 0; i < 60; i++) {
      await writeFile(join(folder, `${i}.bin`), bytesOf(new Float32Array(2000).fill(i)));
      weights.push(outside(`w${i}`, 2000, { location: `${i}.bin` }));
    }
    const { graph } = await load(await modelOf(...weights));
    for (let i = 0; i < 60; i++) expect((await readFloats(graph.weights.get(`w${i}`)!))[0]).toBe(i);
  });

  it("of a download cache may be links into its folder of blobs", async () => {
    await mkdir(join(folder, "blobs"));
    await mkdir(join(folder, "snapshot"));
    await writeFile(join(folder, "blobs", "1f"), data(5));
    await rename(await modelOf(outside("w", 1, { location: "model.onnx_data" })), join(folder, "blobs", "2f"));
    await symlink("../blobs/2f", join(folder, "snapshot", "model.onnx"));
    await symlink("../blobs/1f", join(folder, "snapshot", "model.onnx_data"));
    const { graph } = await load(join(folder, "snapshot", "model.onnx"));
    expect([...(await readFloats(graph.weights.get("w")!))]).toEqual([5]);
  });

  const refused: [string, Record<string, string>, string][] = [
    ["by an absolute path", { location: "/" }, "files/outside"],
    ["above its folder", { location: "../secret" }, "files/outside"],
    ["above its folder in a roundabout way", { location: "sub/../../secret" }, "files/outside"],
    ["behind a link that leads out", { location: "link" }, "files/outside"],
    ["in a file that is missing", { location: "missing.bin" }, "files/missing"],
    ["in a folder", { location: "sub" }, "files/unreadable"],
    ["nowhere", {}, "onnx/external-location"],
    ["beyond the end of its file", { location: "a.bin", offset: "9", length: "4" }, "onnx/external-end"],
    ["at an offset beyond the end", { location: "a.bin", offset: "99999999999999" }, "onnx/external-end"],
    ["in less than its shape takes", { location: "a.bin", length: "3" }, "onnx/tensor-size"],
    ["at a negative offset", { location: "a.bin", offset: "-4" }, "onnx/external-location"],
    ["at no number", { location: "a.bin", length: "many" }, "onnx/external-location"],
  ];
  it.each(refused)("is refused %s", async (_, entries, code) => {
    await writeFile(join(root, "secret"), data(1));
    await mkdir(join(folder, "sub"));
    await writeFile(join(folder, "a.bin"), data(1, 2));
    await symlink("../secret", join(folder, "link"));
    const error = await load(await modelOf(outside("w", 1, entries))).catch((e) => e);
    expect(error).toMatchObject({ name: "MinnowError", code });
    expect(error.at).toBeTruthy();
    expect(error.mend).toBeTruthy();
  });
});

describe("Saving a model", () => {
  const modelWith = async (weights: Model["graph"]["weights"]): Promise<Model> => {
    const model = await load(modelFile(RELU));
    return { ...model, graph: { ...model.graph, weights } };
  };

  it("and loading it gives the same model, as one file or with its data beside it", async () => {
    const model = await load(modelFile({ ...RELU, weights: [weight("w", 5000, 3), weight("v", 2)] }));
    const path = join(folder, "out.onnx");
    await save(model, path, { externalData: true });
    expect((await readdir(folder)).sort()).toEqual(["out.onnx", "out.onnx_data"]);
    const loaded = await load(path);
    expect(loaded.graph.weights.get("w")?.bytes).toBeUndefined();
    expect(Buffer.compare(await toBytes(loaded), await toBytes(model))).toBe(0);
    await save(model, join(folder, "one.onnx"));
    expect(Buffer.compare(await readFile(join(folder, "one.onnx")), await toBytes(model))).toBe(0);
  });

  it("over the files it still reads from is safe", async () => {
    const path = join(folder, "m.onnx");
    await save(await load(modelFile({ ...RELU, weights: [weight("w", 5000, 3)] })), path, { externalData: true });
    const model = await load(path);
    await save(model, path, { externalData: true });
    await save(await load(path), path);
    expect((await readFloats((await load(path)).graph.weights.get("w")!))[4999]).toBe(3);
    expect((await readFloats(model.graph.weights.get("w")!))[4999]).toBe(3);
  });

  it("that fails half way leaves what was there, and nothing else", async () => {
    const path = join(folder, "m.onnx");
    await save(await modelWith(new Map()), path, { externalData: true });
    const before = await readFile(path);
    const broken = lazyTensor("uint8", [9000], async () => {
      throw new Error("no luck");
    });
    const weights = new Map([
      ["a", tensorOf("uint8", [9000], new Uint8Array(9000))],
      ["b", broken],
    ]);
    for (const externalData of [true, false])
      await expect(save(await modelWith(weights), path, { externalData })).rejects.toThrow("no luck");
    expect(await readdir(folder)).toEqual(["m.onnx"]);
    expect(Buffer.compare(await readFile(path), before)).toBe(0);
  });

  it("to a folder that is not there says so", async () => {
    const model = await modelWith(new Map([["w", float32s([1], [1])]]));
    const path = join(folder, "none", "m.onnx");
    await expect(save(model, path)).rejects.toMatchObject({ code: "files/unwritable", at: path });
    await mkdir(join(folder, "taken.onnx"));
    await expect(save(model, join(folder, "taken.onnx"))).rejects.toMatchObject({ code: "files/unwritable" });
    expect(await readdir(folder)).toEqual(["taken.onnx"]);
  });
});
