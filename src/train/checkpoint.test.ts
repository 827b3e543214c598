import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveSafetensors } from "../files/safetensors.ts";
import { float32s, type TensorData } from "../ir/tensor.ts";
import { readCheckpoint, saveCheckpoint } from "./checkpoint.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-checkpoint-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const tensors = new Map<string, TensorData>([
  ["fc.weight", { dtype: "float32", shape: [2, 3], data: Float32Array.of(1, -2, 3e-30, 4, Number.MAX_VALUE, 6) }],
  ["fc.weight:momentum", { dtype: "float32", shape: [2, 3], data: new Float32Array(6) }],
  ["scale", { dtype: "float32", shape: [], data: Float32Array.of(0.1) }],
]);

describe("checkpoints", () => {
  it("come back as they were, whatever the names, and replace the one before", async () => {
    const path = join(folder, "a.safetensors");
    await saveCheckpoint(path, { tensors: new Map(), progress: { epoch: 0 } });
    const progress = { epoch: 3, history: [{ loss: 0.1 + 0.2 }], best: null };
    await saveCheckpoint(path, { tensors, progress });
    const read = await readCheckpoint(path);
    expect(read.progress).toEqual(progress);
    for (const [name, tensor] of tensors) expect(read.tensors.get(name)).toEqual(tensor);
    expect(await readdir(folder)).toEqual(["a.safetensors"]);
  });

  it("other files are refused by what is wrong with them", async () => {
    const weights = join(folder, "weights.safetensors");
    await saveSafetensors(new Map([["w", float32s([1], [1])]]), weights);
    await expect(readCheckpoint(weights)).rejects.toMatchObject({ code: "train/checkpoint" });
    const noise = join(folder, "noise.safetensors");
    await writeFile(noise, "no checkpoint at all");
    await expect(readCheckpoint(noise)).rejects.toMatchObject({ code: "files/safetensors" });
    await expect(readCheckpoint(join(folder, "none"))).rejects.toMatchObject({ code: "files/missing" });
  });
});
