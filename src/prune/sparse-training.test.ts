import { describe, expect, it } from "vitest";
import { Net } from "../architectures/index.ts";
import { arrays } from "../data/arrays.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import { readFloats } from "../ir/tensor.ts";
import { evaluate } from "../measure/evaluate.ts";
import { normal, random } from "../numeric/random.ts";
import type { Checkpoint } from "../train/checkpoint.ts";
import { maskKey, movementKey } from "../train/masks.ts";
import { adamW, lion, rmsprop, sgd } from "../train/optimizers.ts";
import { constant } from "../train/schedules.ts";
import { lotteryTicket } from "./lottery.ts";
import { type SparseTrainingOptions, sparseTraining } from "./sparse-training.ts";

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

function convnet(): Model {
  const net = new Net({ seed: 5 });
  let x = net.input("image", ["N", 1, 6, 6]);
  x = net.relu(net.batchNorm(net.conv(x, { name: "conv", out: 8, kernel: 3 }), { name: "bn" }));
  x = net.flatten(net.maxPool(x, { kernel: 2, stride: 2, padding: 0 }));
  return net.model({ scores: net.linear(x, { name: "fc", out: 3 }) }, "convnet");
}

const WEIGHTS = ["conv.weight", "fc.weight"] as const;

const data = pictures(120);
const options: SparseTrainingOptions = {
  data,
  epochs: 4,
  batch: 12,
  schedule: constant(0.02),
  optimizer: sgd({ momentum: 0.9, nesterov: true }),
  weightDecay: 0.05,
  sparsity: 0.75,
};

const numbers = async (model: Model, name: string) => readFloats(model.graph.weights.get(name)!);
const zeros = (values: Float32Array) => values.filter((value) => value === 0).length;
const all = async (model: Model) =>
  Promise.all(
    [...model.graph.weights].map(async ([name, t]) => [name, t.dtype === "float32" ? await readFloats(t) : 0]),
  );

/** Every checkpoint of a training, one an epoch. */
async function states(more: Partial<SparseTrainingOptions>) {
  const kept: Checkpoint[] = [];
  const result = await sparseTraining(convnet(), { ...options, ...more, checkpoint: (state) => void kept.push(state) });
  return {
    ...result,
    kept: kept.map(
      ({ tensors }) =>
        (key: string) =>
          tensors.get(key)!.data as Float32Array,
    ),
  };
}

describe("sparseTraining", () => {
  it.each(["global", "layer", "row"] as const)(
    "ends with the share of zeros that was asked for, by %s, and has learned",
    async (scope) => {
      const { model, sparsity } = await sparseTraining(convnet(), { ...options, scope });
      expect(sparsity).toBeCloseTo(0.75, 1);
      const [conv, fc] = await Promise.all(WEIGHTS.map((name) => numbers(model, name)));
      expect((zeros(conv!) + zeros(fc!)) / (conv!.length + fc!.length)).toBe(sparsity);
      if (scope === "layer") expect([zeros(conv!), zeros(fc!)]).toEqual([54, 162]);
      expect((await evaluate(model, pictures(200, 1))).metrics.accuracy).toBeGreaterThan(0.85);
    },
  );

  it.each([
    ["sgd", sgd({ momentum: 0.9, nesterov: true })],
    ["adamW", adamW()],
    ["rmsprop", rmsprop({ momentum: 0.9 })],
    ["lion", lion()],
  ] as const)(
    "what a mask covers keeps its number, with no state: %s, momentum and weight decay",
    async (_, optimizer) => {
      const { kept } = await states({
        optimizer,
        schedule: constant(0.003),
        pruningSchedule: "one-shot",
        begin: 1,
        accumulate: 2,
        ema: 0.9,
        clipNorm: 1,
      });
      const [at1, at2, last] = [kept[0]!, kept[1]!, kept[3]!];
      let moved = 0;
      for (const name of WEIGHTS) {
        const mask = at2(maskKey(name));
        expect(zeros(mask)).toBe(0.75 * mask.length);
        expect(last(maskKey(name))).toEqual(mask);
        mask.forEach((kept, i) => {
          if (kept === 0) expect(last(name)[i]).toBe(at1(name)[i]);
          else if (last(name)[i] !== at1(name)[i]) moved++;
          for (const slot of optimizer.slots) if (kept === 0) expect(last(`${name}:${slot}`)[i]! + 0).toBe(0);
        });
      }
      expect(moved).toBeGreaterThan(60);
    },
  );

  it("more goes with every cut, by a cube, until the end it was given", async () => {
    const { kept } = await states({ begin: 1, end: 3, initialSparsity: 0.2, frequency: 1 });
    const shares = kept.map((state) => zeros(state(maskKey("fc.weight"))) / 216);
    const cubic = (t: number) => 0.75 + (0.2 - 0.75) * (1 - t) ** 3;
    for (const [i, share] of [cubic(0), cubic(0.5), cubic(1), cubic(1)].entries())
      expect(shares[i]).toBeCloseTo(share, 2);
  });

  it("by movement, what went towards zero goes first, however large it is", async () => {
    const { kept, sparsity } = await states({ method: "movement", begin: 1 });
    expect(sparsity).toBeCloseTo(0.75, 2);
    const last = kept.at(-1)!;
    const [mask, movement] = [last(maskKey("fc.weight")), last(movementKey("fc.weight"))];
    // Those that are masked have moved on since the last cut at two thirds, as the rest has.
    const mean = (of: number) =>
      movement.reduce((sum, v, i) => sum + (mask[i] === of ? v : 0), 0) / mask.filter((m) => m === of).length;
    expect(mean(1)).toBeGreaterThan(mean(0));
    const smallest = [...(await numbers(convnet(), "fc.weight"))]
      .map((v, i) => [Math.abs(v), i] as const)
      .sort((a, b) => a[0] - b[0]);
    expect(smallest.slice(0, 162).every(([, i]) => mask[i] === 0)).toBe(false);
  });

  it("keeps two of four along what is summed", async () => {
    const { sparsity, model } = await sparseTraining(convnet(), {
      ...options,
      pattern: "2:4",
      ignoredLayers: ["conv*"],
    });
    expect(sparsity).toBe(0.5);
    const fc = await numbers(model, "fc.weight");
    for (let at = 0; at < fc.length; at += 4) expect(zeros(fc.subarray(at, at + 4))).toBe(2);
    expect(zeros(await numbers(model, "conv.weight"))).toBe(0);
  });

  it.each(["magnitude", "movement"] as const)(
    "stopped and continued, it is bit for bit what it would have been, by %s",
    async (method) => {
      const more = {
        ...options,
        method,
        begin: 0.5,
        frequency: 3,
        ema: 0.9,
        optimizer: adamW(),
        schedule: constant(0.005),
      };
      const whole = await sparseTraining(convnet(), more);
      const kept: Checkpoint[] = [];
      const stop = new AbortController();
      await sparseTraining(convnet(), {
        ...more,
        signal: stop.signal,
        checkpoint: (state) => void kept.push(state),
        onProgress: ({ step }) => step === 13 && stop.abort(),
      });
      expect(kept.at(-1)?.progress["update"]).toBe(13);
      const rest = await sparseTraining(convnet(), { ...more, resume: structuredClone(kept.at(-1)) });
      expect(await all(rest.model)).toEqual(await all(whole.model));
    },
  );

  it("says what it cannot do", async () => {
    const of = (more: Partial<SparseTrainingOptions>) => sparseTraining(convnet(), { ...options, ...more });
    await expect(of({ sparsity: 1 })).rejects.toMatchObject({ code: "prune/option", at: "sparsity" });
    await expect(of({ begin: 3, end: 2 })).rejects.toMatchObject({ code: "prune/option", at: "end" });
    await expect(of({ pattern: "2:4", method: "movement" })).rejects.toMatchObject({
      code: "prune/option",
      at: "begin",
    });
    await expect(of({ ignoredLayers: ["*"] })).rejects.toMatchObject({ code: "prune/nothing" });
  });
});

describe("lotteryTicket", () => {
  it.each([0, 2])(
    "trains what stays from where it was after %i epochs, with as many zeros as asked for",
    async (rewind) => {
      const { sparsity: _, ...training } = options;
      const rounds: number[] = [];
      const { model, sparsity, history } = await lotteryTicket(convnet(), {
        ...training,
        sparsity: 0.75,
        rounds: 2,
        rewind,
        onRound: (round) => rounds.push(round.sparsity),
      });
      expect(rounds).toEqual([0.5, 0.75]);
      expect(sparsity).toBeCloseTo(0.75, 2);
      expect(history.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4]);
      expect((await evaluate(model, pictures(200, 1))).metrics.accuracy).toBeGreaterThan(0.8);
    },
  );

  it("leaves the numbers of the early epoch where no epoch follows but one without a rate", async () => {
    const { sparsity: _, ...training } = options;
    const early: Checkpoint[] = [];
    const schedule = (update: number) => (update < 20 ? 0.02 : 0);
    await sparseTraining(convnet(), {
      ...options,
      sparsity: 1e-9,
      schedule,
      checkpoint: (state) => void early.push(state),
    });
    const { model } = await lotteryTicket(convnet(), { ...training, sparsity: 0.5, rounds: 1, rewind: 2, schedule });
    const [was, is] = [early[1]!.tensors.get("fc.weight")!.data as Float32Array, await numbers(model, "fc.weight")];
    expect(zeros(is)).toBe(108);
    expect(is).toEqual(was.map((value, i) => (is[i] === 0 ? 0 : value)));
  });

  it("says what it cannot do", async () => {
    await expect(lotteryTicket(convnet(), { ...options, rewind: 4 })).rejects.toMatchObject({
      code: "prune/option",
      at: "rewind",
    });
    await expect(lotteryTicket(convnet(), { ...options, rounds: 0 })).rejects.toMatchObject({
      code: "prune/option",
      at: "rounds",
    });
  });
});
