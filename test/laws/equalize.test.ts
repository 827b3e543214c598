import { describe, expect, it } from "vitest";
import { create } from "../../src/architectures/index.ts";
import { dataset } from "../../src/data/dataset.ts";
import { float, int, ints } from "../../src/ir/attrs.ts";
import { isKnown } from "../../src/ir/dim.ts";
import type { Graph, Model } from "../../src/ir/graph.ts";
import { elements, float32s, readFloats, type TensorData } from "../../src/ir/tensor.ts";
import { verify } from "../../src/ir/verify.ts";
import { random } from "../../src/numeric/random.ts";
import { load } from "../../src/onnx/index.ts";
import { optimize, type Pass } from "../../src/passes/index.ts";
import { awq, equalizeLayers, rotate, smoothQuant } from "../../src/quantize/index.ts";
import { groupsOf } from "../../src/quantize/scaling/groups.ts";
import { openSession } from "../../src/runtime/index.ts";
import { real, WITHOUT_REAL } from "../real.ts";
import { bert, groupNorm, inception, mixed, Net, resnet, transformer, unet } from "./nets.ts";

const EXAMPLES = 3;

/** Seeded examples for a model whose inputs have the batch in front. */
function examplesFor(graph: Graph) {
  const next = random(11);
  const example = () => ({
    feeds: Object.fromEntries(
      graph.inputs.flatMap(({ name, type }) => {
        if (graph.weights.has(name) || type?.kind !== "tensor") return [];
        const shape = (type.shape ?? []).slice(1).map((dim) => (isKnown(dim) && dim > 0 ? dim : 2));
        const count = elements(shape);
        const data =
          type.dtype === "int64"
            ? BigInt64Array.from({ length: count }, (_, i) => BigInt(i % 60))
            : Float32Array.from({ length: count }, () => next() * 2 - 1);
        return [[name, { dtype: type.dtype, shape, data } as TensorData]];
      }),
    ),
  });
  const all = Array.from({ length: EXAMPLES }, example);
  return dataset({ size: EXAMPLES, at: async (i) => all[i]! });
}

async function outputsOf(model: Model, feeds: Readonly<Record<string, TensorData>>): Promise<TensorData[]> {
  const session = await openSession(model, { optimization: "disabled" });
  try {
    const batch = Object.entries(feeds).map(([name, x]) => [name, { ...x, shape: [1, ...x.shape] }] as const);
    return Object.values(await session.run(Object.fromEntries(batch)));
  } finally {
    await session.close();
  }
}

/** The largest difference of the outputs over the examples, relative to the largest of each. */
async function difference(a: Model, b: Model): Promise<number> {
  const data = examplesFor(a.graph);
  let worst = 0;
  for (let i = 0; i < EXAMPLES; i++) {
    const { feeds } = (await data.at(i)) as { feeds: Record<string, TensorData> };
    const [one, other] = [await outputsOf(a, feeds), await outputsOf(b, feeds)];
    one.forEach(({ data: values }, k) => {
      let [apart, largest] = [0, 1e-6];
      values.forEach((value, at) => {
        largest = Math.max(largest, Math.abs(Number(value)));
        apart = Math.max(apart, Math.abs(Number(value) - Number(other[k]!.data[at])));
      });
      worst = Math.max(worst, apart / largest);
    });
  }
  return worst;
}

const NETS: readonly (readonly [string, Model])[] = [
  ["a net of everything", mixed(18)],
  ["a ResNet", resnet(18, 1)],
  ["an Inception", inception(18)],
  ["a U-Net", unet(18)],
  ["a net of group normalization", groupNorm(21)],
  ["a transformer normalized before", transformer(18, 2, "before")],
  ["a transformer normalized behind", transformer(18, 2, "behind")],
  ["a BERT", bert(18, false)],
  ["a BERT with packed projections", bert(18, true)],
];

const passesFor = (model: Model): Pass[] => {
  const data = examplesFor(model.graph);
  return [
    equalizeLayers(),
    smoothQuant({ data }),
    smoothQuant({ data, alpha: 0.8, clips: true }),
    awq({ data }),
    rotate(),
  ];
};

/** The model means the same after each of the passes; gives how many groups it has. */
async function law(model: Model, without = ""): Promise<number> {
  const { model: base } = await optimize().run(model);
  for (const pass of passesFor(base).filter(({ name }) => name !== without)) {
    const { model: even } = await pass.run(base);
    verify(even);
    expect(await difference(base, even), pass.name).toBeLessThan(2e-5);
  }
  return groupsOf(base).length;
}

describe("equalization, SmoothQuant, AWQ and rotation leave what is computed as it was", () => {
  let groups = 0;
  for (const [says, model] of NETS)
    it(`by ${says}`, async () => {
      groups += await law(model);
    });
  it("and found something to move in most", () => expect(groups).toBeGreaterThan(12));
});

describe.skipIf(real("models") === undefined)(real("models") ? "on real models too" : WITHOUT_REAL, () => {
  for (const name of ["cifar10/resnet20_cifar10", "text/stories260K_T128", "mlperf-tiny/vww_96_float"])
    it(name, { timeout: 60_000 }, async () => {
      // AWQ searches, which takes a while; the nets above have it.
      expect(await law(await load(real(`models/${name}.onnx`)!), "awq")).toBeGreaterThan(8);
    });
  it("imagenet/mobilenet_v1_0.25_224_fp32, before a Clip on the examples alone", { timeout: 60_000 }, async () => {
    const model = await load(real("models/imagenet/mobilenet_v1_0.25_224_fp32.onnx")!);
    expect(await law(model)).toBe(0);
    const { model: base } = await optimize().run(model);
    expect(groupsOf(base, { bounds: true })).toHaveLength(27);
  });
});

describe("a rotation", () => {
  it("folds into a llama, whose weights it changes, and not into what takes a mean off", async () => {
    const llama = create("llama", { vocabulary: 64, layers: 2, dimension: 48, heads: 4, inner: 64, seed: 3 });
    const { model: base } = await optimize().run(llama);
    const { model: turned, changes } = await rotate().run(base);
    expect(changes.map(({ what }) => what)).toEqual(["Rotated the stream that blocks add to."]);
    expect(turned.graph.nodes.map(({ op }) => op)).toEqual(base.graph.nodes.map(({ op }) => op));
    expect(await difference(base, turned)).toBeLessThan(2e-5);
    const { model: same } = await optimize().run(transformer(18, 2, "before"));
    expect((await rotate().run(same)).model).toBe(same);
  });
});

describe("channels", () => {
  const conv = (net: Net, x: string, from: number, to: number, group = 1) =>
    net.conv(x, from, to, [3, 3], { group: int(group) });
  const namesOf = (model: Model) => groupsOf(model).map((group) => group.weights.length);

  it("that a sum of branches joins have one factor each, and all that make or read them take it on", () => {
    const net = new Net(18, { x: ["n", 3, 8, 8] });
    const first = net.one("Relu", [conv(net, "x", 3, 8)]);
    const sum = net.one("Relu", [net.one("Add", [first, conv(net, first, 8, 8, 8)])]);
    const model = net.model(conv(net, sum, 8, 4));
    // Two weights with biases make the 8 channels, the depthwise one and the last read them.
    expect(namesOf(model)).toEqual([6]);
    expect(groupsOf(model)[0]?.count).toBe(8);
  });

  it("of a grouped convolution are told apart by group and place", async () => {
    const net = new Net(18, { x: ["n", 3, 8, 8] });
    const wide = net.one("LeakyRelu", [conv(net, "x", 3, 12)], { alpha: float(0.1) });
    const model = net.model(conv(net, net.one("MaxPool", [wide], { kernel_shape: ints([2, 2]) }), 12, 6, 3));
    expect(groupsOf(model)[0]?.count).toBe(12);
    const { model: even } = await equalizeLayers().run(model);
    expect(await difference(model, even)).toBeLessThan(2e-6);
  });

  it("made by a weight that two nodes read stay as they are, as do those before a Clip, and outputs", () => {
    const net = new Net(18, { x: ["n", 4, 8, 8] });
    const weight = net.weight(4, 4, 1, 1);
    const twice = net.one("Conv", [net.one("Relu", [net.one("Conv", ["x", weight])]), weight]);
    expect(groupsOf(net.model(twice))).toEqual([]);
    const clipped = new Net(18, { x: ["n", 4, 8, 8] });
    const [zero, six] = [clipped.constant(float32s([], [0])), clipped.constant(float32s([], [6]))];
    const cut = clipped.one("Clip", [conv(clipped, "x", 4, 4), zero, six]);
    expect(groupsOf(clipped.model(conv(clipped, cut, 4, 4)))).toEqual([]);
    const given = new Net(18, { x: ["n", 4, 8, 8] });
    const middle = given.one("Relu", [conv(given, "x", 4, 4)]);
    expect(groupsOf(given.model(middle, conv(given, middle, 4, 4)))).toEqual([]);
  });

  it("have weights of one range on either side after equalization", async () => {
    const net = new Net(18, { x: ["n", 3, 8, 8] });
    const model = net.model(conv(net, net.one("Relu", [conv(net, "x", 3, 8)]), 8, 4));
    const { model: even } = await equalizeLayers().run(model);
    const [group] = groupsOf(even);
    const most = async (divided: boolean) => {
      const { weight, classes } = group!.weights.find((w) => w.matrix && w.divided === divided)!;
      const values = await readFloats(even.graph.weights.get(weight)!);
      return Array.from({ length: 8 }, (_, c) =>
        values.reduce((a, b, i) => (classes[i] === c ? Math.max(a, Math.abs(b)) : a), 0),
      );
    };
    const [made, read] = [await most(false), await most(true)];
    for (let c = 0; c < 8; c++) expect(made[c]! / read[c]!).toBeCloseTo(1, 2);
  });
});
