import { readFileSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { bytesSource } from "../../src/files/source.ts";
import { isKnown } from "../../src/ir/dim.ts";
import type { Model } from "../../src/ir/graph.ts";
import { elements, type TensorData, tensorFrom, viewOf } from "../../src/ir/tensor.ts";
import { random } from "../../src/numeric/random.ts";
import { load, readModel, save, toBytes } from "../../src/onnx/index.ts";
import { openSession } from "../../src/runtime/index.ts";
import { lightTests, nodeTests } from "../conformance.ts";
import { REAL_MODELS, real, WITHOUT_REAL } from "../real.ts";

/** onnxruntime-node 1.30 ends the process when an output is int4: these load, and are not run. */
const CRASHES = new Set(
  ["FLOAT16_to_INT4", "FLOAT16_to_UINT4", "FLOAT_to_INT4", "FLOAT_to_UINT4"].map((cast) => `test_cast_${cast}`),
);

type Feeds = Record<string, TensorData>;
type Result = { loaded: boolean; outputs?: Feeds; refusal?: string };

/** What ONNX Runtime makes of a model file. */
async function run(model: Uint8Array, feeds: Feeds | undefined): Promise<Result> {
  const session = await openSession(model).catch((error: Error) => error);
  if (session instanceof Error) return { loaded: false, refusal: session.message };
  try {
    if (feeds === undefined) return { loaded: true };
    return { loaded: true, outputs: await session.run(feeds) };
  } catch (error) {
    return { loaded: true, refusal: (error as Error).message };
  } finally {
    await session.close();
  }
}

const bits = ({ data }: TensorData): string | Buffer =>
  Array.isArray(data)
    ? JSON.stringify(data)
    : Buffer.from((data as Uint8Array).buffer, (data as Uint8Array).byteOffset, (data as Uint8Array).byteLength);

function expectSame(name: string, before: Result, after: Result): void {
  expect(after.refusal, name).toBe(before.refusal);
  expect(Object.keys(after.outputs ?? {}), name).toEqual(Object.keys(before.outputs ?? {}));
  for (const [key, value] of Object.entries(before.outputs ?? {})) {
    const other = after.outputs?.[key] as TensorData;
    const same = other.dtype === value.dtype && `${other.shape}` === `${value.shape}`;
    if (!same || Buffer.compare(Buffer.from(bits(value)), Buffer.from(bits(other))) !== 0)
      throw new Error(`${name}: the output "${key}" is another after writing.`);
  }
}

/** The file after reading and writing it; a second time gives the same bytes. */
async function rewritten(name: string, model: Uint8Array): Promise<Uint8Array> {
  const once = await toBytes(await readModel(bytesSource(model, name)));
  const twice = await toBytes(await readModel(bytesSource(once, name)));
  if (Buffer.compare(once, twice) !== 0) throw new Error(`${name}: the second writing differs from the first.`);
  return once;
}

/** Seeded inputs that any of the real models takes: small numbers, sizes nobody knows are 1. */
function feedsOf(model: Model): Feeds {
  const next = random(1);
  const inputs = model.graph.inputs.filter((i) => !model.graph.weights.has(i.name));
  return Object.fromEntries(
    inputs.map(({ name, type }) => {
      if (type?.kind !== "tensor" || type.shape === undefined) throw new Error(`${name} is no tensor of known rank`);
      const shape = type.shape.map((d) => (isKnown(d) ? d : 1));
      const values = Array.from({ length: elements(shape) }, () =>
        type.dtype === "float32" ? next() : Math.floor(next() * 10),
      );
      const bytes = tensorFrom(type.dtype, shape, values).bytes as Uint8Array;
      return [name, { dtype: type.dtype, shape, data: viewOf(type.dtype, bytes) }];
    }),
  );
}

/** Fills what was zeroed to save space, in the very bytes of the file, which a tensor over bytes gives a view of. */
async function fillZeros(model: Model): Promise<number> {
  let filled = 0;
  const next = random(2);
  const noise = new Uint8Array(Float32Array.from({ length: 1 << 14 }, () => (next() - 0.5) / 16).buffer);
  for (const tensor of model.graph.weights.values()) {
    if (tensor.dtype !== "float32" || tensor.bytes !== undefined) continue;
    const bytes = await tensor.read();
    if (bytes.some((b) => b !== 0)) continue;
    for (let at = 0; at < bytes.length; at += noise.length) bytes.set(noise.subarray(0, bytes.length - at), at);
    filled++;
  }
  return filled;
}

describe("Reading and writing a model", () => {
  it.skipIf(real("conformance") === undefined)(
    "leaves ONNX Runtime's answers as they were, bit for bit, on each of ONNX's node tests",
    async () => {
      const count = { read: 0, loaded: 0, refused: 0, identical: 0 };
      for await (const { name, model, inputs } of nodeTests()) {
        const { graph } = await load(model);
        const after = await rewritten(name, model);
        const runs = !CRASHES.has(name) && !inputs.includes(undefined);
        const feeds = runs
          ? Object.fromEntries(graph.inputs.map((v, i) => [v.name, inputs[i] as TensorData]))
          : undefined;
        const before = await run(model, feeds);
        expectSame(name, before, await run(after, feeds));
        count.read++;
        count[before.loaded ? "loaded" : "refused"]++;
        if (before.outputs) count.identical++;
      }
      // 14 of those refused give 4 bits, which Node's build does not survive. Of those that load and are not compared most take
      // a sequence, an optional or int4; a few give a sequence or fail in the kernel.
      expect(count).toEqual({ read: 1802, loaded: 1523, refused: 279, identical: 1472 });
    },
  );

  it.skipIf(real("conformance") === undefined)("does so on ONNX's light nets", async () => {
    let count = 0;
    for (const { name, model } of lightTests()) {
      const feeds = feedsOf(await load(model));
      const before = await run(model, feeds);
      expect(before.refusal, name).toBeUndefined();
      expectSame(name, before, await run(await rewritten(name, model), feeds));
      count++;
    }
    expect(count).toBe(9);
  });

  describe.skipIf(real("models") === undefined)("does so on the real models", () => {
    it.each(REAL_MODELS)("%s", async (path) => {
      const file = readFileSync(real(`models/${path}`) as string);
      const model = new Uint8Array(path.endsWith(".gz") ? gunzipSync(file) : file);
      const read = await load(model);
      if (path.endsWith(".gz")) expect(await fillZeros(read)).toBeGreaterThan(10);
      const feeds = feedsOf(read);
      const before = await run(model, feeds);
      expect(before.refusal).toBeUndefined();
      expectSame(path, before, await run(await rewritten(path, model), feeds));
    });
  });

  it("gives ONNX Runtime the same model when the weights lie beside it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "minnow-"));
    try {
      const digits = await load(fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url)));
      const feeds = feedsOf(digits);
      await save(digits, join(folder, "m.onnx"), { externalData: true });
      expect((await stat(join(folder, "m.onnx"))).size).toBeLessThan(20_000);
      const [before, after] = [await openSession(digits), await openSession(join(folder, "m.onnx"))];
      expect(await after.run(feeds)).toEqual(await before.run(feeds));
      await before.close();
      await after.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it.runIf(real("models") === undefined)(WITHOUT_REAL, () => {});
});
