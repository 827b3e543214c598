import { describe, expect, it } from "vitest";
import type { Sink } from "../files/source.ts";
import type { Model } from "../ir/graph.ts";
import { lazyTensor, type Tensor, tensorOf } from "../ir/tensor.ts";
import { load, toBytes, writeModel } from "./index.ts";
import { joined, modelFile, RELU } from "./wire.samples.ts";

/** The smallest model, with these weights. */
async function modelWith(weights: Record<string, Tensor>): Promise<Model> {
  const model = await load(modelFile(RELU));
  return { ...model, graph: { ...model.graph, weights: new Map(Object.entries(weights)) } };
}

/** A sink that keeps all it is given. */
function memory(): Sink & { parts: Uint8Array[] } {
  const parts: Uint8Array[] = [];
  const nothing = async () => {};
  return { parts, write: async (bytes) => void parts.push(bytes), commit: nothing, abort: nothing };
}

const filled = (value: number, length = 2000) => new Uint8Array(length).fill(value);

describe("Writing a model", () => {
  it("computes each lazy tensor once, when it is its turn, and keeps none", async () => {
    const log: string[] = [];
    const lazy = (name: string) =>
      lazyTensor("uint8", [2000], async () => {
        log.push(`compute ${name}`);
        return filled(1);
      });
    const sink = memory();
    const { write } = sink;
    sink.write = async (bytes) => {
      if (bytes.length === 2000) log.push("write");
      return write(bytes);
    };
    await writeModel(await modelWith({ a: lazy("a"), b: lazy("b") }), sink);
    expect(log).toEqual(["compute a", "write", "compute b", "write"]);
  });

  it("gives the same bytes as a file read in one piece", async () => {
    const file = await toBytes(await modelWith({ a: tensorOf("uint8", [5000], filled(7, 5000)) }));
    expect(Buffer.compare(await toBytes(await load(file)), file)).toBe(0);
  });

  it("says which lengths disagree when a lazy tensor gives too little", async () => {
    const model = await modelWith({ a: lazyTensor("uint8", [10], async () => filled(1, 9)) });
    await expect(toBytes(model)).rejects.toMatchObject({
      code: "onnx/tensor-size",
      what: expect.stringContaining("9 bytes"),
    });
  });

  it("refuses more than 2 GB in one file before it computes anything", async () => {
    let asked = false;
    const huge = lazyTensor("float32", [2 ** 29], async () => {
      asked = true;
      return filled(0);
    });
    await expect(toBytes(await modelWith({ huge }))).rejects.toMatchObject({ code: "onnx/too-large" });
    expect(asked).toBe(false);
  });

  it("moves weights out when they would not fit, and only then", async () => {
    const sinks: string[] = [];
    const external = {
      name: "m.onnx_data",
      sink: async (name: string) => {
        sinks.push(name);
        return memory();
      },
    };
    await writeModel(await modelWith({ a: tensorOf("uint8", [2000], filled(1)) }), memory(), { external });
    expect(sinks).toEqual([]);
    const huge = lazyTensor("uint8", [2 ** 31], async () => {
      throw new Error("it was this tensor's turn");
    });
    await expect(writeModel(await modelWith({ huge }), memory(), { external })).rejects.toThrow("turn");
    expect(sinks).toEqual(["m.onnx_data"]);
  });

  it("places weights outside on aligned offsets, a shared one once, small ones inside", async () => {
    const shared = tensorOf("uint8", [5000], filled(2, 5000));
    const model = await modelWith({
      small: tensorOf("uint8", [1023], filled(1, 1023)),
      a: tensorOf("uint8", [1025], filled(3, 1025)),
      b: shared,
      c: tensorOf("uint8", [1024], filled(4, 1024)),
      d: shared,
    });
    const [sink, data] = [memory(), memory()];
    await writeModel(model, sink, { external: { name: "w", sink: async () => data, when: "always" } });
    const bytes = joined(data.parts);
    const text = new TextDecoder().decode(joined(sink.parts));
    const offsets = [...text.matchAll(/offset\W+?(\d+)/g)].map((m) => Number(m[1]));
    expect(offsets).toEqual([0, 4096, 9152, 4096]);
    expect(offsets.map((at) => bytes[at])).toEqual([3, 2, 4, 2]);
    expect(bytes.length).toBe(9152 + 1024);
    expect(text).not.toContain("\u0003\u0003\u0003");
  });

  it("stops when it is told to", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(writeModel(await load(modelFile(RELU)), memory(), { signal })).rejects.toThrow("enough");
  });
});
