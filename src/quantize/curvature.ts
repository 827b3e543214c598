import { batches } from "../data/batches.ts";
import { bindInputs } from "../data/bind.ts";
import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { elements, readFloats } from "../ir/tensor.ts";
import { usesOf } from "../ir/walk.ts";
import { normal, random } from "../numeric/random.ts";
import type { Fact } from "../ops/define.ts";
import { Emitter } from "../ops/emit.ts";
import { inferModel } from "../ops/infer.ts";
import { removeDeadCode } from "../passes/index.ts";
import { openSession } from "../runtime/index.ts";
import { differentiate } from "../train/differentiate.ts";
import { bindSizes } from "../train/prepare.ts";
import { layersOf } from "./mixed.ts";
import type { CalibrateOptions } from "./types.ts";

/** The second derivative of half the squared distance of the outputs from what they are, by the weights. */
export interface Curvature {
  /** Its diagonal, by the name of the weight: how much moving each number moves the outputs. */
  readonly diagonal: ReadonlyMap<string, Float64Array>;
  /** Σx² of the outputs over the same examples. */
  readonly signal: number;
}

/**
 * The diagonal of the Hessian of ½‖z(w) − z(w₀)‖² at w₀, z being the float outputs over all examples: Σ diag(JᵀJ) exactly, of
 * which (Jᵀv)² with v drawn from the normal distribution is an unbiased estimate (Hutchinson's probe, one for each run). It
 * needs no labels, and its product with squared rounding errors is the noise they bring to the outputs, to second order.
 * Sources: Dong et al., "HAWQ-V2", arXiv 1911.03852; Martens, "New Insights and Perspectives on the Natural Gradient Method",
 * arXiv 1412.1193.
 * All operators on the way to the outputs need gradients.
 */
export async function curvatureOf(model: Model, data: Dataset, options: CalibrateOptions = {}): Promise<Curvature> {
  const size = Math.min(options.batch ?? 1, data.size);
  const { step, gradients, probes } = probing(await bindSizes(model, size));
  const next = random(0);
  const diagonal = new Map<string, Float64Array>();
  let signal = 0;
  const session = await openSession(step, options.threads === undefined ? {} : { threads: options.threads });
  try {
    for await (const { feeds, indices } of batches(bindInputs(data, model.graph), size, { signal: options.signal })) {
      if (indices.length < size) continue;
      const drawn = probes.map(({ name, shape }) => {
        const data = Float32Array.from({ length: elements(shape) }, () => normal(next));
        return [name, { dtype: "float32", shape, data }] as const;
      });
      const results = await session.run({ ...feeds, ...Object.fromEntries(drawn) });
      for (const { output } of probes)
        for (const value of results[output]!.data as Float32Array) signal += value * value;
      for (const [weight, name] of gradients) {
        const gradient = results[name]!.data as Float32Array;
        const sum = diagonal.get(weight) ?? new Float64Array(gradient.length);
        for (let i = 0; i < sum.length; i++) sum[i]! += gradient[i]! * gradient[i]!;
        diagonal.set(weight, sum);
      }
    }
  } finally {
    await session.close();
  }
  return { diagonal, signal };
}

/** The model with the gradients, by the weights of its layers, of its float outputs times probes, which it is fed. */
function probing(model: Model) {
  const e = edit(model.graph);
  const facts = new Map<string, Fact>(inferModel(model));
  const g = new Emitter(e, facts, model.opsets);
  const outputs = model.graph.outputs.filter(({ name }) => facts.get(name)?.dtype === "float32");
  const probes = outputs.map(({ name: output }, i) => ({ output, name: `minnow.probe.${i}`, shape: g.shape(output) }));
  if (probes.length === 0)
    throw new MinnowError("No output of the model is float32.", {
      code: "quantize/no-float-output",
      mend: "Measure layers by a function instead.",
    });
  const inputs = probes.map(({ name, shape }) => ({
    name,
    type: { kind: "tensor", dtype: "float32", shape } as const,
  }));
  for (const { name, shape } of probes) facts.set(name, { dtype: "float32", shape });
  e.setInputs([...model.graph.inputs, ...inputs]);
  const sums = probes.map(({ output, name, shape }) =>
    g.reshape(
      g.sum(
        g.mul(output, name),
        shape.map((_, axis) => axis),
        false,
      ),
      [],
    ),
  );
  const loss = g.total(sums);
  e.setOutputs([...outputs, { name: loss }]);
  const wrt = layersOf(model).map(({ weight }) => weight);
  const { model: step, gradients } = differentiate({ ...model, graph: e.done() }, { loss, wrt });
  return { step, gradients, probes };
}

/** The noise that a weight brings to the outputs as it is in a candidate, as a share of the signal; 0 for one it has no curvature of. */
export async function weightNoise(
  base: Model,
  candidate: Model,
  weight: string,
  { diagonal, signal }: Curvature,
): Promise<number> {
  const curvature = diagonal.get(weight);
  const before = base.graph.weights.get(weight);
  if (curvature === undefined || before === undefined) return 0;
  const [x, y] = [await readFloats(before), await constantIn(candidate, weight)];
  let noise = 0;
  for (let i = 0; i < x.length; i++) noise += curvature[i]! * (y[i]! - x[i]!) ** 2;
  return noise / Math.max(signal, Number.MIN_VALUE);
}

/** What a model computes of constants under a name. */
async function constantIn(model: Model, name: string): Promise<Float32Array> {
  const { graph } = model;
  const constant = graph.weights.get(name);
  if (constant?.dtype === "float32") return readFloats(constant);
  if (!usesOf(graph).writer.has(name))
    throw new MinnowError("It is no float any more, so that its curvature says nothing.", {
      code: "quantize/no-curvature",
      at: `weight "${name}"`,
      mend: "Give storage formats alone, or measure by sqnr.",
    });
  const e = edit({ ...graph, valueInfo: new Map() });
  e.setInputs([]);
  e.setOutputs([{ name }]);
  const session = await openSession((await removeDeadCode().run({ ...model, graph: e.done() })).model);
  try {
    return (await session.run({}))[name]!.data as Float32Array;
  } finally {
    await session.close();
  }
}
