import { expect, it } from "vitest";
import { edit, float32s, int, ints, type Model } from "../ir/index.ts";
import { elements, int64s, type TensorData } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { openSession } from "../runtime/index.ts";
import { differentiate } from "../train/differentiate.ts";

const drawn = (shape: readonly number[]): Float32Array => {
  const next = random(5);
  return Float32Array.from({ length: elements(shape) }, () => next() - 0.4);
};

/** Something linear in x and w, a normalization by the batch, a loss; `hidden` puts −(−y) between the two. */
function normalized(op: "Conv" | "MatMul", hidden: boolean): { readonly model: Model; readonly x: TensorData } {
  const shapes = {
    Conv: { x: [2, 3, 5, 4], w: [4, 3, 3, 3], y: [2, 4, 5, 4] },
    MatMul: { x: [3, 40], w: [4, 3], y: [1, 4, 40] },
  };
  const { x, w, y } = shapes[op];
  const input = { name: "x", type: { kind: "tensor", dtype: "float32", shape: x } } as const;
  const e = edit({ name: "g", inputs: [input], outputs: [], weights: new Map(), nodes: [], valueInfo: new Map() });
  const add = (name: string, inputs: readonly string[], attrs = {}, outputs = 1) =>
    e.add({ op: name, inputs, attrs, outputs });
  const weight = (name: string, shape: readonly number[]) => e.weight(name, float32s(shape, drawn(shape)));
  const pads = { pads: ints([1, 1, 1, 1]) };
  const w0 = weight("w", w);
  let [value] = op === "Conv" ? add(op, ["x", w0], pads) : add(op, [w0, "x"]);
  if (op === "MatMul") [value] = add("Reshape", [value as string, e.weight("shape", int64s(y))]);
  if (hidden) [value] = add("Neg", add("Neg", [value as string]));
  const four = ["scale", "bias", "mean", "variance"].map((name) => e.weight(name, float32s([4], [0.5, 1, 1.5, 2])));
  const [normal] = add("BatchNormalization", [value as string, ...four], { training_mode: int(1) }, 3);
  const [weighed] = add("Mul", [normal as string, weight("targets", y)]);
  e.add({ op: "ReduceSum", inputs: [weighed as string], attrs: { keepdims: int(0) }, outputs: ["loss"] });
  e.setOutputs([{ name: "loss" }]);
  const model: Model = { graph: e.done(), opsets: new Map([["", 18]]), irVersion: 8, functions: [] };
  return { model, x: { dtype: "float32", shape: x, data: drawn(x) } };
}

it.each(["Conv", "MatMul"] as const)(
  "%s takes the factors of a normalization behind it without another gradient",
  async (op) => {
    const [taken, kept] = await Promise.all(
      [false, true].map(async (hidden) => {
        const { model, x } = normalized(op, hidden);
        const { model: step, gradients } = differentiate(model, { loss: "loss", wrt: ["w", "x"] });
        const session = await openSession(step);
        const results = await session.run({ x });
        await session.close();
        const kernels = step.graph.nodes.filter((node) => node.op === "Mul" && node.inputs.includes("w")).length;
        return {
          kernels,
          values: ["w", "x"].map((name) => results[gradients.get(name) as string]?.data as Float32Array),
        };
      }),
    );
    expect([taken?.kernels, kept?.kernels]).toEqual([1, 0]);
    for (const [i, values] of (taken?.values ?? []).entries())
      values.forEach((value, k) => {
        expect(value).toBeCloseTo(kept?.values[i]?.[k] as number, 4);
      });
  },
);
