import { classToken, Net, normal, patchEmbedding, type Value, vitBlock } from "../../dist/architectures/index.js";
import type { Model, TensorData } from "../../dist/ir/index.js";
import { int } from "../../dist/ir/index.js";
import type { Runtime } from "../../dist/runtime/index.js";
import {
  adamW,
  bindSizes,
  crossEntropy,
  type Optimizer,
  openStepper,
  sgd,
  type TrainStep,
  trainingStep,
} from "../../dist/train/index.js";

const BATCH = 8;
const CLASSES = 4;

/** Dense, strided, depthwise and pointwise convolutions with normalization, both kinds of pools, dropout. */
function convnet(): Model {
  const net = new Net({ seed: 5 });
  const block = (x: Value, name: string, out: number, groups = 1, kernel = 3, stride = 1) =>
    net.relu(net.batchNorm(net.conv(x, { name, out, kernel, stride, groups }), { name: `${name}.bn` }));
  let x = net.input("input", ["N", 3, 20, 20]);
  x = block(x, "stem", 8, 1, 3, 2);
  x = net.maxPool(block(x, "dense", 8), { kernel: 3, stride: 2, padding: 1 });
  x = block(block(x, "depthwise", 8, 8), "pointwise", 16, 1, 1);
  x = net.averagePool(block(x, "wide", 16), { kernel: 2, stride: 2, padding: 0 });
  x = net.op("Dropout", [net.flatten(x), net.scalar(0.2)], { name: "dropout" });
  return net.model({ scores: net.linear(x, { name: "fc", out: CLASSES }) }, "convnet");
}

/** Patches, a class token, positions and two encoder layers. */
function transformer(): Model {
  const net = new Net({ seed: 3 });
  let x = classToken(net, patchEmbedding(net, net.input("input", ["N", 3, 20, 20]), 24, 5));
  x = net.add(x, net.parameter("positions", [1, 17, 24], normal(0.02)), "embedded");
  for (const i of [0, 1]) x = vitBlock(net.scope(`blocks.${i}`), x, { heads: 3, inner: 48 });
  x = net.op("ReduceMean", [net.layerNorm(x, { name: "norm" }), net.ints([1])], { attrs: { keepdims: int(0) } });
  return net.model({ scores: net.linear(x, { name: "head", out: CLASSES }) }, "transformer");
}

/** A net over numbers of words. */
function text(): Model {
  const net = new Net({ seed: 7 });
  let x = net.embedding(net.input("input", ["N", 12], "int64"), {
    name: "words",
    count: 40,
    size: 16,
    init: normal(1),
  });
  x = vitBlock(net, x, { heads: 2, inner: 32, act: "silu" });
  x = net.op("ReduceMean", [x, net.ints([1])], { attrs: { keepdims: int(0) } });
  return net.model({ scores: net.linear(x, { name: "head", out: CLASSES }) }, "text");
}

const NETS: Readonly<
  Record<NetName, { readonly build: () => Model; readonly optimizer: Optimizer; readonly lr: number }>
> = {
  convnet: { build: convnet, optimizer: sgd({ momentum: 0.9, nesterov: true }), lr: 0.05 },
  transformer: { build: transformer, optimizer: adamW(), lr: 0.01 },
  text: { build: text, optimizer: adamW(), lr: 0.03 },
};

export type NetName = "convnet" | "transformer" | "text";

/** What some steps on one batch come to. */
export interface Walk {
  readonly losses: readonly number[];
  /** The norm of each thing that is carried, afterwards: weights, running statistics, the optimizer's state, averages. */
  readonly norms: Readonly<Record<string, number>>;
}

/** Trains a net for six steps on one batch, with clipped gradients and averaged weights. */
export async function walk(name: NetName, runtime: Runtime, threads = 1): Promise<Walk> {
  const { build, optimizer, lr } = NETS[name];
  const model = await bindSizes(build(), BATCH);
  const step = trainingStep(model, {
    loss: crossEntropy(),
    optimizer,
    batch: BATCH,
    clipNorm: 5,
    ema: 0.9,
    portable: runtime === "webgpu",
  });
  const stepper = await openStepper(step, { runtime, threads });
  const losses: number[] = [];
  for (let update = 1; update <= 6; update++) losses.push((await stepper.run(batchOf(step), { lr, update })).loss);
  const norms = [...stepper.state()].map(([key, { data }]) => [key, Math.hypot(...Array.from(data, Number))] as const);
  await stepper.close();
  return { losses, norms: Object.fromEntries(norms) };
}

/** A batch that can be learned: what is fed is a wave whose rate is the class. */
function batchOf({ feeds }: TrainStep): Record<string, TensorData> {
  return Object.fromEntries(
    feeds.map(({ name, dtype, shape }) => {
      const each = shape.slice(1).reduce((a, b) => a * b, 1);
      const wave = (i: number) => Math.sin((i % each) * (0.2 + 0.3 * (Math.floor(i / each) % CLASSES)) + i / each);
      if (name === "labels")
        return [name, { dtype, shape, data: BigInt64Array.from({ length: BATCH }, (_, i) => BigInt(i % CLASSES)) }];
      if (dtype === "int64")
        return [
          name,
          {
            dtype,
            shape,
            data: BigInt64Array.from({ length: BATCH * each }, (_, i) => BigInt(Math.round(20 + 19 * wave(i)))),
          },
        ];
      return [name, { dtype, shape, data: Float32Array.from({ length: BATCH * each }, (_, i) => wave(i)) }];
    }),
  );
}
