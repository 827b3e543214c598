import { describe, expect, it } from "vitest";
import { MinnowError } from "../errors.ts";
import { edit, int, ints, type Model, verify } from "../ir/index.ts";
import { elements, float32s, type TensorData } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { openSession } from "../runtime/index.ts";
import { differentiate } from "./differentiate.ts";

const next = random(3);
const drawn = (shape: readonly number[]) => Float32Array.from({ length: elements(shape) }, () => next() - 0.5);

/** `depth` convolutions with Tanh between, and the mean square of what comes out. */
function chain(depth: number, op = "Tanh"): Model {
  const x = { name: "x", type: { kind: "tensor" as const, dtype: "float32" as const, shape: [2, 4, 6, 6] } };
  const graph = { name: "g", inputs: [x], outputs: [], weights: new Map(), nodes: [], valueInfo: new Map() };
  const e = edit(graph);
  let value = "x";
  for (let i = 0; i < depth; i++) {
    const w = e.weight(`w${i}`, float32s([4, 4, 3, 3], drawn([4, 4, 3, 3])));
    const attrs = { pads: ints([1, 1, 1, 1]) };
    [value = ""] = e.add({ op: "Conv", inputs: [value, w], attrs, outputs: [`conv${i}`] });
    [value = ""] = e.add({ op, inputs: [value], outputs: [`y${i}`] });
  }
  const [square = ""] = e.add({ op: "Mul", inputs: [value, value] });
  e.add({ op: "ReduceMean", inputs: [square], attrs: { keepdims: int(0) }, outputs: ["loss"] });
  e.setOutputs([{ name: "loss" }]);
  return { graph: e.done(), opsets: new Map([["", 18]]), irVersion: 8, functions: [] };
}

const feeds = { x: { dtype: "float32" as const, shape: [2, 4, 6, 6], data: drawn([2, 4, 6, 6]) } };

async function run(model: Model): Promise<Record<string, TensorData>> {
  const session = await openSession(model);
  try {
    return await session.run(feeds);
  } finally {
    await session.close();
  }
}

describe("differentiate", () => {
  it("gives a graph that verifies, keeps the outputs and adds a gradient of each weight's shape", async () => {
    const { model, gradients } = differentiate(chain(3), { loss: "loss", wrt: ["w0", "w2", "x"] });
    verify(model);
    const results = await run(model);
    expect(model.graph.outputs[0]?.name).toBe("loss");
    expect(results[gradients.get("w0") as string]?.shape).toEqual([4, 4, 3, 3]);
    expect(results[gradients.get("x") as string]?.shape).toEqual([2, 4, 6, 6]);
  });

  it("leaves the model it is given as it was", () => {
    const model = chain(2);
    const before = model.graph.nodes.length;
    differentiate(model, { loss: "loss", wrt: ["w0"] });
    expect(model.graph.nodes.length).toBe(before);
  });

  it("computes activations again where asked to, with the same gradients", async () => {
    const model = chain(9);
    const wrt = ["w0", "w4", "w8", "x"];
    const kept = differentiate(model, { loss: "loss", wrt });
    const again = differentiate(model, { loss: "loss", wrt, recompute: true });
    const count = (m: Model) => m.graph.nodes.filter((node) => node.op === "Tanh").length;
    expect(count(kept.model)).toBe(9);
    expect(count(again.model)).toBeGreaterThan(9);
    const [a, b] = [await run(kept.model), await run(again.model)];
    for (const name of wrt)
      expect(b[again.gradients.get(name) as string]?.data).toEqual(a[kept.gradients.get(name) as string]?.data);
  });

  it.each([[["x"]], [["x", "gate"]]])(
    "gives x · σ(x) its slope, and the gate its own where asked for: %s",
    async (wrt) => {
      const { graph, ...rest } = chain(0);
      const e = edit({ ...graph, nodes: [], outputs: [] });
      e.add({ op: "Sigmoid", inputs: ["x"], outputs: ["gate"] });
      const product = e.add({ op: "Mul", inputs: ["gate", "x"] });
      e.add({ op: "ReduceSum", inputs: product, attrs: { keepdims: int(0) }, outputs: ["loss"] });
      e.setOutputs([{ name: "loss" }]);
      const { model, gradients } = differentiate({ ...rest, graph: e.done() }, { loss: "loss", wrt });
      const results = await run(model);
      const of = (name: string) => results[gradients.get(name) as string]?.data as Float32Array | undefined;
      feeds.x.data.forEach((x, i) => {
        const s = 1 / (1 + Math.exp(-x));
        expect(of("x")?.[i]).toBeCloseTo(s + x * s * (1 - s), 5);
      });
      if (wrt.includes("gate")) expect(of("gate")).toEqual(feeds.x.data);
    },
  );

  it("names an operator without a gradient, and the way from it to the loss", () => {
    const model = chain(2, "Custom");
    expect(() => differentiate(model, { loss: "loss", wrt: ["w1"] })).toThrow(
      /Custom "conv1_Custom".*no gradient.*Custom.*ReduceMean.*"loss"/s,
    );
  });

  it("says where nothing flows to what is asked for", () => {
    try {
      differentiate(chain(1, "Floor"), { loss: "loss", wrt: ["w0"] });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(MinnowError);
      expect((error as MinnowError).code).toBe("train/unreached");
    }
  });

  it("refuses a loss that is more than one number", () => {
    expect(() => differentiate(chain(1), { loss: "conv0", wrt: ["w0"] })).toThrow(/\[2,4,6,6\]/);
  });
});
