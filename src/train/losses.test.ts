import { describe, expect, it } from "vitest";
import golden from "../../test/golden/training.json" with { type: "json" };
import { int } from "../ir/attrs.ts";
import type { DType } from "../ir/dtype.ts";
import { edit } from "../ir/edit.ts";
import type { Model, Node, ValueInfo } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { Emitter } from "../ops/emit.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/session.ts";
import { backward } from "./differentiate.ts";
import { binaryCrossEntropy, crossEntropy, huber, languageModel, meanSquaredError } from "./losses.ts";
import type { Loss } from "./step.ts";

interface Case {
  readonly scores: readonly number[];
  readonly shape: readonly number[];
  readonly labels?: readonly number[];
  readonly targets?: readonly number[];
  readonly tokens?: readonly number[];
}

const info = (name: string, dtype: DType, shape: readonly number[]): ValueInfo => ({
  name,
  type: { kind: "tensor", dtype, shape },
});

/** A loss of scores and its gradient by them; `last` is the node that the model ends with, if any. */
async function evaluate(loss: Loss, given: Case, last?: Partial<Node>) {
  const { scores, shape, tokens } = given;
  const opsets = new Map([["", 18]]);
  const inputs = [info("scores", "float32", shape)];
  if (tokens !== undefined) inputs.push(info("tokens", "int64", [2, tokens.length / 2]));
  const nodes: Node[] = [
    { name: "last", op: "Identity", domain: "", inputs: ["scores"], outputs: ["y"], attrs: {}, ...last },
  ];
  const graph = { name: "net", inputs, outputs: [{ name: "y" }], weights: new Map(), nodes, valueInfo: new Map() };
  const model: Model = { graph, opsets, irVersion: 8, functions: [] };
  const e = edit(graph);
  const facts = new Map(inferModel(model));
  const g = new Emitter(e, facts, opsets);
  const value = loss.build(g, {
    inputs: inputs.map(({ name }) => name),
    outputs: { y: "y" },
    input(name, dtype, sizes) {
      inputs.push(info(name, dtype, sizes));
      facts.set(name, { dtype, shape: sizes });
      e.setInputs(inputs);
      return name;
    },
  });
  const gradient = backward(g, facts, value, ["scores"]).get("scores") as string;
  e.setOutputs([{ name: value }, { name: gradient }]);
  const session = await openSession({ ...model, graph: e.done() });
  const float = (data: readonly number[], sizes: readonly number[]): TensorData => ({
    dtype: "float32",
    shape: sizes,
    data: new Float32Array(data),
  });
  const whole = (data: readonly number[], sizes: readonly number[]): TensorData => ({
    dtype: "int64",
    shape: sizes,
    data: BigInt64Array.from(data, BigInt),
  });
  const places = shape.filter((_, i) => i !== 1);
  const all: Record<string, TensorData> = {
    scores: float(scores, shape),
    ...(given.labels && { labels: whole(given.labels, places) }),
    ...(given.targets && { targets: float(given.targets, shape) }),
    ...(tokens && { tokens: whole(tokens, [2, tokens.length / 2]) }),
  };
  const results = await session.run(Object.fromEntries(session.inputs.map((name) => [name, all[name] as TensorData])));
  await session.close();
  return {
    loss: Number(results[value]?.data[0]),
    gradient: Array.from(results[gradient]?.data as Float32Array),
  };
}

const near = (found: readonly number[], wanted: readonly number[]): void => {
  expect(found.length).toBe(wanted.length);
  const size = Math.hypot(...wanted);
  expect(Math.hypot(...found.map((v, i) => v - (wanted[i] as number))) / size).toBeLessThan(1e-5);
};

const { weights, ...CASES } = golden.losses;

describe("losses", () => {
  const ours: Record<keyof typeof CASES, Loss> = {
    crossEntropy: crossEntropy(),
    smoothed: crossEntropy({ labelSmoothing: 0.1 }),
    weighted: crossEntropy({ classWeights: weights }),
    weightedSmoothed: crossEntropy({ classWeights: weights, labelSmoothing: 0.2 }),
    soft: crossEntropy({ soft: true, classWeights: weights, labelSmoothing: 0.1 }),
    picture: crossEntropy({ ignoreIndex: 255, labelSmoothing: 0.1 }),
    far: crossEntropy(),
    language: languageModel({ tokens: "tokens", ignoreIndex: 0 }),
    binary: binaryCrossEntropy(),
    binaryWeighted: binaryCrossEntropy({ positiveWeight: 2.5 }),
    squared: meanSquaredError(),
    huber: huber({ delta: 1.5 }),
  };
  for (const [name, loss] of Object.entries(ours))
    it(`${name} and its gradient are PyTorch's`, async () => {
      const theirs = CASES[name as keyof typeof CASES];
      const found = await evaluate(loss, theirs);
      near([found.loss], [theirs.loss]);
      near(found.gradient, theirs.gradient);
    });

  it("a model that ends in Softmax learns from its logits, also where a probability is 0 in float", async () => {
    const softmax = { op: "Softmax", attrs: { axis: int(1) } };
    const found = await evaluate(crossEntropy(), CASES.far, softmax);
    near([found.loss], [CASES.far.loss]);
    near(found.gradient, CASES.far.gradient);
  });

  it("a Softmax over another axis than the classes is left alone", async () => {
    const over = await evaluate(crossEntropy(), CASES.crossEntropy, { op: "Softmax", attrs: { axis: int(0) } });
    expect(Math.abs(over.loss - CASES.crossEntropy.loss)).toBeGreaterThan(0.01);
  });

  it("a model that ends in Sigmoid learns from its logits", async () => {
    const found = await evaluate(binaryCrossEntropy(), CASES.binary, { op: "Sigmoid" });
    near([found.loss], [CASES.binary.loss]);
    near(found.gradient, CASES.binary.gradient);
  });

  it("examples that are all ignored give 0 rather than NaN", async () => {
    const { loss, gradient } = await evaluate(crossEntropy({ ignoreIndex: 9 }), {
      ...CASES.crossEntropy,
      labels: [9, 9, 9, 9],
    });
    expect([loss, ...gradient].every((v) => v === 0)).toBe(true);
  });

  it("say which output or options are wrong", async () => {
    await expect(evaluate(crossEntropy({ output: "z" }), CASES.crossEntropy)).rejects.toThrow('no output "z"');
    await expect(evaluate(crossEntropy({ classWeights: [1, 2] }), CASES.crossEntropy)).rejects.toThrow(
      "2 class weights",
    );
    expect(() => crossEntropy({ labelSmoothing: 1 })).toThrow("A label smoothing of 1");
  });
});
