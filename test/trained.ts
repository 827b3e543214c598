import type { Model } from "../src/ir/graph.ts";
import { float32s, readFloats } from "../src/ir/tensor.ts";
import { random } from "../src/numeric/random.ts";

/** The model with other vectors than it starts with, as if trained, so that every normalization and bias does something. */
export async function trained(model: Model): Promise<Model> {
  const next = random(4);
  const weights = new Map(model.graph.weights);
  for (const [name, tensor] of weights)
    if (tensor.dtype === "float32" && tensor.shape.length === 1) {
      const most = /weight|var/.test(name) ? 0.3 : 0.6;
      const values = await readFloats(tensor);
      weights.set(
        name,
        float32s(
          tensor.shape,
          values.map((value) => value + most * (next() - 0.5)),
        ),
      );
    }
  return { ...model, graph: { ...model.graph, weights } };
}
