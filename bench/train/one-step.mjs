/** Runs a training step of a net for each line on stdin, and says how long it took: `node one-step.mjs NET THREADS [recompute]`. */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { costOf } from "../../dist/measure/index.js";
import { openSession } from "../../dist/runtime/index.js";
import { bindSizes, crossEntropy, openStepper, readyToTrain, sgd, trainingStep } from "../../dist/train/index.js";
import { NETS } from "./nets.mjs";

const [name, threads, recompute] = process.argv.slice(2);
const peakMB = () => Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;

/** The best rate of a product of 1024² matrices, in GFLOP/s. */
async function peak() {
  const shape = [1024, 1024];
  const input = (name) => ({ name, type: { kind: "tensor", dtype: "float32", shape } });
  const node = { name: "", op: "MatMul", domain: "", inputs: ["a", "b"], outputs: ["y"], attrs: {} };
  const graph = {
    name: "peak",
    inputs: [input("a"), input("b")],
    outputs: [{ name: "y" }],
    weights: new Map(),
    nodes: [node],
    valueInfo: new Map(),
  };
  const session = await openSession(
    { graph, opsets: new Map([["", 18]]), irVersion: 8, functions: [] },
    { threads: Number(threads) },
  );
  const a = { dtype: "float32", shape, data: new Float32Array(1024 * 1024).fill(0.5) };
  let least = Infinity;
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    await session.run({ a, b: a });
    least = Math.min(least, performance.now() - start);
  }
  return { gflops: (2 * 1024 ** 3) / least / 1e6 };
}

async function steps({ batch, classes, length, make }) {
  const { model } = await readyToTrain(make());
  const sizes = new Map(length === undefined ? [] : [["T", length]]);
  const bound = await bindSizes(model, batch, sizes);
  const step = trainingStep(bound, {
    loss: crossEntropy(),
    optimizer: sgd({ momentum: 0.9 }),
    batch,
    recompute: recompute !== undefined,
  });
  const stepper = await openStepper(step, { threads: Number(threads) });
  let seed = 1;
  const next = () => {
    seed = (seed * 16807) % 2147483647;
    return seed / 2147483647;
  };
  const feeds = Object.fromEntries(
    step.feeds.map(({ name, dtype, shape }) => {
      const count = shape.reduce((a, b) => a * b, 1);
      const high = name === "labels" ? classes : name.includes("mask") ? 1 : name.includes("type") ? 1 : 1000;
      const low = name.includes("mask") ? 1 : 0;
      const whole = () => BigInt(low + Math.floor(next() * (high - low)));
      const data =
        dtype === "int64"
          ? BigInt64Array.from({ length: count }, whole)
          : Float32Array.from({ length: count }, () => next() - 0.5);
      return [name, { dtype, shape, data }];
    }),
  );
  let update = 0;
  return {
    macs: Number(costOf(bound).macs),
    async run() {
      const start = performance.now();
      await stepper.run(feeds, { lr: 0.01, update: ++update });
      return { ms: performance.now() - start };
    },
  };
}

const stepping = name === "peak" ? undefined : await steps(NETS[name]);
for await (const line of createInterface({ input: process.stdin })) {
  const answer =
    line === "peak"
      ? await peak()
      : line === "memory"
        ? { peakMB: peakMB(), macs: stepping.macs }
        : await stepping.run();
  console.log(JSON.stringify(answer));
}
