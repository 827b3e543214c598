import { describe, expect, it } from "vitest";
import { ints, string } from "../ir/attrs.ts";
import type { Attrs, Model } from "../ir/graph.ts";
import { elements, readFloats, type Tensor } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { random } from "../numeric/random.ts";
import { rankOne } from "../numeric/rank-one.ts";
import { openSession } from "../runtime/index.ts";
import { feedsOf, modelOf } from "../testing/index.ts";
import { planSeparable, separable } from "./separable.ts";

const next = random(8);
const draws = (count: number) => Float64Array.from({ length: count }, () => next() * 2 - 1);

/** Kernels every input channel of which is an outer product. */
function separableKernels(out: number, inner: number, kernel: readonly number[]): number[] {
  const area = elements(kernel);
  const [d, p] = [draws(inner * area), draws(out * inner)];
  return Array.from({ length: out * inner * area }, (_, n) => {
    const [o, i, k] = [Math.floor(n / (inner * area)), Math.floor(n / area) % inner, n % area];
    return (p[o * inner + i] as number) * (d[i * area + k] as number);
  });
}

const sampleOf = (input: number[], weight: number[], values: readonly number[], attrs: Attrs, bias: boolean) => ({
  op: "Conv",
  attrs,
  inputs: [
    { shape: input },
    { shape: weight, values, constant: true },
    ...(bias ? [{ shape: [weight[0] as number], constant: true }] : []),
  ],
});

async function outputOf(model: Model, feeds: ReturnType<typeof feedsOf>): Promise<Float32Array> {
  const session = await openSession(model, { optimization: "disabled" });
  const { y0 } = await session.run(feeds);
  await session.close();
  return y0?.data as Float32Array;
}

describe("separable", () => {
  const cases: [string, number[], number[], number[], Attrs, boolean][] = [
    ["3×3", [2, 6, 9, 9], [12, 6], [3, 3], {}, false],
    [
      "3×3 with bias, pads and stride",
      [2, 6, 9, 8],
      [12, 6],
      [3, 3],
      { pads: ints([1, 0, 1, 2]), strides: ints([2, 1]) },
      true,
    ],
    ["5×5 with dilation", [1, 4, 12, 12], [9, 4], [5, 5], { pads: ints([4, 4, 4, 4]), dilations: ints([2, 2]) }, true],
    ["3×3 of auto_pad", [1, 4, 7, 7], [9, 4], [3, 3], { auto_pad: string("SAME_UPPER"), strides: ints([2, 2]) }, false],
    ["a 1-D kernel of 7", [2, 5, 20], [8, 5], [7], { pads: ints([3, 3]), kernel_shape: ints([7]) }, true],
  ];
  for (const [says, input, [out = 1, inner = 1], kernel, attrs, bias] of cases)
    it(`is exact where kernels are of rank 1: ${says}`, async () => {
      const sample = sampleOf(input, [out, inner, ...kernel], separableKernels(out, inner, kernel), attrs, bias);
      const model = modelOf(sample);
      const { model: cheap, changes } = await separable().run(model);
      verify(cheap);
      expect(changes).toHaveLength(1);
      expect(cheap.graph.nodes.map((n) => n.op)).toEqual(["Conv", "Conv"]);
      const feeds = feedsOf(sample, 3);
      const [wanted, got] = [await outputOf(model, feeds), await outputOf(cheap, feeds)];
      expect(got).toHaveLength(wanted.length);
      for (const [i, value] of wanted.entries()) expect(got[i]).toBeCloseTo(value, 4);
      expect((await planSeparable(model))[0]?.error).toBeLessThan(1e-6);
      const again = await separable().run(cheap);
      expect(again.model).toBe(cheap);
    });

  it("is nearer to full kernels than any other pair that alternating least squares finds", async () => {
    const sample = sampleOf([1, 3, 8, 8], [10, 3, 3, 3], [...draws(270)], {}, false);
    const model = modelOf(sample);
    const [layer] = await planSeparable(model);
    const { model: cheap } = await separable().run(model);
    const [d, p] = await Promise.all(
      ["depthwise", "pointwise"].map((part) => readFloats(cheap.graph.weights.get(`x1.${part}`) as Tensor)),
    );
    const w = await readFloats(model.graph.weights.get("x1") as Tensor);
    const errorOf = (left: ArrayLike<number>, right: ArrayLike<number>) => {
      let [missed, all] = [0, 0];
      for (const [n, value] of w.entries()) {
        const [o, i, k] = [Math.floor(n / 27), Math.floor(n / 9) % 3, n % 9];
        missed += (value - (left[o * 3 + i] as number) * (right[i * 9 + k] as number)) ** 2;
        all += value ** 2;
      }
      return Math.sqrt(missed / all);
    };
    expect(errorOf(p!, d!)).toBeCloseTo(layer!.error, 5);
    const [left, right] = alternating(w, draws(27));
    expect(layer!.error).toBeLessThanOrEqual(errorOf(left, right) + 1e-6);
    expect(layer!.error).toBeGreaterThan(0.3);
  });

  it("plans a saving of 8 to 9 times for 3×3 kernels of many channels, the figures of the model it makes", async () => {
    const sample = sampleOf(
      [1, 64, 16, 16],
      [128, 64, 3, 3],
      [...draws(128 * 64 * 9)],
      { pads: ints([1, 1, 1, 1]) },
      true,
    );
    const model = modelOf(sample);
    const [layer] = await planSeparable(model);
    expect(layer).toMatchObject({
      macs: { before: 128 * 64 * 9 * 256, after: (64 * 9 + 128 * 64) * 256 },
      parameters: { before: 73_728, after: 8768 },
    });
    expect(layer!.saving).toBeGreaterThan(8);
    expect(layer!.saving).toBeLessThan(9);
    const { model: cheap } = await separable().run(model);
    const numbers = [...cheap.graph.weights.values()].reduce((sum, { shape }) => sum + elements(shape), -128);
    expect(numbers).toBe(layer!.parameters.after);
  });

  it("leaves alone what is pointwise, grouped, excluded, or approximated worse than allowed", async () => {
    const full = sampleOf([1, 8, 8, 8], [8, 8, 3, 3], [...draws(576)], {}, false);
    for (const [sample, options] of [
      [sampleOf([1, 8, 8, 8], [8, 8, 1, 1], [...draws(64)], {}, false), {}],
      [
        { ...full, attrs: { group: { type: "int", value: 2 } }, inputs: [{ shape: [1, 16, 8, 8] }, full.inputs[1]!] },
        {},
      ],
      [full, { nodesToExclude: ["Conv"] }],
      [full, { maxError: 0.1 }],
    ] as const) {
      const model = modelOf(sample as typeof full);
      expect((await separable(options).run(model)).model).toBe(model);
      expect(await planSeparable(model, options)).toEqual([]);
    }
  });

  it("keeps a kernel that another node reads too", async () => {
    const { graph, ...model } = modelOf(
      sampleOf([1, 4, 8, 8], [8, 4, 3, 3], separableKernels(8, 4, [3, 3]), {}, false),
    );
    const twice = { ...model, graph: { ...graph, outputs: [...graph.outputs, { name: "x1" }] } };
    verify((await separable().run(twice)).model);
  });
});

describe("the nearest matrix of rank 1", () => {
  it("of zeros is zero, and of one of rank 1 it is itself", () => {
    expect(rankOne(new Float64Array(6), 2, 3)).toMatchObject({ left: new Float64Array(2), missed: 0 });
    const matrix = [2, 4, 6, -1, -2, -3];
    expect(rankOne(matrix, 2, 3).missed).toBeLessThan(1e-25);
  });

  it("misses the squares of the other singular values", () => {
    // A rotation of diag(3, 2, 0.5) by the left and another by the right.
    const rotate = (a: number) => [Math.cos(a), -Math.sin(a), 0, Math.sin(a), Math.cos(a), 0, 0, 0, 1];
    const times = (x: number[], y: number[]) =>
      x.map((_, n) => [0, 1, 2].reduce((s, k) => s + x[3 * Math.floor(n / 3) + k]! * y[3 * k + (n % 3)]!, 0));
    const matrix = times(times(rotate(0.7), [3, 0, 0, 0, 2, 0, 0, 0, 0.5]), rotate(-1.9));
    const { missed, left } = rankOne(matrix, 3, 3);
    expect(missed).toBeCloseTo(4.25, 10);
    expect(Math.hypot(...left)).toBeCloseTo(3, 10);
  });

  it("is found where the two leading singular values are equal", () =>
    expect(rankOne([2, 0, 0, 2], 2, 2).missed).toBeCloseTo(4, 10));
});

/** Depthwise and pointwise kernels of [10, 3, 3, 3] ones by alternating least squares from a random start. */
function alternating(w: Float32Array, start: Float64Array): [Float64Array, Float64Array] {
  const [left, right] = [new Float64Array(30), start];
  for (let step = 0; step < 300; step++)
    for (let i = 0; i < 3; i++) {
      const d = right.subarray(i * 9, i * 9 + 9);
      const square = d.reduce((s, v) => s + v * v, 0);
      for (let o = 0; o < 10; o++)
        left[o * 3 + i] = d.reduce((s, v, k) => s + v * (w[o * 27 + i * 9 + k] as number), 0) / square;
      let norm = 0;
      for (let o = 0; o < 10; o++) norm += left[o * 3 + i]! ** 2;
      for (let k = 0; k < 9; k++) {
        let sum = 0;
        for (let o = 0; o < 10; o++) sum += left[o * 3 + i]! * (w[o * 27 + i * 9 + k] as number);
        d[k] = sum / norm;
      }
    }
  return [left, right];
}
