import { expect, it } from "vitest";
import { Net } from "../architectures/index.ts";
import { edit, float32s, type Model } from "../ir/index.ts";
import { meanSquaredError } from "./losses.ts";
import { sgd } from "./optimizers.ts";
import { bindSizes } from "./prepare.ts";
import { trainingStep } from "./step.ts";
import { openStepper } from "./stepper.ts";

it("a normalization that is applied twice moves its statistics on twice", async () => {
  const input = { name: "x", type: { kind: "tensor", dtype: "float32", shape: [4, 2] } } as const;
  const weights = new Map([
    ["scale", float32s([2], [1, 2])],
    ["shift", float32s([2], [0, 1])],
    ["mean", float32s([2], [3, 5])],
    ["variance", float32s([2], [1, 2])],
    ["one", float32s([], [1])],
  ]);
  const e = edit({ name: "", inputs: [input], outputs: [], weights, nodes: [], valueInfo: new Map() });
  const [more = ""] = e.add({ op: "Add", inputs: ["x", "one"] });
  const normal = (of: string) => e.add({ op: "BatchNormalization", inputs: [of, ...[...weights.keys()].slice(0, 4)] });
  e.setOutputs(e.add({ op: "Add", inputs: [...normal("x"), ...normal(more)] }).map((name) => ({ name })));
  const model: Model = { graph: e.done(), opsets: new Map([["", 18]]), irVersion: 8, functions: [] };
  const stepper = await openStepper(trainingStep(model, { loss: meanSquaredError(), optimizer: sgd(), batch: 4 }));
  const x = { dtype: "float32", shape: [4, 2], data: Float32Array.of(1, 0, 2, 0, 3, 4, 6, 8) } as const;
  const targets = { ...x, data: new Float32Array(8) };
  await stepper.run({ x, targets }, { lr: 0.1, update: 1 });
  const found = stepper.state().get("mean")?.data as Float32Array;
  await stepper.close();
  // The batch's means are 3 and 3, then 4 and 4.
  const expected = [3, 5].map((old) => 0.9 * (0.9 * old + 0.1 * 3) + 0.1 * 4);
  expected.forEach((value, i) => {
    expect(found[i]).toBeCloseTo(value, 5);
  });
});

it("a Relu in front of a MaxPool is taken behind it, where there is less of it", async () => {
  const net = new Net({ seed: 1 });
  const x = net.relu(net.conv(net.input("image", ["N", 1, 8, 8]), { name: "conv", out: 4, kernel: 3, padding: 0 }));
  const pooled = net.flatten(net.maxPool(x, { kernel: 2, stride: 2, padding: 0 }));
  const model = await bindSizes(net.model({ scores: net.linear(pooled, { name: "fc", out: 3 }) }, "pooled"), 2);
  const { nodes } = trainingStep(model, { loss: meanSquaredError(), optimizer: sgd(), batch: 2 }).model.graph;
  const relus = nodes.filter((node) => node.op === "Relu");
  const pools = nodes.filter((node) => node.op === "MaxPool" && node.outputs.length === 1);
  expect(relus.map((node) => node.inputs[0])).toEqual(pools.map((node) => node.outputs[0]));
});

it.each([
  ["a Relu between", true],
  ["nothing between", false],
])("a MaxPool of a first convolution, with %s, learns the same as if it were none of a first one", async (_, relu) => {
  const build = (first: boolean): Model => {
    const net = new Net({ seed: 1 });
    const image = net.input("image", ["N", 3, 8, 12]);
    const given = first ? image : net.op("Identity", [image]);
    const y = net.conv(given, { name: "conv", out: 20, kernel: [3, 5], bias: true });
    const pooled = net.maxPool(relu ? net.relu(y) : y, { kernel: 2, stride: 2, padding: 0 });
    return net.model({ scores: net.linear(net.flatten(pooled), { name: "fc", out: 3 }) }, "pooled");
  };
  const found = await Promise.all(
    [true, false].map(async (first) => {
      const step = trainingStep(await bindSizes(build(first), 2), {
        loss: meanSquaredError(),
        optimizer: sgd(),
        batch: 2,
      });
      const pools = step.model.graph.nodes.filter((node) => node.op === "MaxPool").length;
      const stepper = await openStepper(step);
      const image = {
        dtype: "float32",
        shape: [2, 3, 8, 12],
        data: Float32Array.from({ length: 576 }, (__, i) => Math.sin(i * i)),
      } as const;
      const targets = { dtype: "float32", shape: [2, 3], data: Float32Array.of(1, 0, 2, 0, 3, 4) } as const;
      await stepper.run({ image, targets }, { lr: 0.1, update: 1 });
      const state = stepper.state();
      await stepper.close();
      return { pools, state };
    }),
  );
  const [a, b] = found as [(typeof found)[0], (typeof found)[0]];
  expect(a.pools).toBe(0);
  expect(b.pools).toBeGreaterThan(0);
  for (const [key, { data }] of a.state)
    data.forEach((value, i) => {
      expect(Number(value), key).toBeCloseTo(Number(b.state.get(key)?.data[i]), 5);
    });
});
