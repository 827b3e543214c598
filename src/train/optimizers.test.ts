import { describe, expect, it } from "vitest";
import golden from "../../test/golden/training.json" with { type: "json" };
import { edit } from "../ir/edit.ts";
import type { Model, ValueInfo } from "../ir/graph.ts";
import { Emitter } from "../ops/emit.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/session.ts";
import { adamW, lion, rmsprop, sgd } from "./optimizers.ts";
import type { Optimizer } from "./step.ts";

const floats = (name: string, shape: readonly number[]): ValueInfo => ({
  name,
  type: { kind: "tensor", dtype: "float32", shape },
});

/** A model of one update of six numbers. */
function updateModel(optimizer: Optimizer, weightDecay: number): Model {
  const opsets = new Map([["", 18]]);
  const inputs = [
    ...["weight", "gradient", ...optimizer.slots].map((name) => floats(name, [6])),
    floats("lr", []),
    floats("step", []),
  ];
  const graph = { name: "update", inputs, outputs: [], weights: new Map(), nodes: [], valueInfo: new Map() };
  const model: Model = { graph, opsets, irVersion: 8, functions: [] };
  const e = edit(graph);
  const made = optimizer.update(new Emitter(e, new Map(inferModel(model)), opsets), {
    name: "weight",
    weight: "weight",
    gradient: "gradient",
    slots: optimizer.slots,
    lr: "lr",
    step: "step",
    weightDecay,
  });
  e.setOutputs([made.weight, ...made.slots].map((name) => ({ name })));
  return { ...model, graph: e.done() };
}

/** The weights after each of the golden steps. */
async function walk(optimizer: Optimizer, weightDecay: number): Promise<number[][]> {
  const { start, gradients } = golden.optimizers;
  const session = await openSession(updateModel(optimizer, weightDecay));
  const state = [start, ...optimizer.slots.map(() => new Array<number>(6).fill(0))];
  const tensor = (shape: number[], values: number[]) => ({
    dtype: "float32" as const,
    shape,
    data: new Float32Array(values),
  });
  const out: number[][] = [];
  for (const [i, gradient] of gradients.entries()) {
    const held = Object.fromEntries(
      ["weight", ...optimizer.slots].map((name, k) => [name, tensor([6], state[k] as number[])]),
    );
    const all = {
      ...held,
      gradient: tensor([6], gradient),
      lr: tensor([], [0.1 / (1 + i)]),
      step: tensor([], [i + 1]),
    };
    const feeds = Object.fromEntries(session.inputs.map((name) => [name, all[name as keyof typeof all]]));
    const results = await session.run(feeds as Parameters<typeof session.run>[0]);
    session.outputs.forEach((name, k) => {
      state[k] = Array.from(results[name]?.data as Float32Array);
    });
    out.push(state[0] as number[]);
  }
  await session.close();
  return out;
}

describe("optimizers", () => {
  const ours: [keyof typeof golden.optimizers, Optimizer, number][] = [
    ["sgd", sgd(), 0],
    ["momentum", sgd({ momentum: 0.9 }), 0.05],
    ["nesterov", sgd({ momentum: 0.9, nesterov: true }), 0.05],
    ["adamW", adamW({ betas: [0.8, 0.95], epsilon: 1e-3 }), 0.05],
    ["rmsprop", rmsprop({ alpha: 0.9, epsilon: 1e-3 }), 0.05],
    ["rmspropMomentum", rmsprop({ alpha: 0.9, momentum: 0.8 }), 0],
    ["lion", lion(), 0.05],
  ];
  for (const [name, optimizer, weightDecay] of ours)
    it(`${name} walks as PyTorch does, over five steps of a falling rate`, async () => {
      const theirs = golden.optimizers[name] as number[][];
      for (const [step, weights] of (await walk(optimizer, weightDecay)).entries())
        for (const [i, weight] of weights.entries()) expect(weight).toBeCloseTo(theirs[step]?.[i] as number, 5);
    });

  it("refuse a decay rate that would never forget", () => {
    expect(() => adamW({ betas: [0.9, 1] })).toThrow("A beta of 1");
    expect(() => sgd({ nesterov: true })).toThrow("momentum");
  });
});
