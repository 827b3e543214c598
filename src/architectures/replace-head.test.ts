import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { REAL_MODELS, real, WITHOUT_REAL } from "../../test/real.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, readData, type Tensor, type TensorData } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { randomFeeds } from "../measure/index.ts";
import { load } from "../onnx/index.ts";
import { openSession } from "../runtime/index.ts";
import { create, Net, torchDefault, type Value } from "./index.ts";
import { replaceHead } from "./replace-head.ts";

async function outputsOf(model: Model): Promise<Record<string, TensorData>> {
  const session = await openSession(model);
  const outputs = await session.run(randomFeeds(model, { batch: 2 }));
  await session.close();
  return outputs;
}

/** A net of one convolution with this head. */
function netOf(head: (net: Net, features: Value) => Value): Model {
  const net = new Net({ seed: 1 });
  const x = net.input("image", ["N", 3, 6, 6]);
  const features = net.relu(net.conv(x, { name: "body", out: 8, kernel: 3 }));
  return net.model({ scores: head(net, features) }, "net");
}

const pooled = (net: Net, x: Value) => net.flatten(net.globalAveragePool(x));
const FORMS: Readonly<Record<string, (net: Net, x: Value) => Value>> = {
  "a Gemm": (net, x) => net.linear(pooled(net, x), { name: "fc", out: 10, biasInit: torchDefault }),
  "a Gemm before Softmax": (net, x) => net.softmax(net.linear(pooled(net, x), { name: "fc", out: 10 })),
  "a MatMul and an Add": (net, x) => {
    const w = net.parameter("fc.weight", [8, 10], torchDefault);
    return net.add(net.parameter("fc.bias", [10], torchDefault), net.matMul(pooled(net, x), w));
  },
  "a Conv before pooling and Flatten": (net, x) =>
    pooled(net, net.relu(net.conv(x, { name: "fc", out: 10, kernel: 1, bias: true }))),
  "a Conv before a Reshape to the classes": (net, x) =>
    net.reshape(net.conv(net.globalAveragePool(x), { name: "fc", out: 10, kernel: 1 }), [-1, 10]),
};

describe("replacing the head", () => {
  for (const [says, head] of Object.entries(FORMS))
    it(`gives ${says} another number of classes, and leaves the rest`, async () => {
      const model = netOf(head);
      const { model: next, changes } = await replaceHead(model, 4, { seed: 7 });
      verify(next);
      expect(changes.at(-1)?.what).toMatch(/^Replaced the head: 10 classes became 4/);
      expect(next.graph.outputs[0]).toMatchObject({ name: "scores", type: { shape: ["N", 4] } });
      expect((await outputsOf(next))["scores"]?.shape).toEqual([2, 4]);
      expect(next.graph.weights.get("body.weight")).toBe(model.graph.weights.get("body.weight"));
      expect([...next.graph.weights.keys()]).toEqual(expect.arrayContaining(["body.weight", "fc.weight"]));
      const [once, twice, other] = await Promise.all(
        [7, 7, 8].map(async (seed) => (await outputsOf((await replaceHead(model, 4, { seed })).model))["scores"]),
      );
      expect(once).toEqual(twice);
      expect(once).not.toEqual(other);
    });

  it("draws weights within ±1/√inputs and a bias of zeros", async () => {
    const { model } = await replaceHead(netOf(FORMS["a Gemm"]!), 300);
    const { data } = await readData(model.graph.weights.get("fc.weight") as Tensor);
    const numbers = data as Float32Array;
    expect(Math.max(...numbers)).toBeLessThanOrEqual(Math.sqrt(1 / 8));
    expect(Math.max(...numbers)).toBeGreaterThan(0.98 * Math.sqrt(1 / 8));
    expect((await readData(model.graph.weights.get("fc.bias") as Tensor)).data).toEqual(new Float32Array(300));
  });

  it("keeps a weight that another node reads as it was", async () => {
    const net = new Net({ seed: 1 });
    const x = net.input("x", ["N", 8]);
    const w = net.parameter("w", [8, 8], torchDefault);
    const model = net.model({ y: net.matMul(net.matMul(x, w), w) }, "tied");
    const { model: next } = await replaceHead(model, 3);
    expect((await outputsOf(next))["y"]?.shape).toEqual([2, 3]);
  });

  it("is not fooled by a batch as large as the number of classes", async () => {
    const net = new Net({ seed: 1 });
    const x = net.linear(net.input("x", [10, 8]), { name: "fc", out: 10 });
    const { model } = await replaceHead(net.model({ y: net.reshape(x, [10, 10]) }, "batch"), 3);
    expect((await outputsOf(model))["y"]?.shape).toEqual([10, 3]);
  });

  it("says where the way forks when no one layer leads to the output", async () => {
    const net = new Net({ seed: 1 });
    const x = net.input("x", ["N", 3, 6, 6]);
    const sum = net.add(net.conv(x, { name: "a", out: 4, kernel: 1 }), net.conv(x, { name: "b", out: 4, kernel: 1 }));
    await expect(replaceHead(net.model({ y: sum }, "fork"), 3)).rejects.toThrow("it comes from Conv");
    await expect(replaceHead(netOf(FORMS["a Gemm"]!), 0)).rejects.toThrow("whole number");
    await expect(replaceHead(netOf(FORMS["a Gemm"]!), 3, { output: "boxes" })).rejects.toThrow('It has "scores"');
  });

  it("refuses what holds numbers for each class behind the head", async () => {
    const scaled = netOf((net, x) =>
      net.mul(
        net.linear(pooled(net, x), { name: "fc", out: 10 }),
        net.constant("t", float32s([10], new Array(10).fill(2))),
      ),
    );
    await expect(replaceHead(scaled, 3)).rejects.toThrow("10 numbers of its own");
  });

  it("works on a net of the list, BatchNorm kept", async () => {
    const model = create("mobilenet_v2", { width: 0.25, resolution: 32 });
    const { model: next } = await replaceHead(model, 7);
    expect(next.graph.nodes.length).toBe(model.graph.nodes.length);
    expect((await outputsOf(next))["logits"]?.shape).toEqual([2, 7]);
  });

  it("works on the digits model", async () => {
    const path = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));
    const { model } = await replaceHead(await load(path), 3);
    expect((await outputsOf(model))["logits"]?.shape).toEqual([2, 3]);
  });
});

describe.skipIf(REAL_MODELS.length === 0)(
  REAL_MODELS.length > 0 ? "replacing heads of real models" : WITHOUT_REAL,
  () => {
    for (const name of REAL_MODELS)
      it(name, async () => {
        const bytes = readFileSync(real(`models/${name}`) as string);
        const model = await load(name.endsWith(".gz") ? gunzipSync(bytes) : bytes);
        const { model: next } = await replaceHead(model, 7);
        verify(next);
        const [output] = next.graph.outputs;
        expect(output?.type).toMatchObject({ shape: expect.arrayContaining([7]) });
        // Large nets would take minutes: their shapes are inferred, which the laws hold to what runs.
        if (bytes.length < 3e5) expect((await outputsOf(next))[output?.name ?? ""]?.shape).toContain(7);
      });
  },
);
