import { describe, expect, it } from "vitest";
import { outputsOf } from "../../test/laws/masking.ts";
import { mixed, Net } from "../../test/laws/nets.ts";
import { arrays } from "../data/index.ts";
import type { Model } from "../ir/graph.ts";
import { elements, readFloats } from "../ir/tensor.ts";
import { costOf, randomFeeds } from "../measure/index.ts";
import { random } from "../numeric/random.ts";
import { toBytes } from "../onnx/index.ts";
import type { Checkpoint } from "../train/checkpoint.ts";
import { sgd } from "../train/optimizers.ts";
import { constant } from "../train/schedules.ts";
import type { Optimizer } from "../train/step.ts";
import { train } from "../train/train.ts";
import { indicesOf, keep } from "./axis.ts";
import { planPruning } from "./plan.ts";
import { prepare } from "./prepare.ts";
import { type Finetune, type PruneOptions, prune } from "./prune.ts";
import { bankOf, inUse, regrown, withdrawn } from "./regrown.ts";
import { REGULARIZERS, type RegularizeMethod, regularized } from "./regularize.ts";
import { epochsOf, exponential, linear, oneShot, regrow, scheduleNamed } from "./schedule.ts";
import { isLearned, kindsOf } from "./scores.ts";
import type { Plan } from "./types.ts";

/** Two blocks of convolution and normalization, pooled and classified. */
function small(channels = 8): Model {
  const net = new Net(18, { x: ["N", 3, 6, 6] });
  const block = (x: string, from: number, to: number) =>
    net.one("Relu", [net.batchNorm(net.conv(x, from, to, [3, 3]), to)]);
  const pooled = net.one("Flatten", [net.one("GlobalAveragePool", [block(block("x", 3, channels), channels, 8)])]);
  return net.model(net.linear(pooled, 8, 4));
}

function examples(model: Model, count: number, classes = 4) {
  const x = randomFeeds(model, { batch: count, seed: 5 });
  return arrays({ x, y: Array.from({ length: count }, (_, i) => i % classes) });
}

const readied = async (model: Model) => (await prepare().run(model)).model;

const tuning = (model: Model, epochs: number): Finetune => ({
  data: examples(model, 24),
  epochs,
  batch: 8,
  seed: 3,
  optimizer: sgd({ momentum: 0.9 }),
  schedule: constant(0.02),
});

const SCHEDULES = [oneShot(), linear(3), exponential(3), regrow(3)];

describe("schedules", () => {
  it("leave less with every cut, and at the end what is asked for", () => {
    const next = random(1);
    for (const make of [linear, exponential])
      for (let i = 0; i < 20; i++) {
        const [share, count] = [0.05 + 0.9 * next(), 1 + Math.floor(6 * next())];
        const left = [1, ...make(count).cuts.map((cut) => cut.left(share))];
        left.slice(1).forEach((now, at) => {
          expect(now).toBeLessThan(left[at]!);
        });
        expect(left.at(-1)).toBeCloseTo(share, 12);
      }
    expect(linear(2).cuts[0]!.left(0.5)).toBe(0.75);
    expect(exponential(2).cuts[0]!.left(0.25)).toBe(0.5);
  });

  it("that regrow bring back less with every cut, and nothing after the last", () => {
    const shares = regrow(4, { share: 0.4 }).cuts.map((cut) => cut.regrow);
    expect(shares).toEqual([...shares].sort((a, b) => b - a));
    expect([shares[0], shares.at(-1)]).toEqual([0.4, 0]);
  });

  it("spend every epoch once, half of them behind the last cut, and at least one behind each", () => {
    for (const schedule of SCHEDULES)
      for (let epochs = schedule.cuts.length; epochs < 20; epochs++) {
        const shares = epochsOf(epochs, schedule);
        expect(shares.reduce((a, b) => a + b, 0)).toBe(epochs);
        expect(Math.min(...shares)).toBeGreaterThanOrEqual(1);
        expect(shares.at(-1)).toBe(schedule.cuts.length === 1 ? epochs : Math.min(Math.ceil(epochs / 2), epochs - 2));
      }
    expect(() => epochsOf(2, linear(3))).toThrow(/3 cuts, and 2 epochs/);
  });

  it("go by their names", () => {
    for (const schedule of [...SCHEDULES, regrow(5, { share: 0.2 })])
      expect(scheduleNamed(schedule.name)).toMatchObject({ name: schedule.name });
    for (const name of ["quick", "linear:0", "regrow:3:2"])
      expect(() => scheduleNamed(name)).toThrow(/schedule|cuts|comes back|It is/);
  });
});

describe.each(SCHEDULES)("pruning by $name", (schedule) => {
  const model = small();

  it("ends within what is asked for, after as many epochs as were given", async () => {
    const {
      model: made,
      cuts,
      history,
    } = await prune(model, { macs: "40%", roundTo: 1, schedule, finetune: tuning(model, 4) });
    const [whole, left] = [costOf(await readied(model)), costOf(await readied(made))];
    expect(left.macs).toBeLessThanOrEqual(0.4 * whole.macs);
    expect(history.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4]);
    expect(cuts.at(-1)!.after.macs).toBe(left.macs);
    expect(made.graph.inputs).toEqual(model.graph.inputs);
    expect((await outputsOf(made, randomFeeds(model))).every(Number.isFinite)).toBe(true);
    for (const [i, cut] of cuts.entries())
      if (schedule.cuts.length === cuts.length)
        expect(cut.after.macs).toBeLessThanOrEqual(schedule.cuts[i]!.left(0.4) * whole.macs + 1e-6);
  });

  it("takes the ratio of the channels that is asked for", async () => {
    const { cuts } = await prune(model, { pruningRatio: 0.5, roundTo: 1, schedule, finetune: tuning(model, 3) });
    expect(cuts.at(-1)!.groups.map(({ kept }) => kept)).toEqual([4, 4]);
  });
});

describe.each([linear(2), regrow(3)])("a pruning by $name that was stopped", (schedule) => {
  it("goes on from any checkpoint with the same bits", async () => {
    const model = small();
    const states: Checkpoint[] = [];
    const options: PruneOptions = {
      macs: "40%",
      roundTo: 1,
      schedule,
      regularize: { method: "group-lasso", strength: 0.01, epochs: 1 },
      finetune: tuning(model, 4),
    };
    const whole = await prune(model, { ...options, checkpoint: (state) => void states.push(state) });
    const bytes = await toBytes(whole.model);
    expect(states.length).toBeGreaterThanOrEqual(4 + schedule.cuts.length);
    for (const state of [states[1]!, states.at(-2)!]) {
      const again = await prune(model, { ...options, resume: state });
      expect(await toBytes(again.model)).toEqual(bytes);
      expect(again.history.map(({ loss }) => loss)).toEqual(whole.history.map(({ loss }) => loss));
    }
    await expect(prune(model, { ...options, macs: "50%", resume: states[1]! })).rejects.toThrow(
      /prune\/other-pruning|is of a pruning with/,
    );
  });
});

describe("a pruning that is stopped", () => {
  it("gives back the model there is by then, and says so", async () => {
    const model = small();
    const stopping = new AbortController();
    const finetune = { ...tuning(model, 4), onEpoch: () => stopping.abort() };
    const { stopped, history } = await prune(model, { macs: "50%", roundTo: 1, finetune, signal: stopping.signal });
    expect(stopped).toBe("interrupted");
    expect(history.length).toBeLessThan(4);
  });

  it("needs training for what trains, and enough epochs", async () => {
    const model = small();
    await expect(prune(model, { macs: "50%", schedule: linear(2) })).rejects.toMatchObject({ code: "prune/option" });
    await expect(prune(model, { macs: "50%", schedule: linear(4), finetune: tuning(model, 3) })).rejects.toMatchObject({
      code: "prune/option",
    });
  });

  it("is refused before it trains where the target cannot be reached", async () => {
    const model = small();
    let epochs = 0;
    const finetune = { ...tuning(model, 4), onEpoch: () => epochs++ };
    await expect(prune(model, { parameters: 10, roundTo: 1, schedule: linear(2), finetune })).rejects.toMatchObject({
      code: "prune/unreachable",
    });
    expect(epochs).toBe(0);
  });
});

/** What is in use after random cuts. */
async function banked(model: Model, seed: number) {
  const whole = await readied(model);
  const bank = bankOf(whole);
  const plan = await planPruning(whole, { pruningRatio: 0.4, roundTo: 1, score: "random", seed });
  return { whole, plan, bank: await withdrawn(bank, plan) };
}

describe.each([
  ["two blocks", small()],
  ["shuffles", mixed(18)],
] as const)("what was cut out of %s", (_, model) => {
  it("is the cut model, and all of it brought back the whole one", async () => {
    const { whole, bank, plan } = await banked(model, 1);
    const feeds = randomFeeds(model);
    expect(costOf(await inUse(bank)).parameters).toBe(plan.after.parameters);
    expect(await outputsOf(await inUse(regrown(bank, 1, 0)), feeds)).toEqual(await outputsOf(whole, feeds));
  });

  it("has what the rest became, after a second cut as well", async () => {
    const { bank } = await banked(model, 2);
    const some = regrown(bank, 0.5, 7);
    const before = await inUse(some);
    const plan = await planPruning(before, { pruningRatio: 0.3, roundTo: 1, score: "random", seed: 4 });
    const after = await withdrawn(some, plan);
    expect(await outputsOf(await inUse(regrown(after, 1, 0)), randomFeeds(model))).toEqual(
      await outputsOf(bank.whole, randomFeeds(model)),
    );
    expect(costOf(await inUse(after)).parameters).toBe(plan.after.parameters);
  });
});

type Values = ReadonlyMap<string, Float64Array>;

/** Σ √p·‖w_i‖ over the indices i of all groups. */
function lasso({ derivation: d, groups }: Plan, values: Values): number {
  const kinds = kindsOf(d);
  let sum = 0;
  for (const { group } of groups) {
    const [squares, counts] = [new Float64Array(group.size), new Float64Array(group.size)];
    for (const { weight, axis } of group.members) {
      if (!isLearned(d, kinds, weight, false)) continue;
      const { shape } = d.model.graph.weights.get(weight)!;
      const indices = indicesOf(d.axes.get(weight)![axis]!, group.variable);
      const inner = elements(shape.slice(axis + 1));
      values.get(weight)!.forEach((v, i) => {
        const index = indices[Math.floor(i / inner) % shape[axis]!]!;
        if (index < 0) return;
        squares[index]! += v * v;
        counts[index]!++;
      });
    }
    sum += squares.reduce((all, square, i) => all + Math.sqrt(counts[i]! * (square + 1e-8)), 0);
  }
  return sum;
}

/** Σ w²/2 over what goes. */
function growing({ derivation: d, masks }: Plan, values: Values): number {
  let sum = 0;
  for (const [name, own] of values) {
    const stays = d.axes.get(name)?.map((axis) => keep(axis, masks));
    if (kindsOf(d).statistics.has(name) || stays === undefined) continue;
    const { shape } = d.model.graph.weights.get(name)!;
    own.forEach((v, i) => {
      const at = shape.map((size, axis) => Math.floor(i / elements(shape.slice(axis + 1))) % size);
      if (at.some((position, axis) => stays[axis]?.[position] === 0)) sum += v ** 2 / 2;
    });
  }
  return sum;
}

const PENALTIES: Readonly<Record<RegularizeMethod, (plan: Plan, values: Values) => number>> = {
  "group-lasso": lasso,
  growing,
  slimming: ({ derivation }, values) =>
    [...kindsOf(derivation).scales].reduce(
      (sum, name) => sum + values.get(name)!.reduce((a, v) => a + Math.abs(v), 0),
      0,
    ),
};

const floatsIn = async ({ graph }: Model): Promise<Values> =>
  new Map(
    await Promise.all(
      [...graph.weights]
        .filter(([, { dtype }]) => dtype === "float32")
        .map(async ([name, tensor]) => [name, Float64Array.from(await readFloats(tensor))] as const),
    ),
  );

describe.each(REGULARIZERS)("the regularizer %s", (method) => {
  it.each([
    ["two blocks", small()],
    ["shuffles", mixed(18)],
  ] as const)("adds the slope of its formula to the gradients of %s", async (_, given) => {
    const model = await readied(given);
    const plan = await planPruning(model, { pruningRatio: 0.5, roundTo: 1, score: "random" });
    const [data, rate] = [examples(model, 8), 1e-3];
    const trained = async (optimizer: Optimizer) =>
      floatsIn((await train(model, { data, epochs: 1, batch: 8, schedule: constant(rate), optimizer })).model);
    const plain = await trained(sgd());
    const pulled = await trained(regularized(sgd(), plan, { method, strength: 1 }, 1));
    const values = await floatsIn(model);
    const next = random(9);
    const direction = new Map([...values].map(([name, own]) => [name, own.map(() => next() - 0.5)]));
    const moved = (step: number) =>
      new Map([...values].map(([name, own]) => [name, own.map((v, i) => v + step * direction.get(name)![i]!)]));
    const learned = [...values.keys()].filter((name) => !kindsOf(plan.derivation).statistics.has(name));
    const slope = learned.reduce(
      (sum, name) =>
        direction.get(name)!.reduce((a, v, i) => a + (v * (plain.get(name)![i]! - pulled.get(name)![i]!)) / rate, sum),
      0,
    );
    const expected = (PENALTIES[method](plan, moved(1e-4)) - PENALTIES[method](plan, moved(-1e-4))) / 2e-4;
    expect(Math.abs(expected)).toBeGreaterThan(1e-3);
    expect(Math.abs(slope - expected)).toBeLessThan(0.01 * Math.abs(expected) + 1e-3);
  });
});
