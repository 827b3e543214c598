import { describe, expect, it } from "vitest";
import { apart, outputsOf } from "../../test/laws/masking.ts";
import { Net, resnet, transformer } from "../../test/laws/nets.ts";
import { arrays } from "../data/index.ts";
import { int, ints } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Attr, Model } from "../ir/graph.ts";
import { float32s, readFloats } from "../ir/tensor.ts";
import { costOf, randomFeeds } from "../measure/index.ts";
import { random } from "../numeric/random.ts";
import { linearLayers, putFactors, type Split } from "../passes/low-rank.ts";
import { lowRank, planLowRank } from "./low-rank.ts";
import { factorsOf, spectraOf } from "./spectra.ts";

type Attrs = Readonly<Record<string, Attr>>;

/** Each kind of layer, alone; weights are drawn full. */
const LAYERS: readonly (readonly [string, Split, Model])[] = [
  ["a MatMul", "outputs", only({ x: ["N", 5, 12] }, (net) => net.one("MatMul", ["x", net.weight(12, 10)]))],
  ["a Gemm", "outputs", only({ x: [4, 12] }, (net) => net.one("Gemm", ["x", net.weight(12, 10), net.weight(10)]))],
  [
    "a Gemm of turned operands",
    "outputs",
    only({ x: [12, 4] }, (net) => net.one("Gemm", ["x", net.weight(10, 12)], { transA: int(1), transB: int(1) })),
  ],
  ["a 1×1 convolution", "outputs", conv(12, 10, [1, 1], {})],
  [
    "a strided 1×1 convolution with padding",
    "outputs",
    conv(12, 10, [1, 1], { strides: ints([2, 2]), pads: ints([1, 0, 1, 1]) }),
  ],
  ["a 3×3 convolution", "outputs", conv(4, 10, [3, 3], { strides: ints([2, 1]) })],
  ["a 3×3 convolution in two directions", "spatial", conv(4, 10, [3, 3], {})],
  [
    "a strided, dilated one in two directions",
    "spatial",
    conv(4, 6, [3, 5], { strides: ints([1, 2]), pads: ints([1, 4, 0, 3]), dilations: ints([1, 2]) }),
  ],
  [
    "one that pads by itself in two directions",
    "spatial",
    conv(4, 6, [3, 3], {
      pads: undefined,
      auto_pad: { type: "string", value: new TextEncoder().encode("SAME_UPPER") },
    }),
  ],
];

function only(inputs: ConstructorParameters<typeof Net>[1], make: (net: Net) => string): Model {
  const net = new Net(18, inputs);
  return net.model(make(net));
}

function conv(from: number, to: number, kernel: number[], more: Readonly<Record<string, Attr | undefined>>): Model {
  return only({ x: ["N", from, 9, 11] }, (net) => {
    const attrs = { kernel_shape: ints(kernel), pads: ints([0, 0, 0, 0]), ...more };
    const given = Object.fromEntries(Object.entries(attrs).filter(([, value]) => value !== undefined)) as Attrs;
    return net.one("Conv", ["x", net.weight(to, from, ...kernel), net.weight(to)], given);
  });
}

/** Inputs whose features have means, and sizes, of their own. */
function examples(model: Model, count: number) {
  const { shape } = randomFeeds(model, { batch: 1 })[model.graph.inputs[0]!.name]!;
  const next = random(3);
  const one = shape.slice(1).reduce((a, b) => a * b, 1);
  const data = Float32Array.from({ length: count * one }, (_, i) => (1 + (i % 5)) * (next() - 0.5) + (i % 3));
  return arrays({
    x: { [model.graph.inputs[0]!.name]: { dtype: "float32", shape: [count, ...shape.slice(1)], data } },
  });
}

/** The model with its one layer at a rank, by its own directions. */
async function atRank(
  model: Model,
  split: Split,
  rank: number | "full",
  data?: ReturnType<typeof examples>,
): Promise<Model> {
  const layers = linearLayers(model.graph);
  const [spectrum] = await spectraOf(model, layers, () => split, data === undefined ? {} : { data });
  const e = edit(model.graph);
  const factors = await factorsOf(model, spectrum!, rank === "full" ? spectrum!.full : rank);
  putFactors({ graph: model.graph, edit: e }, spectrum!.layer, split, factors);
  return { ...model, graph: e.done() };
}

describe("two layers of low rank", () => {
  it.each(LAYERS)("give what %s gives at full rank", async (_, split, model) => {
    const feeds = randomFeeds(model, { batch: 3, seed: 2 });
    const want = await outputsOf(model, feeds);
    const whole = await atRank(model, split, "full");
    const { difference, largest } = apart(want, await outputsOf(whole, feeds));
    expect(difference).toBeLessThan(1e-5 * largest);
    expect(apart(want, await outputsOf(await atRank(model, split, 1), feeds)).difference).toBeGreaterThan(
      1e-2 * largest,
    );
  });

  it.each(LAYERS.filter(([name, split]) => split === "outputs" && !name.startsWith("a Gemm")))(
    "give what %s gives at full rank, measured on data",
    async (_, split, model) => {
      const feeds = randomFeeds(model, { batch: 3, seed: 2 });
      const small = await atRank(model, split, "full", examples(model, 16));
      const { difference, largest } = apart(await outputsOf(model, feeds), await outputsOf(small, feeds));
      expect(difference).toBeLessThan(1e-4 * largest);
    },
  );

  it.each(LAYERS.filter(([name]) => /MatMul|1×1|3×3 convolution$/.test(name)))(
    "of %s are nearer in their outputs on the data than those nearest in the weights, by what their spectrum says",
    async (_, split, model) => {
      const data = examples(model, 16);
      const { shape, data: values } = await all(data, model);
      const feeds = { [model.graph.inputs[0]!.name]: { dtype: "float32" as const, shape, data: values } };
      const want = await outputsOf(model, feeds);
      const missed = async (small: Model) =>
        (await outputsOf(small, feeds)).reduce((sum, v, i) => sum + (v - want[i]!) ** 2, 0);
      const [spectrum] = await spectraOf(model, linearLayers(model.graph), () => split, { data });
      for (const rank of [2, 5]) {
        const [byData, byWeights] = [
          await missed(await atRank(model, split, rank, data)),
          await missed(await atRank(model, split, rank)),
        ];
        expect(byData).toBeLessThan(byWeights);
        const tail = spectrum!.values.subarray(rank).reduce((a, b) => a + b, 0);
        expect(byData / (want.length / spectrum!.layer.outputs)).toBeCloseTo(tail, 2);
      }
    },
  );
});

async function all(data: ReturnType<typeof examples>, model: Model) {
  const parts: Float32Array[] = [];
  let one: readonly number[] = [];
  for (let i = 0; i < data.size; i++) {
    const example = await data.at(i);
    if ("skipped" in example) throw new Error(example.skipped);
    const { data: values, shape } = example.feeds[model.graph.inputs[0]!.name]!;
    parts.push(values as Float32Array);
    one = shape;
  }
  const joined = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  for (const [i, part] of parts.entries()) joined.set(part, i * part.length);
  return { shape: [data.size, ...one], data: joined };
}

describe("ranks", () => {
  it("are found where a weight is of one: the outputs stay, and the MACs are those said", async () => {
    const net = new Net(18, { x: ["N", 32] });
    const low = float32s([32, 32], await product(32, 3));
    const model = net.model(net.linear(net.one("MatMul", ["x", net.constant(low)]), 32, 4));
    const plan = await planLowRank(model, { energy: 0.999999, layers: ["c*"] });
    expect(plan.layers.map(({ rank }) => rank)).toEqual([3]);
    const { model: small, changes } = await lowRank({ energy: 0.999999, layers: ["c*"] }).run(model);
    expect(changes).toHaveLength(1);
    expect(costOf(small).macs).toBe(plan.macs.after);
    const feeds = randomFeeds(model, { batch: 3 });
    const { difference, largest } = apart(await outputsOf(model, feeds), await outputsOf(small, feeds));
    expect(difference).toBeLessThan(1e-5 * largest);
  });

  it.each([
    ["a ResNet", resnet(18, 2), {}],
    ["a ResNet in two directions", resnet(18, 2), { kernels: "spatial" }],
    ["a transformer", transformer(17, 2, "before"), {}],
  ] as const)("of %s keep the model within its budget, and lose the more the less is left", async (_, model, more) => {
    const before = costOf(model).macs;
    let last = 0;
    for (const percent of [85, 70, 55] as const) {
      const plan = await planLowRank(model, { macs: `${percent}%`, roundTo: 1, ...more });
      const { model: small } = await lowRank({ macs: `${percent}%`, roundTo: 1, ...more }).run(model);
      expect(costOf(small).macs).toBe(plan.macs.after);
      expect(plan.macs.after).toBeLessThanOrEqual((percent / 100) * before);
      expect(plan.macs.after).toBeGreaterThan((percent / 100 - 0.1) * before);
      const lost = plan.layers.reduce((sum, layer) => sum + layer.lost, 0);
      expect(lost).toBeGreaterThan(last);
      last = lost;
      for (const { macs, rank } of plan.layers) if (rank !== undefined) expect(macs.after).toBeLessThan(macs.before);
      expect((await outputsOf(small, randomFeeds(model))).every(Number.isFinite)).toBe(true);
    }
  });

  it("of convolutions are multiples of roundTo, and each layer keeps its share", async () => {
    const plan = await planLowRank(resnet(18, 2), { ratio: 0.6, roundTo: 4 });
    for (const { rank, macs } of plan.layers)
      if (rank !== undefined) {
        expect(rank % 4 === 0 || macs.before < 2000).toBe(true);
        expect(macs.after).toBeLessThanOrEqual(0.6 * macs.before);
      }
    expect(plan.layers.some(({ rank }) => rank !== undefined)).toBe(true);
  });

  it("leave weights that are tied", async () => {
    const net = new Net(18, { x: ["N", 32] });
    const shared = net.weight(32, 32);
    const twice = net.one("MatMul", [net.one("Relu", [net.one("MatMul", ["x", shared])]), shared]);
    const model = net.model(net.one("MatMul", [twice, net.weight(32, 32)]));
    expect((await planLowRank(model, { ratio: 0.5 })).layers).toHaveLength(1);
  });
});

async function product(n: number, rank: number): Promise<Float32Array> {
  const net = new Net(18, { x: ["N", n] });
  const [a, b] = [net.weight(n, rank), net.weight(rank, n)];
  const { weights } = net.model("x").graph;
  const [left, right] = [await readFloats(weights.get(a)!), await readFloats(weights.get(b)!)];
  return Float32Array.from({ length: n * n }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += left[Math.floor(at / n) * rank + k]! * right[k * n + (at % n)]!;
    return sum;
  });
}

describe("what cannot be", () => {
  const refusal = (model: Model, options: Parameters<typeof planLowRank>[1]) =>
    planLowRank(model, options).then(
      () => undefined,
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    );

  it("is said", async () => {
    const model = resnet(18, 1);
    expect(await refusal(model, { macs: "1%", roundTo: 1 })).toMatch(
      /prune\/unreachable: With all layers of the lowest rank/,
    );
    expect(await refusal(model, { macs: 2 ** 50 })).toMatch(/within what is asked for/);
    expect(await refusal(model, { macs: "50%", ratio: 0.5 })).toMatch(/macs and ratio are given together/);
    expect(await refusal(model, { ratio: 2 })).toMatch(/prune\/option/);
    expect(await refusal(model, { layers: ["nowhere"] })).toMatch(/prune\/nothing/);
    expect(await refusal(model, { energy: 0.9999999 })).toMatch(/No layer becomes cheaper/);
  });
});
