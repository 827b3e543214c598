import { describe, expect, it } from "vitest";
import { arrays } from "../data/index.ts";
import { type Attrs, float32s, int, ints, type Model } from "../ir/index.ts";
import { normal, random } from "../numeric/random.ts";
import { openSession } from "../runtime/index.ts";
import { measureMoments } from "./moments.ts";
import { planOf } from "./plan.ts";
import { roundLayers } from "./round-layers.ts";

const next = random(3);
const noise = (shape: readonly number[]) =>
  float32s(
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => normal(next)),
  );

const EXAMPLES = 6;

/** One layer on one input, [examples, …]. */
function layer(op: string, input: readonly number[], weight: readonly number[], attrs: Attrs = {}) {
  const type = (shape: readonly (number | string)[]) => ({ kind: "tensor", dtype: "float32", shape }) as const;
  const model: Model = {
    irVersion: 8,
    opsets: new Map([["", 18]]),
    graph: {
      name: "layer",
      inputs: [{ name: "x", type: type(["n", ...input]) }],
      outputs: [{ name: "y" }],
      nodes: [
        {
          name: "layer",
          op,
          domain: "",
          inputs: ["x", "w", "b"].slice(0, op === "MatMul" ? 2 : 3),
          outputs: ["y"],
          attrs,
        },
      ],
      weights: new Map([
        ["w", noise(weight)],
        [
          "b",
          float32s(
            [op === "ConvTranspose" || op === "Gemm" ? weight[1]! : weight[0]!],
            new Float32Array(op === "ConvTranspose" || op === "Gemm" ? weight[1]! : weight[0]!),
          ),
        ],
      ]),
      valueInfo: new Map(),
    },
    metadata: new Map(),
    functions: [],
  } as unknown as Model;
  if (op === "MatMul") (model.graph.weights as Map<string, unknown>).delete("b");
  const x = Float32Array.from({ length: EXAMPLES * input.reduce((a, b) => a * b, 1) }, () => normal(next));
  return {
    model,
    x,
    shape: [EXAMPLES, ...input],
    data: arrays({ x: { dtype: "float32", shape: [EXAMPLES, ...input], data: x } }),
  };
}

const LAYERS = {
  "a convolution with strides, pads and dilations": layer("Conv", [3, 9, 8], [4, 3, 3, 2], {
    strides: ints([2, 1]),
    pads: ints([1, 0, 2, 1]),
    dilations: ints([1, 2]),
  }),
  "a convolution in groups": layer("Conv", [4, 5, 5], [6, 2, 3, 3], { group: int(2), pads: ints([1, 1, 1, 1]) }),
  "a depthwise one": layer("Conv", [5, 6, 6], [5, 1, 3, 3], { group: int(5) }),
  "one over a line": layer("Conv", [3, 11], [4, 3, 4]),
  "a transposed one": layer("ConvTranspose", [3, 4, 4], [3, 2, 3, 3], { strides: ints([2, 2]) }),
  "a product of matrices": layer("MatMul", [7, 5], [5, 3]),
  "one of rows": layer("Gemm", [6], [6, 4]),
};

describe.each(Object.entries(LAYERS))("What is measured of %s", (_, { model, x, shape, data }) => {
  it("says how large its outputs are for any weight", async () => {
    const { contractions } = planOf(model);
    const { groups, rows, columns, hessian } = (await measureMoments(model, contractions, { data })).get("y")!;
    const session = await openSession(model);
    const y = (await session.run({ x: { dtype: "float32", shape, data: x } }))["y"]!;
    await session.close();
    const axis = y.shape.length + contractions[0]!.channel!.output;
    const inner = y.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const channels = groups * rows;
    const squares = new Float64Array(channels);
    (y.data as Float32Array).forEach((value, i) => {
      squares[Math.floor(i / inner) % channels]! += value * value;
    });
    const { weights } = model.graph;
    const w = new Float32Array(weights.get("w")!.bytes!.slice().buffer);
    const at = contractions[0]!.channel!.weight;
    const width = weights
      .get("w")!
      .shape.slice(at + 1)
      .reduce((a, b) => a * b, 1);
    for (let c = 0; c < channels; c++) {
      const row = [...w].filter((_, i) => Math.floor(i / width) % channels === c);
      let sum = 0;
      for (let i = 0; i < columns; i++)
        for (let j = 0; j < columns; j++) sum += row[i]! * hessian[Math.floor(c / rows)]![i * columns + j]! * row[j]!;
      expect(sum).toBeCloseTo(squares[c]!, 2);
    }
  });

  it("rounds its weight to levels near to what it is", async () => {
    const { contractions } = planOf(model);
    for (const symmetric of [true, false]) {
      const { tensor, scales, zeroPoints } = (
        await roundLayers(model, contractions, { data, type: "int8", symmetric })
      ).get("w")!;
      const w = new Float32Array(model.graph.weights.get("w")!.bytes!.slice().buffer);
      const levels = new Int8Array((tensor.bytes as Uint8Array).slice().buffer);
      const at = contractions[0]!.channel!.weight;
      const width = tensor.shape.slice(at + 1).reduce((a, b) => a * b, 1);
      const most = Math.max(...w.map(Math.abs));
      levels.forEach((level, i) => {
        const c = Math.floor(i / width) % scales.length;
        expect(Math.abs((level - zeroPoints[c]!) * scales[c]! - w[i]!)).toBeLessThan(most / 8);
      });
    }
  });
});

describe("A weight that two layers share", () => {
  it("is left out where they read it along different axes", async () => {
    const { model, data } = layer("Gemm", [6], [6, 6]);
    const [first] = model.graph.nodes;
    const turned = { ...first!, name: "turned", inputs: ["y", "w"], outputs: ["z"], attrs: { transB: int(1) } };
    const both = { ...model, graph: { ...model.graph, nodes: [first!, turned], outputs: [{ name: "z" }] } } as Model;
    const { contractions } = planOf(both);
    expect(contractions.map(({ weight }) => weight)).toEqual(["w", "w"]);
    expect((await roundLayers(both, contractions, { data, type: "int8" })).size).toBe(0);
    expect((await roundLayers(model, planOf(model).contractions, { data, type: "int8" })).size).toBe(1);
  });
});
