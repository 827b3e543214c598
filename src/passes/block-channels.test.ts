import { describe, expect, it } from "vitest";
import { edit, float, int, ints, type Model } from "../ir/index.ts";
import { elements, type TensorData } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import type { Fact } from "../ops/define.ts";
import { Emitter } from "../ops/emit.ts";
import { blockSize, openSession } from "../runtime/index.ts";
import { blockChannels } from "./block-channels.ts";

const block = await blockSize("node");
const next = random(5);
const drawn = (shape: readonly number[], low = -1): Float32Array =>
  Float32Array.from({ length: elements(shape) }, () => low + (1 - low) * next());

/** A net over x [batch, channels, 9, 7] whose weights are inputs; `build` gives the output. */
function net(
  channels: number,
  build: (g: Emitter, weight: (...shape: number[]) => string, x: string) => string,
  batch = 2,
) {
  const x = [batch, channels, 9, 7];
  const inputs = [{ name: "x", type: { kind: "tensor" as const, dtype: "float32" as const, shape: x } }];
  const feeds: Record<string, TensorData> = { x: { dtype: "float32", shape: x, data: drawn(x) } };
  const graph = { name: "net", inputs: [], outputs: [], weights: new Map(), nodes: [], valueInfo: new Map() };
  const facts = new Map<string, Fact>([["x", { dtype: "float32", shape: x }]]);
  const e = edit({ ...graph, inputs });
  const opsets = new Map([["", 18]]);
  const y = build(
    new Emitter(e, facts, opsets),
    (...shape) => {
      const name = `w${inputs.length}`;
      inputs.push({ name, type: { kind: "tensor", dtype: "float32", shape } });
      feeds[name] = { dtype: "float32", shape, data: drawn(shape, 0.1) };
      facts.set(name, { dtype: "float32", shape });
      return name;
    },
    "x",
  );
  e.setInputs(inputs);
  e.setOutputs([{ name: y }]);
  const model: Model = { graph: e.done(), opsets, irVersion: 8, functions: [] };
  return { model, feeds, y };
}

const conv = (g: Emitter, x: string, w: string, group = 1, stride = 1, bias?: string) =>
  g.op("Conv", [x, w, ...(bias ? [bias] : [])], {
    pads: ints([1, 1, 1, 1]),
    group: int(group),
    strides: ints([stride, stride]),
  });

/** The gradient by a 3×3 kernel with pads of 1, as a convolution over the batch. */
function kernelGradient(g: Emitter, x: string, dy: string, stride: number): string {
  const [batch, channels, height, width] = g.shape(x) as [number, number, number, number];
  const rows = g.reshape(g.transpose(x, [0, 2, 3, 1]), [1, batch, height, width * channels]);
  return g.op("Conv", [rows, g.transpose(dy, [1, 0, 2, 3])], {
    kernel_shape: ints(g.shape(dy).slice(2)),
    dilations: ints([stride, stride * channels]),
    pads: ints([1, channels, 1, channels]),
  });
}

/** The gradient of a max pool whose windows lie side by side, with dy = y². */
function poolGradient(g: Emitter, x: string, kernel: readonly number[]): string {
  const attrs = { kernel_shape: ints(kernel), strides: ints(kernel) };
  const y = g.op("MaxPool", [x], attrs);
  const dy = g.add(g.mul(y, y), 1);
  const [, places] = g.ops("MaxPool", [x], 2, attrs) as [string, string];
  const [zeros, flat] = [g.expand(g.scalar(0), [g.size(x)]), [g.size(y)]];
  return g.reshape(g.op("ScatterElements", [zeros, g.reshape(places, flat), g.reshape(dy, flat)]), g.shape(x));
}

const NETS: Readonly<Record<string, ReturnType<typeof net>>> = {
  "a stem, then a convolution": net(3, (g, w, x) =>
    conv(g, g.op("Relu", [conv(g, x, w(32, 3, 3, 3), 1, 2)]), w(16, 32, 3, 3), 1, 1, w(16)),
  ),
  "channels that do not fill a block": net(20, (g, w, x) => {
    const y = g.op("Sigmoid", [conv(g, x, w(24, 20, 3, 3))]);
    return conv(g, g.add(y, g.op("HardSwish", [y])), w(20, 24, 3, 3));
  }),
  "depthwise, strided, with a bias": net(32, (g, w, x) =>
    conv(g, conv(g, x, w(48, 32, 3, 3)), w(48, 1, 3, 3), 48, 2, w(48)),
  ),
  "a normalization by the batch": net(16, (g, w, x) => {
    const attrs = { training_mode: int(1), momentum: float(0) };
    const [y, mean] = g.ops("BatchNormalization", [conv(g, x, w(24, 16, 3, 3)), w(24), w(24), w(24), w(24)], 3, attrs);
    return g.add(y as string, g.reshape(mean as string, [24, 1, 1]));
  }),
  "an affine normalization, sums and scales of channels": net(16, (g, w, x) => {
    const y = g.op("BatchNormalization", [conv(g, x, w(32, 16, 3, 3)), w(32), w(32), w(32), w(32)]);
    const scaled = g.mul(y, g.reshape(g.sum(y, [0, 2, 3], false), [32, 1, 1]));
    return g.add(g.mul(scaled, g.op("GlobalAveragePool", [scaled])), g.op("Clip", [y, g.scalar(0), g.scalar(6)]));
  }),
  "few channels out": net(16, (g, w, x) => g.op("Relu", [conv(g, x, w(6, 16, 3, 3), 1, 1, w(6))])),
  "few channels out, two positions at a time": net(16, (g, w, x) => {
    const attrs = { pads: ints([1, 2, 0, 3]), strides: ints([2, 1]) };
    return g.op("Sigmoid", [g.op("Conv", [x, w(6, 16, 3, 5)], attrs)]);
  }),
  "a sum and a Relu behind convolutions": net(16, (g, w, x) => {
    const a = g.op("Relu", [conv(g, x, w(16, 16, 3, 3))]);
    const b = conv(g, a, w(16, 16, 3, 3));
    return g.op("Relu", [g.add(g.add(b, a), conv(g, a, w(16, 16, 3, 3), 1, 1, w(16)))]);
  }),
  "a Clip behind a normalization by the batch": net(16, (g, w, x) => {
    const attrs = { training_mode: int(1), momentum: float(0) };
    const y = conv(g, x, w(24, 16, 3, 3));
    const [normal] = g.ops("BatchNormalization", [y, w(24), w(24), w(24), w(24)], 3, attrs) as [string];
    return conv(g, g.op("Clip", [normal, g.scalar(0.1), g.scalar(0.7)]), w(16, 24, 3, 3));
  }),
  "a convolution whose output is read before the Relu as well": net(16, (g, w, x) => {
    const y = conv(g, x, w(16, 16, 3, 3));
    return g.mul(g.op("Relu", [y]), g.op("Sigmoid", [g.add(y, y)]));
  }),
  "a depthwise transposed convolution with strides": net(16, (g, w, x) => {
    const y = conv(g, x, w(32, 16, 3, 3), 1, 2);
    return g.op("ConvTranspose", [y, w(32, 1, 3, 3)], {
      group: int(32),
      strides: ints([2, 2]),
      pads: ints([1, 1, 1, 1]),
      output_padding: ints([0, 0]),
    });
  }),
  "a kernel's gradient": net(
    32,
    (g, w, x) => {
      const y = g.op("Relu", [conv(g, x, w(16, 32, 3, 3))]);
      return kernelGradient(g, y, conv(g, y, w(32, 16, 3, 3)), 1);
    },
    2 * Math.max(block, 1),
  ),
  "a kernel's gradient with strides, batch and channels that do not fill a block": net(
    24,
    (g, w, x) => kernelGradient(g, x, conv(g, x, w(20, 24, 3, 3), 1, 2), 2),
    19,
  ),
  "the gradient of a stem's kernel": net(
    3,
    (g, w, x) => kernelGradient(g, x, g.op("Relu", [conv(g, x, w(24, 3, 3, 3))]), 1),
    32,
  ),
  "a dense transposed convolution with strides": net(16, (g, w, x) => {
    const y = conv(g, x, w(48, 16, 3, 3), 1, 2);
    const attrs = { strides: ints([2, 2]), pads: ints([1, 1, 1, 1]), output_padding: ints([1, 1]) };
    return g.op("ConvTranspose", [y, w(48, 20, 3, 3)], attrs);
  }),
  "one with other strides and pads": net(16, (g, w, x) => {
    const attrs = { strides: ints([3, 2]), pads: ints([0, 1, 1, 2]), output_padding: ints([1, 0]) };
    return g.op("ConvTranspose", [conv(g, x, w(32, 16, 3, 3)), w(32, 20, 3, 5)], attrs);
  }),
  "max pools": net(16, (g, w, x) => {
    const y = g.op("MaxPool", [conv(g, x, w(24, 16, 3, 3))], {
      kernel_shape: ints([3, 3]),
      strides: ints([2, 2]),
      pads: ints([1, 1, 1, 1]),
    });
    return conv(g, y, w(16, 24, 3, 3));
  }),
  "a max pool's gradient, the first of equals taking it": net(16, (g, w, x) => {
    const y = g.op("Relu", [conv(g, x, g.sub(w(32, 16, 3, 3), 0.55))]);
    return poolGradient(g, y, [3, 7]);
  }),
  "sums of products": net(16, (g, w, x) => {
    const y = conv(g, x, w(24, 16, 3, 3));
    return g.sum(g.mul(y, g.op("Relu", [y])), [0, 2, 3], false);
  }),
};

describe.skipIf(block === 0)("on blocked channels", () => {
  it.each(Object.entries(NETS))("%s: the outputs are the same", async (_, { model, feeds, y }) => {
    const blocked = blockChannels(model, block);
    expect(blocked.graph.nodes.some((node) => node.domain === "com.microsoft.nchwc")).toBe(true);
    const [a, b] = await Promise.all(
      [model, blocked].map(async (m) => {
        const session = await openSession(m);
        const result = await session.run(feeds);
        await session.close();
        return Object.values(result)[0] as TensorData;
      }),
    );
    expect(b?.shape).toEqual(a?.shape);
    const [p, q] = [a?.data as Float32Array, b?.data as Float32Array];
    const largest = Math.max(...p.map(Math.abs));
    expect(Math.max(...p.map((v, i) => Math.abs(v - (q[i] as number)))) / largest, y).toBeLessThan(1e-5);
  });

  it.each([
    ["a kernel's gradient", "Conv"],
    ["a kernel's gradient with strides, batch and channels that do not fill a block", "Conv"],
    ["the gradient of a stem's kernel", "Conv"],
    ["a dense transposed convolution with strides", "ConvTranspose"],
    ["one with other strides and pads", "ConvTranspose"],
    ["max pools", "MaxPool"],
    ["a Clip behind a normalization by the batch", "Clip"],
    ["a max pool's gradient, the first of equals taking it", "ScatterElements"],
  ])("%s: no plain %s is left", (name, op) => {
    const { graph } = blockChannels((NETS[name] as ReturnType<typeof net>).model, block);
    expect(graph.nodes.filter((node) => node.op === op && node.domain === "")).toEqual([]);
  });

  it("a model without convolutions stays the very same nodes", () => {
    const { model } = net(16, (g, _, x) => g.op("Relu", [x]));
    expect(blockChannels(model, block).graph.nodes).toEqual(model.graph.nodes);
  });
});
