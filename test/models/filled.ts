import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { bytesSource } from "../../src/files/source.ts";
import type { Model } from "../../src/ir/graph.ts";
import { elements, float32s, type Tensor } from "../../src/ir/tensor.ts";
import { random } from "../../src/numeric/random.ts";
import { readModel } from "../../src/onnx/index.ts";
import { real } from "../real.ts";

/** A real model; the weights that its file holds as zeros are drawn, seeded, at a scale that keeps activations in range. */
export async function filled(path: string, seed = 1): Promise<Model> {
  const file = readFileSync(real(`models/${path}`) ?? "");
  const model = await readModel(bytesSource(path.endsWith(".gz") ? gunzipSync(file) : file, path));
  if (!path.startsWith("arch/")) return model;
  const next = random(seed);
  const weights = new Map<string, Tensor>();
  for (const [name, tensor] of model.graph.weights)
    weights.set(name, elements(tensor.shape) > 4096 && tensor.dtype === "float32" ? drawn(tensor.shape, next) : tensor);
  return { ...model, graph: { ...model.graph, weights } };
}

/** Uniform, of variance 2 / fan-in. */
function drawn(shape: readonly number[], next: () => number): Tensor {
  const fan = shape.length > 2 ? elements(shape.slice(1)) : Math.min(...shape);
  const bound = Math.sqrt(6 / fan);
  const values = new Float32Array(elements(shape));
  for (let i = 0; i < values.length; i++) values[i] = bound * (2 * next() - 1);
  return float32s(shape, values);
}
