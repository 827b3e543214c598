import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Net, type Value } from "../architectures/index.ts";
import { arrays } from "../data/arrays.ts";
import { type Dataset, dataset, type Example } from "../data/dataset.ts";
import { int } from "../ir/attrs.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, readFloats, type Tensor, type TensorData } from "../ir/tensor.ts";
import { normal, random } from "../numeric/random.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { huber, meanSquaredError } from "./losses.ts";
import { adamW, sgd } from "./optimizers.ts";
import { constant } from "./schedules.ts";
import type { Loss } from "./step.ts";
import { type TrainOptions, type TrainProgress, train } from "./train.ts";
import { grouping } from "./trainable.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-train-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Pictures of 6×6 in three classes: light on the left, in the middle or on the right, with noise. */
function pictures(count: number, seed = 0): Dataset {
  const next = random(seed);
  const y = Array.from({ length: count }, () => Math.floor(next() * 3));
  const data = Float32Array.from({ length: count * 36 }, (_, k) => {
    const column = k % 6;
    return Number(Math.floor(column / 2) === y[Math.floor(k / 36)]) + 0.7 * normal(next);
  });
  return arrays({ x: { dtype: "float32", shape: [count, 1, 6, 6], data }, y });
}

/** A small convolutional net with everything that has a state or is random in training. */
function convnet(): Model {
  const net = new Net({ seed: 5 });
  let x = net.input("image", ["N", 1, 6, 6]);
  x = net.relu(net.batchNorm(net.conv(x, { name: "conv", out: 8, kernel: 3 }), { name: "bn" }));
  x = net.flatten(net.maxPool(x, { kernel: 2, stride: 2, padding: 0 }));
  x = net.op("Dropout", [x, net.scalar(0.25)], { name: "dropout", attrs: { seed: int(1) } });
  return net.model({ scores: net.linear(x, { name: "fc", out: 3 }) }, "convnet");
}

/** A small net without any. */
function dense(head: (net: Net, x: Value) => Value = (net, x) => net.linear(x, { name: "fc2", out: 3 })): Model {
  const net = new Net({ seed: 2 });
  const x = net.flatten(net.input("image", ["N", 1, 6, 6]));
  return net.model({ y: head(net, net.relu(net.linear(x, { name: "fc1", out: 16 }))) }, "dense");
}

const weightsOf = async (model: Model): Promise<Record<string, readonly number[]>> =>
  Object.fromEntries(
    await Promise.all(
      [...model.graph.weights]
        .filter(([, { dtype, shape }]) => dtype === "float32" && shape.length > 0)
        .map(async ([name, tensor]) => [name, [...(await readFloats(tensor))]] as const),
    ),
  );

const pixels = { layout: "nchw", black: [0], white: [1], luma: [1] } as const;
const full: Omit<TrainOptions, "data"> = {
  epochs: 3,
  batch: 10,
  seed: 4,
  schedule: constant(0.02),
  optimizer: adamW(),
  weightDecay: 0.01,
  ema: 0.9,
  augment: { crop: 1, brightness: 0.2, mixup: 0.3 },
  pixels,
};

describe("train", () => {
  it("learns, and gives back a model with the same inputs, outputs and weights that answers as it was judged", async () => {
    const model = convnet();
    const [data, validation] = [pictures(120), pictures(60, 1)];
    const result = await train(model, { data, validation, epochs: 4, batch: 12, schedule: constant(0.05) });
    const [first, last] = [result.history[0], result.history.at(-1)];
    expect(last?.loss).toBeLessThan(0.6 * (first?.loss ?? 0));
    expect(last?.metrics["accuracy"]).toBeGreaterThan(0.9);
    expect(result.best).toBeGreaterThan(0);
    expect(result.model.graph.inputs).toEqual(model.graph.inputs);
    expect(result.model.graph.outputs).toEqual(model.graph.outputs);
    for (const name of model.graph.weights.keys())
      if (!name.startsWith("float_")) expect(result.model.graph.weights.has(name), name).toBe(true);
    const { evaluate } = await import("../measure/evaluate.ts");
    expect((await evaluate(result.model, validation)).metrics.accuracy).toBe(last?.metrics["accuracy"]);
  });

  it("the same seed gives the same weights, another seed others", async () => {
    const once = await train(convnet(), { ...full, data: pictures(40), epochs: 1 });
    const again = await train(convnet(), { ...full, data: pictures(40), epochs: 1 });
    const other = await train(convnet(), { ...full, data: pictures(40), epochs: 1, seed: 5 });
    expect(await weightsOf(again.model)).toEqual(await weightsOf(once.model));
    expect(await weightsOf(other.model)).not.toEqual(await weightsOf(once.model));
  });

  for (const [after, accumulate] of [
    [7, 1],
    [3, 2],
  ] as const)
    it(`stopped after ${after} updates of ${accumulate} batches and continued, it is bit for bit what it would have been`, async () => {
      const options = { ...full, accumulate, data: pictures(65), validation: pictures(30, 1), keep: "best" as const };
      const whole = await train(convnet(), options);
      const checkpoint = join(folder, `${after}.safetensors`);
      const stop = new AbortController();
      const part = await train(convnet(), {
        ...options,
        checkpoint,
        signal: stop.signal,
        onProgress: ({ step }) => step === after && stop.abort(),
      });
      expect(part.stopped).toBe("interrupted");
      const rest = await train(convnet(), { ...options, resume: checkpoint });
      expect(await weightsOf(rest.model)).toEqual(await weightsOf(whole.model));
      const plain = (records: typeof whole.history) => records.map(({ samplesPerSecond: _, ...record }) => record);
      expect(plain(rest.history)).toEqual(plain(whole.history));
      expect(rest.best).toBe(whole.best);
    });

  it("keeps its state by a function, too, and goes on from what that was given", async () => {
    const options = { ...full, data: pictures(40) };
    const whole = await train(convnet(), options);
    const states: Checkpoint[] = [];
    const stop = new AbortController();
    const onProgress = ({ step }: TrainProgress) => step === 6 && stop.abort();
    await train(convnet(), {
      ...options,
      checkpoint: (state) => void states.push(state),
      signal: stop.signal,
      onProgress,
    });
    expect(states.map(({ progress }) => progress["update"])).toEqual([4, 6]);
    const rest = await train(convnet(), { ...options, resume: structuredClone(states.at(-1)) });
    expect(await weightsOf(rest.model)).toEqual(await weightsOf(whole.model));
  });

  it("a checkpoint of another training is refused", async () => {
    const checkpoint = join(folder, "other.safetensors");
    const options = { ...full, data: pictures(40), epochs: 1 };
    await train(convnet(), { ...options, checkpoint });
    await expect(train(convnet(), { ...options, batch: 8, resume: checkpoint })).rejects.toThrow(
      "a batch of 10, and this one 8",
    );
    await expect(train(dense(), { ...options, resume: checkpoint })).rejects.toThrow(/has no "fc1|shape/);
  });

  it("two batches to an update are one batch of both", async () => {
    const options = { data: pictures(64), epochs: 2, schedule: constant(0.05), seed: 1 };
    const one = await weightsOf((await train(dense(), { ...options, batch: 16 })).model);
    const two = await weightsOf((await train(dense(), { ...options, batch: 8, accumulate: 2 })).model);
    for (const [name, values] of Object.entries(one))
      for (const [i, value] of values.entries()) expect(two[name]?.[i], name).toBeCloseTo(value, 4);
  });

  it("frozen weights stay as they are and are named, and so do those whose rate is 0", async () => {
    const before = await weightsOf(convnet());
    const result = await train(convnet(), {
      data: pictures(40),
      epochs: 1,
      batch: 10,
      freeze: ["conv.*", "bn.*"],
      groups: [{ match: "fc.bias", lr: 0 }],
    });
    const after = await weightsOf(result.model);
    for (const name of ["conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "fc.bias"])
      expect(after[name], name).toEqual(before[name]);
    expect(after["fc.weight"]).not.toEqual(before["fc.weight"]);
    expect(result.untouched).toEqual([
      { name: "conv.weight", why: "frozen" },
      { name: "bn.weight", why: "frozen" },
      { name: "bn.bias", why: "frozen" },
    ]);
    await expect(train(convnet(), { data: pictures(40), epochs: 1, freeze: ["head.*"] })).rejects.toThrow("head.*");
    await expect(train(convnet(), { data: pictures(40), epochs: 1, freeze: ["*"] })).rejects.toThrow(
      "None of its 5 weights",
    );
  });

  it("weight decay leaves out biases and normalizations, and a group has its own", () => {
    const way = grouping(
      convnet(),
      [
        { match: ["fc.*"], lr: 0.1 },
        { match: "fc.weight", weightDecay: 0 },
      ],
      0.05,
    );
    expect(way("conv.weight")).toEqual({ lr: 1, weightDecay: 0.05 });
    expect(way("bn.weight")).toEqual({ lr: 1, weightDecay: 0 });
    expect(way("fc.weight")).toEqual({ lr: 0.1, weightDecay: 0 });
    expect(way("fc.bias")).toEqual({ lr: 0.1, weightDecay: 0 });
  });

  it("names what the loss does not reach", async () => {
    const model = dense();
    const more: Tensor = float32s([16, 2], new Float32Array(32));
    const nodes = [...model.graph.nodes];
    nodes.push({
      ...(nodes[0] as (typeof nodes)[0]),
      name: "aside",
      op: "MatMul",
      inputs: [nodes[2]?.outputs[0] ?? "", "aside.weight"],
      outputs: ["aside"],
      attrs: {},
    });
    const graph = {
      ...model.graph,
      nodes,
      weights: new Map([...model.graph.weights, ["aside.weight", more] as const]),
      outputs: [...model.graph.outputs, { name: "aside" }],
    };
    const { untouched } = await train({ ...model, graph }, { data: pictures(20), epochs: 1, batch: 10 });
    expect(untouched).toEqual([{ name: "aside.weight", why: "the loss does not depend on it" }]);
  });

  it("learns the same where inner values are computed again", async () => {
    const options = { ...full, data: pictures(40), epochs: 1 };
    const [kept, again] = [await train(convnet(), options), await train(convnet(), { ...options, recompute: true })];
    const weights = await weightsOf(again.model);
    for (const [name, values] of Object.entries(await weightsOf(kept.model)))
      for (const [i, value] of values.entries()) expect(weights[name]?.[i], name).toBeCloseTo(value, 5);
  });

  it("learns the same in WebAssembly, where outputs are not written into given buffers", async () => {
    const options = { ...full, data: pictures(40), epochs: 2 };
    const [node, wasm] = [await train(convnet(), options), await train(convnet(), { ...options, runtime: "wasm" })];
    for (const [i, { loss }] of node.history.entries()) expect(wasm.history[i]?.loss).toBeCloseTo(loss, 4);
    expect(wasm.history[1]?.loss).toBeLessThan(wasm.history[0]?.loss ?? 0);
  });

  it("leaves a mask alone that is added to scores, unless it is asked for", async () => {
    const model = dense();
    const mask = float32s([1, 3], [0, -1e9, 0]);
    const nodes = model.graph.nodes.map((node) => ({
      ...node,
      outputs: node.outputs.map((o) => (o === "y" ? "raw" : o)),
    }));
    nodes.push({ name: "masked", op: "Add", domain: "", inputs: ["raw", "mask"], outputs: ["y"], attrs: {} });
    const masked = {
      ...model,
      graph: { ...model.graph, nodes, weights: new Map([...model.graph.weights, ["mask", mask] as const]) },
    };
    const two = dataset({
      ...pictures(40),
      labels: undefined,
      at: async (i) => ({ ...((await pictures(40).at(i)) as Example), label: 2 * (i % 2) }),
    });
    const options = { data: two, epochs: 1, batch: 10, optimizer: sgd(), weightDecay: 0.1 };
    const { untouched, model: trained } = await train(masked, options);
    expect(untouched).toEqual([{ name: "mask", why: "it looks like a mask that is added to scores" }]);
    expect((await weightsOf(trained))["mask"]).toEqual([0, -1e9, 0]);
    const asked = await train(masked, { ...options, only: ["mask"] });
    expect((await weightsOf(asked.model))["mask"]).not.toEqual([0, -1e9, 0]);
  });

  it("an averaged model is the average, not the last", async () => {
    const options = { data: pictures(40), epochs: 1, batch: 10, schedule: constant(0.1), optimizer: sgd() };
    const [fast, slow] = await Promise.all([train(dense(), options), train(dense(), { ...options, ema: 0.99 })]);
    const [start, end, mean] = [await weightsOf(dense()), await weightsOf(fast.model), await weightsOf(slow.model)];
    const far = (a: readonly number[] = [], b: readonly number[] = []) =>
      Math.hypot(...a.map((v, i) => v - (b[i] as number)));
    expect(far(mean["fc1.weight"], start["fc1.weight"])).toBeLessThan(
      0.05 * far(end["fc1.weight"], start["fc1.weight"]),
    );
    expect(far(mean["fc1.weight"], start["fc1.weight"])).toBeGreaterThan(0);
  });

  it("a loss that runs away stops the training with a clear word, and the last checkpoint stays", async () => {
    const checkpoint = join(folder, "good.safetensors");
    const options = { data: pictures(40), batch: 10, optimizer: sgd(), checkpoint };
    const run = train(dense(), { ...options, epochs: 9, schedule: (step) => (step < 8 ? 0.01 : 1e9) });
    await expect(run).rejects.toMatchObject({ code: "train/diverged" });
    await expect(run).rejects.toThrow("The state after epoch 2 is in");
    const rest = await train(dense(), { ...options, epochs: 3, schedule: constant(0.01), resume: checkpoint });
    expect(rest.history.length).toBe(3);
    expect(rest.history.every(({ loss }) => Number.isFinite(loss))).toBe(true);
  });

  it("stops when no epoch is better any more, and gives back the best", async () => {
    const validation = pictures(60, 1);
    const result = await train(dense(), {
      data: pictures(90),
      validation,
      epochs: 40,
      batch: 10,
      patience: 2,
      schedule: (step) => (step < 27 ? 0.05 : 0),
    });
    expect(result.stopped).toBe("early");
    expect(result.history.length).toBe((result.best ?? 0) + 2);
    const { evaluate } = await import("../measure/evaluate.ts");
    const best = Math.max(...result.history.map(({ metrics }) => metrics["accuracy"] ?? 0));
    expect((await evaluate(result.model, validation)).metrics.accuracy).toBe(best);
  });

  it("learns numbers from targets in the examples, and judges by the loss where there are no labels", async () => {
    const examples = (count: number, seed: number): Dataset => {
      const next = random(seed);
      const x = Array.from({ length: count }, () => Float32Array.from({ length: 36 }, () => normal(next)));
      const float = (shape: number[], data: Float32Array) => ({ dtype: "float32" as const, shape, data });
      return dataset({
        size: count,
        at: async (i) => {
          const row = x[i] as Float32Array;
          return {
            feeds: {
              image: float([1, 6, 6], row),
              targets: float([1], Float32Array.of((row[0] as number) - (row[7] as number))),
            },
          };
        },
      });
    };
    const model = dense((net, x) => net.linear(x, { name: "out", out: 1 }));
    const { history } = await train(model, {
      data: examples(200, 0),
      validation: examples(25, 1),
      loss: meanSquaredError(),
      optimizer: adamW(),
      schedule: constant(0.01),
      epochs: 8,
      batch: 10,
    });
    expect(history.at(-1)?.loss).toBeLessThan(0.3 * (history[0]?.loss ?? 0));
    expect(history.at(-1)?.metrics["loss"]).toBeLessThan(0.6 * (history[0]?.metrics["loss"] ?? 0));
  });

  it("a loss of one's own is a few nodes, fed by what it asks for", async () => {
    const hinge: Loss = {
      name: "hinge",
      build(g, { outputs, input }) {
        const y = input("side", "float32", g.shape(outputs["y"] as string));
        const loss = g.op("Relu", [g.sub(1, g.mul(y, outputs["y"] as string))]);
        return g.mean(loss, [0, 1], false);
      },
    };
    const [good, next] = [pictures(80), random(3)];
    const shift = Array.from({ length: 80 }, () => (next() < 0.5 ? -1 : 1));
    const sided = dataset({
      size: 80,
      at: async (i) => {
        const { feeds } = (await good.at(i)) as Example;
        const image = feeds["input"] as TensorData;
        const side = shift[i] as number;
        const data = Float32Array.from(image.data as Float32Array, (v) => v + side);
        const float = { dtype: "float32", shape: [1], data: Float32Array.of(side) } as const;
        return { feeds: { image: { ...image, data }, side: float } };
      },
    });
    const model = dense((net, x) => net.linear(x, { name: "out", out: 1 }));
    const { history } = await train(model, {
      data: sided,
      loss: hinge,
      epochs: 5,
      batch: 10,
      schedule: constant(0.02),
    });
    expect(history.at(-1)?.loss).toBeLessThan(0.2 * (history[0]?.loss ?? 0));
    await expect(train(model, { data: good, loss: hinge, epochs: 1, batch: 10 })).rejects.toThrow('asks for "side"');
  });

  it("the one bias of a head with one output learns too", async () => {
    const data = dataset({
      size: 64,
      at: async (i) => ({
        feeds: {
          image: {
            dtype: "float32",
            shape: [1, 6, 6],
            data: Float32Array.from({ length: 36 }, (_, k) => Math.sin(i + k)),
          },
          targets: { dtype: "float32", shape: [1], data: Float32Array.of(3) },
        },
      }),
    });
    const model = dense((net, hidden) => net.linear(hidden, { name: "fc2", out: 1 }));
    const { model: after, untouched } = await train(model, {
      data,
      loss: meanSquaredError(),
      epochs: 1,
      batch: 32,
      schedule: constant(0.01),
    });
    expect(untouched).toEqual([]);
    expect((await weightsOf(after))["fc2.bias"]).not.toEqual((await weightsOf(model))["fc2.bias"]);
  });

  it("a model may have an input of the name the loss asks for", async () => {
    const net = new Net({ seed: 3 });
    const [image, hint] = [net.flatten(net.input("image", ["N", 1, 6, 6])), net.input("labels", ["N", 2])];
    const model = net.model(
      { y: net.add(net.linear(image, { name: "a", out: 3 }), net.linear(hint, { name: "b", out: 3 })) },
      "hinted",
    );
    const plain = pictures(32);
    const data = dataset({
      ...plain,
      at: async (i) => {
        const [image] = Object.values(((await plain.at(i)) as Example).feeds) as [TensorData];
        const labels: TensorData = { dtype: "float32", shape: [2], data: Float32Array.of(i % 2, 1) };
        return { feeds: { image, labels }, label: plain.labels?.[i] as number };
      },
    });
    const { history } = await train(model, { data, epochs: 2, batch: 16, schedule: constant(0.05) });
    expect(history.at(-1)?.loss).toBeLessThan(history[0]?.loss as number);
  });

  it("passes over examples that cannot be read, and says so where most cannot", async () => {
    const good = pictures(40);
    const broken = (every: number): Dataset =>
      dataset({
        size: 40,
        labels: good.labels,
        at: async (i) => (i % every === 0 ? { skipped: "damaged", name: `${i}.png` } : good.at(i)),
      });
    const { history } = await train(dense(), { data: broken(4), epochs: 2, batch: 10 });
    expect(history.length).toBe(2);
    await expect(train(dense(), { data: broken(1), epochs: 1, batch: 10 })).rejects.toMatchObject({
      code: "data/none-readable",
    });
  });

  it("a model that fixes its batch is trained by it, several to an update", async () => {
    const model = dense();
    const [input] = model.graph.inputs;
    const inputs = [
      { ...input, name: "image", type: { kind: "tensor", dtype: "float32", shape: [1, 1, 6, 6] } as const },
    ];
    const fixed = { ...model, graph: { ...model.graph, inputs, outputs: [{ name: "y" }] } };
    const options = { data: pictures(60), epochs: 3, accumulate: 6, schedule: constant(0.05) };
    const { history, model: trained } = await train(fixed, options);
    expect(history.at(-1)?.loss).toBeLessThan(history[0]?.loss ?? 0);
    expect(trained.graph.inputs).toEqual(inputs);
    await expect(train(fixed, { ...options, batch: 8 })).rejects.toMatchObject({ code: "train/fixed-batch" });
  });

  it("says what does not go together before it begins", async () => {
    const data = pictures(20);
    const unlabelled = arrays({ x: { dtype: "float32", shape: [20, 1, 6, 6], data: new Float32Array(720) } });
    await expect(
      train(
        dense((net, x) => net.linear(x, { name: "fc2", out: 2 })),
        { data, epochs: 1 },
      ),
    ).rejects.toMatchObject({ code: "train/labels" });
    const two = dense((net, x) => net.linear(x, { name: "fc2", out: 2 }));
    const mixed = { data, epochs: 1, pixels, augment: { mixup: 0.2 } };
    await expect(train(two, mixed)).rejects.toMatchObject({ code: "train/labels" });
    await expect(train(dense(), { data, epochs: 0 })).rejects.toThrow("epochs 0");
    await expect(train(dense(), { data, epochs: 1, augment: { flip: true } })).rejects.toThrow("Only pictures");
    await expect(
      train(dense(), { data, epochs: 1, pixels, augment: { mixup: 0.2 }, loss: huber() }),
    ).resolves.toBeDefined();
    await expect(train(dense(), { data: unlabelled, epochs: 1 })).rejects.toMatchObject({ code: "train/no-labels" });
  });
});
