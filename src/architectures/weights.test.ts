import { describe, expect, it } from "vitest";
import { readSafetensors, writeSafetensors } from "../files/safetensors.ts";
import { bytesSource } from "../files/source.ts";
import type { Model } from "../ir/graph.ts";
import { readFloats, type Tensor } from "../ir/tensor.ts";
import { randomFeeds } from "../measure/index.ts";
import { random } from "../numeric/random.ts";
import { roundTo } from "../passes/numbers.ts";
import { openSession } from "../runtime/index.ts";
import { create, Net, torchDefault } from "./index.ts";
import { loadWeights } from "./weights.ts";

const small = (seed: number, classes = 10) => create("mobilenet_v2", { width: 0.25, resolution: 32, classes, seed });

/** The float weights as a state dict, with the counters PyTorch adds. */
async function stateOf(model: Model, rename = (name: string) => name, dtype: Tensor["dtype"] = "float32") {
  const next = random(3);
  const state = new Map<string, Tensor>();
  for (const [name, tensor] of model.graph.weights) {
    if (tensor.dtype !== "float32" || tensor.shape.length === 0) continue;
    // Statistics start at 0 and 1: others make sure that they come over too.
    const values = (await readFloats(tensor)).map((v) => (name.includes("running") ? v + next() : v));
    state.set(rename(name), roundTo(dtype, tensor.shape, values));
    if (name.endsWith("running_var"))
      state.set(rename(name.replace("running_var", "num_batches_tracked")), {
        dtype: "int64",
        shape: [],
        read: async () => new Uint8Array(8),
      });
  }
  return state;
}

async function run(model: Model): Promise<Float32Array> {
  const session = await openSession(model);
  const { logits } = await session.run(randomFeeds(model, { batch: 2 }));
  await session.close();
  return logits?.data as Float32Array;
}

describe("loading weights", () => {
  it("makes the net compute what the checkpoint's net computes, through a safetensors file", async () => {
    const state = await stateOf(small(1));
    const parts: Uint8Array[] = [];
    await writeSafetensors(state, { write: async (bytes) => void parts.push(bytes) });
    const { tensors } = await readSafetensors(bytesSource(new Uint8Array(Buffer.concat(parts))));
    const one = await loadWeights(small(2), tensors);
    const two = await loadWeights(small(3), state);
    expect(one).toMatchObject({ missing: [], unexpected: [], mismatched: [] });
    expect(await run(one.model)).toEqual(await run(two.model));
    expect(await run(one.model)).not.toEqual(await run(small(1)));
  });

  it("takes a prefix off that one of the two has", async () => {
    const state = await stateOf(small(1));
    for (const prefix of ["module.", "module.model.", "student.net.features."]) {
      const prefixed = new Map([...state].map(([name, tensor]) => [prefix + name, tensor]));
      expect(await loadWeights(small(2), prefixed)).toMatchObject({ missing: [], unexpected: [], mismatched: [] });
    }
    const headless = new Map([...state].filter(([n]) => n.startsWith("features.")).map(([n, t]) => [n.slice(9), t]));
    const { missing, unexpected } = await loadWeights(small(2), headless);
    expect([missing, unexpected]).toEqual([["classifier.1.weight", "classifier.1.bias"], []]);
  });

  it("reports what is missing, what is unexpected, and other shapes, and keeps first values there", async () => {
    const state = await stateOf(small(1, 7));
    state.delete("features.0.1.weight");
    state.set("aux.weight", state.get("features.0.0.weight") as Tensor);
    const model = small(2);
    const loaded = await loadWeights(model, state);
    expect(loaded.missing).toEqual(["features.0.1.weight"]);
    expect(loaded.unexpected).toEqual(["aux.weight"]);
    expect(loaded.mismatched).toEqual([
      { name: "classifier.1.weight", model: [10, 1280], checkpoint: [7, 1280] },
      { name: "classifier.1.bias", model: [10], checkpoint: [7] },
    ]);
    const head = "classifier.1.weight";
    expect(loaded.model.graph.weights.get(head)).toBe(model.graph.weights.get(head));
  });

  it("turns half floats into the model's type", async () => {
    for (const [dtype, within] of [
      ["float16", 1e-3],
      ["bfloat16", 1e-2],
      ["float64", 1e-7],
    ] as const) {
      const { model } = await loadWeights(small(2), await stateOf(small(1), undefined, dtype));
      const name = "features.1.conv.1.weight";
      const [got, wanted] = [model, small(1)].map((m) => m.graph.weights.get(name) as Tensor);
      expect(got?.dtype).toBe("float32");
      const values = await readFloats(wanted!);
      for (const [i, value] of (await readFloats(got!)).entries())
        expect(Math.abs(value - values[i]!)).toBeLessThanOrEqual(within * Math.abs(values[i]!));
    }
  });

  it("transposes what is the second operand of a MatMul, square or not", async () => {
    const net = (seed: number, flat: boolean) => {
      const n = new Net({ seed });
      let x = n.input("x", flat ? [6, 5] : [2, 3, 5]);
      x = n.linear(x, { name: "a", out: 5, init: torchDefault, biasInit: torchDefault });
      return n.model({ logits: n.linear(x, { name: "b", out: 4, init: torchDefault }) }, "two");
    };
    const state = await stateOf(net(1, true));
    const { model, missing, mismatched } = await loadWeights(net(2, false), state);
    expect([missing, mismatched]).toEqual([[], []]);
    const [wanted, got] = [await run(net(1, true)), await run(model)];
    for (const [i, value] of wanted.entries()) expect(got[i]).toBeCloseTo(value, 6);
  });

  it("knows LayerNorm's old names", async () => {
    const net = (seed: number) => {
      const n = new Net({ seed });
      const x = n.scope("output").layerNorm(n.input("x", [2, 6]), { name: "LayerNorm", init: torchDefault });
      return n.model({ logits: x }, "norm");
    };
    const old = await stateOf(net(1), (name) => name.replace("weight", "gamma").replace("bias", "beta"));
    expect(await loadWeights(net(2), old)).toMatchObject({ missing: [], unexpected: [] });
  });

  it("of another net is refused, with names of both", async () => {
    const other = new Map([["layer1.0.conv1.weight", (await stateOf(small(1))).get("features.0.0.weight") as Tensor]]);
    for (const state of [other, new Map(), await stateOf(create("mobilenet_v2", { width: 0.5, resolution: 32 }))])
      await expect(loadWeights(small(1), state)).rejects.toThrow(/of another net.*features\.0\.0\.weight/);
  });
});
