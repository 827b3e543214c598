import { describe, expect, it } from "vitest";
import { apart, outputsOf, randomMasks } from "../../test/laws/masking.ts";
import { bert, groupNorm, gru, inception, lstm, mixed, Net, unet } from "../../test/laws/nets.ts";
import { arrays } from "../data/index.ts";
import { ints } from "../ir/attrs.ts";
import type { Model } from "../ir/graph.ts";
import { elements, float32s, readFloats } from "../ir/tensor.ts";
import { costOf, randomFeeds } from "../measure/index.ts";
import { toBytes } from "../onnx/index.ts";
import { cut } from "./apply.ts";
import { indicesOf } from "./axis.ts";
import { costAfter } from "./cost.ts";
import { derive } from "./derive.ts";
import { type Group, groupsOf } from "./groups.ts";
import { applyPlan, planPruning, prepare, SCORES, type Score, scoresOf, structuredPruning } from "./index.ts";
import { reconstruct } from "./reconstruct.ts";
import { reestimate } from "./reestimate.ts";
import { normalize } from "./scores.ts";
import { floatsOf } from "./weights.ts";

/** Two blocks of convolution, normalization and LeakyReLU (no channel of it is always 0), pooled and classified. */
function small(channels = 8): Model {
  const net = new Net(18, { x: ["N", 3, 6, 6] });
  const block = (x: string, from: number, to: number) =>
    net.one("LeakyRelu", [net.batchNorm(net.conv(x, from, to, [3, 3]), to)]);
  const b = block(block("x", 3, channels), channels, 6);
  const pooled = net.one("Flatten", [net.one("GlobalAveragePool", [b])]);
  return net.model(net.linear(pooled, 6, 4));
}

const followed = async (model: Model) => {
  const d = derive((await prepare().run(model)).model);
  return { d, groups: groupsOf(d).groups };
};

/** Examples of seeded numbers, with labels. */
function examples(model: Model, count: number) {
  const feed = Object.values(randomFeeds(model, { batch: count, seed: 5 }))[0]!;
  const labels = Array.from({ length: count }, (_, i) => i % 4);
  return arrays({
    x: { dtype: "float32", shape: feed.shape, data: feed.data },
    y: labels,
  });
}

/** The model with one index of a group changed in every weight of it. */
async function changed(
  model: Model,
  axesOf: (weight: string) => readonly Parameters<typeof indicesOf>[0][],
  { members, variable }: Group,
  index: number,
  value: (values: Float32Array, positions: readonly number[], at: number) => number,
): Promise<Model> {
  const weights = new Map(model.graph.weights);
  for (const { weight, axis } of members) {
    const tensor = weights.get(weight)!;
    const indices = indicesOf(axesOf(weight)[axis]!, variable);
    const inner = elements(tensor.shape.slice(axis + 1));
    const size = tensor.shape[axis]!;
    const values = Float32Array.from(await floatsOf(tensor));
    const next = values.slice();
    values.forEach((_, i) => {
      const at = Math.floor(i / inner) % size;
      if (indices[at] !== index) return;
      const row = (k: number) => i + (k - at) * inner;
      next[i] = value(values, [...indices.keys()].filter((k) => indices[k]! >= 0 && k !== at).map(row), i);
    });
    weights.set(weight, float32s(tensor.shape, next));
  }
  return { ...model, graph: { ...model.graph, weights } };
}

describe("scores", () => {
  const BY_SIZE: readonly Score[] = ["l1", "l2", "bn", "taylor", "hessian", "activation"];

  it.each(BY_SIZE)("%s puts a channel whose weights are nearly 0 last", async (score) => {
    const { d, groups } = await followed(small());
    const [group] = groups as [Group];
    const faint = await changed(
      d.model,
      (w) => d.axes.get(w)!,
      group,
      5,
      (values, _, i) => 1e-3 * values[i]!,
    );
    const again = await followed(faint);
    const data = examples(faint, 16);
    const [scores] = [...(await scoresOf(again.d, again.groups, { score, data })).values()] as [Float64Array];
    expect(scores.indexOf(Math.min(...scores))).toBe(5);
  });

  it("fpgm puts the channel last that is the mean of the others", async () => {
    const { d, groups } = await followed(small());
    const [group] = groups as [Group];
    const mean = (values: Float32Array, others: readonly number[]) =>
      others.reduce((sum, k) => sum + values[k]!, 0) / others.length;
    const again = await followed(await changed(d.model, (w) => d.axes.get(w)!, group, 2, mean));
    const [scores] = [...(await scoresOf(again.d, again.groups, { score: "fpgm" })).values()] as [Float64Array];
    expect(scores.indexOf(Math.min(...scores))).toBe(2);
  });

  it("l2 is the sum of squares over the whole group, its mean over the layers", async () => {
    const { d, groups } = await followed(small());
    const [group] = groups as [Group];
    const scores = (await scoresOf(d, [group], { normalizer: "none" })).get(group)!;
    const counted = group.members.filter(({ weight }) => d.model.graph.weights.get(weight)!.shape.length > 1);
    let sum = 0;
    for (const { weight, axis } of counted) {
      const { shape } = d.model.graph.weights.get(weight)!;
      const inner = elements(shape.slice(axis + 1));
      (await readFloats(d.model.graph.weights.get(weight)!)).forEach((v, i) => {
        if (Math.floor(i / inner) % shape[axis]! === 3) sum += v * v;
      });
    }
    const scale = d.model.graph.nodes.find(({ op }) => op === "BatchNormalization")!.inputs[1]!;
    sum += (await readFloats(d.model.graph.weights.get(scale)!))[3]! ** 2;
    expect(scores[3]).toBeCloseTo(sum / (counted.length + 1), 6);
  });

  it("random depends on the seed alone", async () => {
    const { d, groups } = await followed(small());
    const draw = async (seed: number) =>
      [...(await scoresOf(d, groups, { score: "random", seed })).values()].map(String);
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });

  it("are normalized as Torch-Pruning does", () => {
    const scores = Float64Array.of(1, 2, 3);
    const of = (normalizer: Parameters<typeof normalize>[1]) => [...normalize(scores, normalizer)];
    expect(of("sum")).toEqual([1 / 6, 2 / 6, 3 / 6]);
    expect(of("mean")).toEqual([0.5, 1, 1.5]);
    expect(of("max")).toEqual([1 / 3, 2 / 3, 1]);
    expect(of("lamp")).toEqual([1 / 6, 2 / 5, 1]);
    expect(of("gaussian").map((v) => Math.round(1e6 * v) / 1e6)).toEqual([-1, 0, 1]);
    expect(of("standarization").map((v) => Math.round(1e6 * v) / 1e6)).toEqual([0, 0.5, 1]);
    expect(of("sentinel_0.5")).toEqual([0.5, 1, 1.5]);
  });

  it("that look at data say so where there is none", async () => {
    const { d, groups } = await followed(small());
    for (const score of ["taylor", "hessian", "activation"] as const)
      await expect(scoresOf(d, groups, { score })).rejects.toMatchObject({ code: "prune/no-data" });
  });
});

const NETS: readonly [string, Model][] = [
  ["LSTM", lstm(14)],
  ["GRU", gru(14)],
  ["GroupNorm", groupNorm(21)],
  ["U-Net", unet(18)],
  ["Inception", inception(18)],
  ["BERT", bert(17, false)],
  ["BERT, packed", bert(17, true)],
  ["shuffles", mixed(18)],
];

describe.each(NETS)("the plan of %s", (_, model) => {
  it("says the parameters and MACs that the cut model has", async () => {
    const { d, groups } = await followed(model);
    const cost = costAfter(d);
    for (let seed = 1; seed <= 3; seed++) {
      const masks = randomMasks(groups, seed, 0.7);
      const [said, is] = [cost(masks), costOf(await cut(d, masks))];
      expect(said.macs).toBe(is.macs);
      expect(said.parameters).toBe(is.parameters);
    }
  });

  it("meets targets as closely as whole channels allow, and keeps every file's signature", async () => {
    const plan = await planPruning(model, { macs: "60%", parameters: "70%", roundTo: 1 });
    expect(plan.after.macs).toBeLessThanOrEqual(0.6 * plan.before.macs);
    expect(plan.after.parameters).toBeLessThanOrEqual(0.7 * plan.before.parameters);
    const { model: made, changes } = await applyPlan(plan);
    expect(changes.length).toBeGreaterThan(0);
    expect(made.graph.inputs).toEqual(model.graph.inputs);
    expect(made.graph.outputs.map(({ name }) => name)).toEqual(model.graph.outputs.map(({ name }) => name));
    expect((await outputsOf(made, randomFeeds(model))).every(Number.isFinite)).toBe(true);
  });
});

describe("plans", () => {
  it("keep multiples of roundTo, or the whole group", async () => {
    const plan = await planPruning(small(20), { pruningRatio: 0.4, roundTo: 4 });
    for (const { group, kept } of plan.groups) expect(kept % 4 === 0 || kept === group.size).toBe(true);
    expect(plan.groups.map(({ kept }) => kept)).toEqual([12, 4]);
  });

  it("give back what rounding took beyond the target", async () => {
    const net = new Net(18, { x: ["N", 16, 8, 8] });
    let x = "x";
    for (let i = 0; i < 6; i++) x = net.one("Relu", [net.conv(x, 16, 16, [3, 3])]);
    const model = net.model(net.linear(net.one("Flatten", [net.one("GlobalAveragePool", [x])]), 16, 4));
    for (const share of [0.8, 0.65, 0.5]) {
      const { before, after, groups, masks, derivation } = await planPruning(model, {
        macs: `${100 * share}%`,
        roundTo: 8,
      });
      expect(after.macs).toBeLessThanOrEqual(share * before.macs);
      const cost = costAfter(derivation);
      for (const { group, kept } of groups) {
        const others = new Map([...masks].filter(([own]) => own !== group.variable));
        if (kept < group.size)
          expect(cost(others).macs, `${share}, ${group.name}`).toBeGreaterThan(share * before.macs);
      }
    }
  });

  it("are within the size asked for, in bytes of the file", async () => {
    const model = unet(18);
    const size = Math.round(0.6 * (await toBytes((await prepare().run(model)).model)).byteLength);
    const { model: made } = await structuredPruning({ size, roundTo: 1 }).run(model);
    expect((await toBytes(made)).byteLength).toBeLessThanOrEqual(size);
  });

  it("cut more of what is worth less where all layers are ranked together", async () => {
    const { d, groups } = await followed(small());
    const [group] = groups as [Group];
    let model = d.model;
    for (const index of [0, 1, 2, 3])
      model = await changed(
        model,
        (w) => d.axes.get(w)!,
        group,
        index,
        (values, _, i) => 1e-3 * values[i]!,
      );
    const kept = async (globalPruning: boolean) =>
      (await planPruning(model, { pruningRatio: 0.29, globalPruning, normalizer: "none", roundTo: 1 })).groups.map(
        (g) => g.kept,
      );
    expect(await kept(true)).toEqual([4, 6]);
    expect(await kept(false)).toEqual([6, 4]);
  });

  it("per cost, take what is dear first: half the multiply-adds leave more of the weights", async () => {
    const net = new Net(18, { x: ["N", 4, 16, 16] });
    const pooled = (x: string) => net.one("MaxPool", [x], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
    let x = net.one("Relu", [net.conv("x", 4, 12, [3, 3])]);
    for (let i = 0; i < 2; i++) x = net.one("Relu", [net.conv(pooled(x), 12, 12, [3, 3])]);
    const model = net.model(net.linear(net.one("Flatten", [net.one("GlobalAveragePool", [x])]), 12, 4));
    const asked = { macs: "50%", roundTo: 1, maxPruningRatio: 0.8 } as const;
    const [plain, dear] = [
      await planPruning(model, { ...asked, globalPruning: true }),
      await planPruning(model, { ...asked, perCost: true }),
    ];
    expect(dear.after.macs).toBeLessThanOrEqual(0.5 * dear.before.macs);
    expect(dear.after.parameters).toBeGreaterThan(1.1 * plain.after.parameters);
    const kept = dear.groups.map((one) => one.kept);
    expect(kept[0]).toBeLessThan(Math.min(...kept.slice(1)));
    // Of bytes, the first layer has few.
    const small = await planPruning(model, { parameters: "50%", roundTo: 1, perCost: true });
    expect(small.groups[0]?.kept).toBeGreaterThan(kept[0] as number);
  });

  it("leave layers that are ignored, and one channel of a group at least", async () => {
    const [first] = (await planPruning(small(), { roundTo: 1 })).groups;
    const conv = first!.group.name.replace(/ \[0\]$/, "");
    const plan = await planPruning(small(), { pruningRatio: 0.99, roundTo: 1, ignoredLayers: [conv] });
    expect(plan.left.map(({ name }) => name)).toEqual([first!.group.name]);
    expect(plan.groups.map(({ kept }) => kept)).toEqual([1]);
    expect(
      (await planPruning(small(), { pruningRatio: 0.99, roundTo: 1, maxPruningRatio: 0.5 })).groups.map(
        ({ kept }) => kept,
      ),
    ).toEqual([4, 3]);
  });

  it("keep tied weights tied", async () => {
    const net = new Net(18, { x: ["N", 80] });
    const shared = net.weight(80, 80);
    const a = net.one("Relu", [net.one("MatMul", ["x", net.weight(80, 80)])]);
    const b = net.one("Relu", [net.one("MatMul", [a, shared])]);
    const model = net.model(net.linear(net.one("MatMul", [b, shared]), 80, 3));
    const { model: made } = await structuredPruning({ macs: "60%", roundTo: 1 }).run(model);
    const reads = made.graph.nodes.filter(({ inputs }) => inputs.includes(shared));
    expect(reads).toHaveLength(2);
    const [rows, columns] = made.graph.weights.get(shared)!.shape;
    expect(rows).toBe(columns);
    expect(rows).toBeLessThan(80);
  });

  it("are the same for the same seed, and write the same bytes", async () => {
    const made = async () =>
      toBytes((await structuredPruning({ score: "random", seed: 4, roundTo: 1 }).run(unet(18))).model);
    expect(await made()).toEqual(await made());
  });
});

describe("what cannot be", () => {
  const refusal = async (model: Model, options: Parameters<typeof planPruning>[1]) =>
    planPruning(model, options).then(
      () => undefined,
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    );

  it("is said where nothing can be cut, with the reasons", async () => {
    const net = new Net(18, { x: ["N", 5] });
    expect(await refusal(net.model(net.linear("x", 5, 3)), {})).toMatch(
      /prune\/nothing: Nothing of the model can be cut\. Why: .*graph output/,
    );
  });

  it("is said of a target below what can be reached, with what can be", async () => {
    expect(await refusal(small(), { parameters: 10, roundTo: 1 })).toMatch(
      /prune\/unreachable: With all cut that may be, there are \d+ parameters, and at most 10 are asked for/,
    );
  });

  it("is said of a layer of one channel", async () => {
    const net = new Net(18, { x: ["N", 3, 6, 6] });
    const a = net.conv("x", 3, 1, [3, 3]);
    const model = net.model(net.conv(net.conv(a, 1, 8, [3, 3]), 8, 2, [1, 1]));
    const first = model.graph.nodes[0]!.name;
    expect(await refusal(model, { layers: [first] })).toMatch(/it has one channel, and one must stay/);
  });

  it("is said of an input, of names there are not, and of numbers that make no sense", async () => {
    expect(await refusal(small(), { layers: ["x"] })).toMatch(/prune\/input: .*input of the model/);
    expect(await refusal(small(), { layers: ["nowhere"] })).toMatch(/There is no layer or weight "nowhere"/);
    expect(await refusal(small(), { pruningRatio: 1.5 })).toMatch(/prune\/option/);
    expect(await refusal(small(), { macs: "0%" })).toMatch(/prune\/option/);
    expect(await refusal(small(), { macs: 2 ** 50 })).toMatch(/within what is asked for/);
    expect(await refusal(small(), { pruningRatio: 0.1, roundTo: 16 })).toMatch(/multiples of 16/);
    expect(SCORES).toContain("fpgm");
  });
});

describe("after the cut", () => {
  it("a channel that was twice the same is made up for exactly by the layers behind it", async () => {
    const { d, groups } = await followed(small());
    const [group] = groups as [Group];
    const twin = (values: Float32Array, others: readonly number[]) => values[others[0]!]!;
    const model = await changed(d.model, (w) => d.axes.get(w)!, group, 4, twin);
    const again = await followed(model);
    const masks = new Map([[again.groups[0]!.variable, Uint8Array.of(1, 1, 1, 1, 0, 1, 1, 1)]]);
    const bare = await cut(again.d, masks);
    const { model: fitted, weights } = await reconstruct(again.d, masks, bare, { data: examples(model, 32) });
    const feeds = randomFeeds(model, { batch: 4, seed: 9 });
    const whole = await outputsOf(model, feeds);
    expect(weights).toBe(1);
    const [lost, left] = [apart(whole, await outputsOf(bare, feeds)), apart(whole, await outputsOf(fitted, feeds))];
    expect(lost.difference).toBeGreaterThan(1e-3);
    expect(left.difference).toBeLessThan(0.1 * lost.difference);
  });

  it("statistics are those of the data", async () => {
    const net = new Net(18, { x: ["N", 3, 6, 6] });
    const model = net.model(net.batchNorm(net.conv("x", 3, 5, [3, 3]), 5));
    const data = examples(model, 24);
    const { model: measured, count } = await reestimate(model, { data, batch: 7 });
    expect(count).toBe(1);
    const feeds = randomFeeds(model, { batch: 24, seed: 5 });
    const y = await outputsOf(measured, feeds);
    const node = measured.graph.nodes.find(({ op }) => op === "BatchNormalization")!;
    const [scale, shift] = [
      await readFloats(measured.graph.weights.get(node.inputs[1]!)!),
      await readFloats(measured.graph.weights.get(node.inputs[2]!)!),
    ];
    for (let c = 0; c < 5; c++) {
      const own = y.filter((_, i) => Math.floor(i / 36) % 5 === c);
      const mean = own.reduce((a, b) => a + b, 0) / own.length;
      expect(mean).toBeCloseTo(shift[c]!, 3);
      expect(own.reduce((a, b) => a + (b - mean) ** 2, 0) / own.length).toBeCloseTo(scale[c]! ** 2, 2);
    }
  });
});
