import { describe, expect, it } from "vitest";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { float32s } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { parametersOf } from "../measure/parameters.ts";
import { openSession } from "../runtime/session.ts";
import {
  convNormAct,
  depthwiseSeparable,
  fusedMBConv,
  invertedResidual,
  squeezeExcite,
  universalInvertedBottleneck,
} from "./blocks.ts";
import { constant } from "./init.ts";
import { Net, type Padding, type Value } from "./net.ts";

async function run(model: Model, shape: readonly number[], value: (i: number) => number): Promise<number[][]> {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i));
  const session = await openSession(model);
  const outputs = await session.run({ x: { dtype: "float32", shape, data } });
  await session.close();
  return Object.values(outputs).map((output) => Array.from(output.data as Float32Array));
}

/** A model of one image [N, channels, size, size] and what `body` makes of it. */
const netOf = (channels: number, size: number, body: (net: Net, x: Value) => Value): Model => {
  const net = new Net({ seed: 1 });
  return net.model({ y: body(net, net.input("x", ["N", channels, size, size])) }, "test");
};

const codeOf = (make: () => unknown): string | undefined => {
  try {
    make();
  } catch (error) {
    return error instanceof MinnowError ? error.code : "no MinnowError";
  }
  return undefined;
};

describe("a net", () => {
  it("knows the shape of every value as ONNX Runtime gives it", async () => {
    const net = new Net();
    const x = net.input("x", ["N", 6, 17, 12]);
    const made = {
      conv: net.conv(x, { name: "a", out: 4, kernel: [5, 2], stride: [2, 1], dilation: [1, 2], padding: [0, 1] }),
      same: net.conv(x, { name: "b", out: 6, kernel: 4, stride: 3, groups: 3, padding: "same" }),
      max: net.maxPool(x, { kernel: 3, stride: 2, ceil: true, padding: 0 }),
      mean: net.mean(x, [2, 3]),
      flat: net.flatten(net.globalAveragePool(x)),
      sum: net.linear(net.transpose(x, [0, 2, 3, 1]), { name: "c", out: 5 }),
      part: net.slice(x, 1, 2, 5),
      halves: net.concat(net.split(x, [2, 4], 1).reverse(), 1),
      shaped: net.reshape(x, [0, 3, 2, -1]),
    };
    const session = await openSession(net.model(made, "shapes"));
    const data = new Float32Array(2 * 6 * 17 * 12);
    const outputs = await session.run({ x: { dtype: "float32", shape: [2, 6, 17, 12], data } });
    await session.close();
    for (const [name, { shape }] of Object.entries(made))
      expect([name, ...outputs[name]!.shape]).toEqual([name, ...shape.map((size) => (size === "N" ? 2 : size))]);
  });

  it.each([
    ["half", 7, [2, 3, 3, 2]],
    ["half", 8, [2, 3, 3, 3]],
    ["same", 7, [2, 3, 3, 2]],
    // TensorFlow's SAME puts an odd zero at the end.
    ["same", 8, [3, 3, 3, 2]],
    [0, 7, [3, 3, 3]],
  ] as const)("pads by %s at size %i", async (padding: Padding, size, sums) => {
    const [kernel, stride] = [
      [1, 3],
      [1, 2],
    ] as const;
    const model = netOf(1, size, (net, x) =>
      net.conv(x, { name: "w", out: 1, kernel, stride, padding, init: constant(1) }),
    );
    const [y] = await run(model, [1, 1, size, size], () => 1);
    expect(y!.slice(0, sums.length)).toEqual(sums);
  });

  it("normalizes by its running statistics, with the epsilon it is given", async () => {
    const net = new Net({ norm: { eps: 0.5 } });
    const model = net.model({ y: net.batchNorm(net.input("x", ["N", 1, 1, 1]), { name: "bn" }) }, "bn");
    const [y] = await run(model, [1, 1, 1, 1], () => 3);
    expect(y![0]).toBeCloseTo(3 / Math.sqrt(1.5), 5);
    expect(parametersOf(model)).toBe(0);
  });

  it("computes activations by their formulas", async () => {
    const net = new Net();
    const x = net.input("x", [8]);
    const formulas: Record<string, readonly [Value, (v: number) => number]> = {
      relu6: [net.relu6(x), (v) => Math.min(6, Math.max(0, v))],
      hardSwish: [net.hardSwish(x), (v) => (v * Math.min(6, Math.max(0, v + 3))) / 6],
      hardSigmoid: [net.hardSigmoid(x), (v) => Math.min(6, Math.max(0, v + 3)) / 6],
      silu: [net.silu(x), (v) => v / (1 + Math.exp(-v))],
      tanhGelu: [
        net.gelu(x, "g", "tanh"),
        (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
      ],
    };
    const outputs = Object.fromEntries(Object.entries(formulas).map(([name, [value]]) => [name, value]));
    const found = await run(net.model(outputs, "activations"), [8], (i) => 2.3 * (i - 3.5));
    Object.values(formulas).forEach(([, formula], at) => {
      found[at]!.forEach((value, i) => {
        expect(value).toBeCloseTo(formula(2.3 * (i - 3.5)), 4);
      });
    });
  });

  it("stores the weight of a linear layer as PyTorch does in a Gemm, transposed in a MatMul", () => {
    const net = new Net();
    net.linear(net.input("flat", ["N", 3]), { name: "a", out: 5 });
    net.linear(net.input("deep", ["N", 7, 3]), { name: "b", out: 5 });
    const { weights } = net.model({}, "linear").graph;
    expect(weights.get("a.weight")?.shape).toEqual([5, 3]);
    expect(weights.get("b.weight")?.shape).toEqual([3, 5]);
  });

  it("is written at opset 18 unless an operator needs more", () => {
    const net = new Net();
    const x = net.input("x", ["N", 3]);
    expect(net.model({ y: net.relu(x) }, "a")).toMatchObject({ opsets: new Map([["", 18]]), irVersion: 8 });
    expect(net.model({ y: net.gelu(x) }, "b")).toMatchObject({ opsets: new Map([["", 20]]), irVersion: 9 });
  });

  it("keeps constants that scopes share once, and names layers below their scope", () => {
    const net = new Net();
    const x = net.input("x", ["N", 3, 8, 8]);
    const inside = net.scope("features").scope(0);
    inside.relu6(inside.relu6(inside.conv(x, { name: "0", out: 4, kernel: 3 })));
    const { weights, nodes } = net.model({}, "names").graph;
    expect([...weights.keys()]).toEqual(["features.0.0.weight", "float_0", "float_6"]);
    expect(nodes.map((node) => node.name)).toEqual(["features.0.0", "features.0.relu6", "features.0.relu6_1"]);
  });

  it("refuses two layers of one name, a layer without channels and an image too small for a window", () => {
    const net = new Net();
    const x = net.input("x", ["N", 3, 4, 4]);
    net.conv(x, { name: "a", out: 4, kernel: 1 });
    expect(codeOf(() => net.conv(x, { name: "a", out: 4, kernel: 1 }))).toBe("architectures/name");
    expect(codeOf(() => net.conv(x, { name: "b", out: 0, kernel: 1 }))).toBe("architectures/no-channels");
    expect(codeOf(() => net.conv(x, { name: "c", out: 4, kernel: 5, padding: 0 }))).toBe("architectures/resolution");
    expect(codeOf(() => net.maxPool(net.globalAveragePool(x), { kernel: 3, stride: 2 }))).toBe(
      "architectures/resolution",
    );
  });

  it("takes constants of one's own", async () => {
    const net = new Net();
    const scale = net.constant("scale", float32s([2], [1, 10]));
    const model = net.model({ y: net.mul(net.input("x", [2]), scale) }, "scaled");
    expect(await run(model, [2], (i) => i + 1)).toEqual([[1, 20]]);
  });
});

describe("blocks make a net of one's own", () => {
  const blocks: Readonly<Record<string, (net: Net, x: Value) => Value>> = {
    convNormAct: (net, x) => convNormAct(net, x, { out: 16, kernel: 5, stride: 2, act: "hard_swish" }),
    depthwiseSeparable: (net, x) => depthwiseSeparable(net, x, { out: 16, stride: 2 }),
    squeezeExcite: (net, x) => squeezeExcite(net, x, { squeeze: 2 }),
    invertedResidual: (net, x) =>
      invertedResidual(net, x, { out: 8, expand: 4, kernel: 5, squeeze: { channels: 4, gate: "hard_sigmoid" } }),
    fusedMBConv: (net, x) => fusedMBConv(net, x, { out: 8, expand: 4 }),
    universalInvertedBottleneck: (net, x) =>
      universalInvertedBottleneck(net, x, { out: 8, expand: 2, start: 3, middle: 5 }),
  };

  it.each(Object.entries(blocks))("%s runs, and reads all of its image", async (_, block) => {
    const model = netOf(8, 8, block);
    verify(model);
    const [first] = await run(model, [1, 8, 8, 8], (i) => Math.sin(i));
    const [other] = await run(model, [1, 8, 8, 8], (i) => Math.cos(i));
    expect(first!.every(Number.isFinite)).toBe(true);
    expect(first).not.toEqual(other);
  });

  it("a block whose convolutions give nothing leaves only the way around it", async () => {
    const none = { conv: constant(0) };
    for (const block of ["invertedResidual", "fusedMBConv", "universalInvertedBottleneck"]) {
      const net = new Net(none);
      const model = net.model({ y: blocks[block]!(net, net.input("x", ["N", 8, 8, 8])) }, block);
      const image = (i: number): number => Math.fround(Math.sin(i));
      expect(await run(model, [1, 8, 8, 8], image)).toEqual([Array.from({ length: 512 }, (_, i) => image(i))]);
    }
  });
});
