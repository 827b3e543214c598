import { MinnowError } from "../errors.ts";
import { isFloat } from "../ir/dtype.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { elements, type TensorData, tensorFrom } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { inferModel } from "../ops/infer.ts";
import type { Sample } from "../ops/sample.ts";
import { openSession, type Session } from "../runtime/index.ts";
import { differentiate } from "../train/differentiate.ts";
import { feedsOf, modelOf } from "./single.ts";

/** How well a gradient agrees with differences. */
export interface GradientCheck {
  /** In what the operator was run: ONNX Runtime has no double kernel for some. */
  readonly precision: "float64" | "float32";
  /** What each input contributes to the slope along the direction: Σ gradient · direction. */
  readonly slopes: Readonly<Record<string, number>>;
  /** The slope by central differences, Richardson's extrapolation of two steps. */
  readonly measured: number;
  /** |Σ slopes − measured| over the sum of all |gradient · direction|. */
  readonly error: number;
}

export interface GradientCheckOptions {
  readonly seed?: number;
  /** What to try, in this order; the first that ONNX Runtime has a kernel for is taken. */
  readonly precisions?: readonly GradientCheck["precision"][];
  /** In operators that WebGPU has, too. Default false. */
  readonly portable?: boolean;
}

/**
 * Compares the gradient of a sample's float inputs with central differences along a random direction, in ONNX Runtime; the
 * loss is a random combination of all float outputs. In double where the runtime can, else in float32 with a larger step.
 *
 * @example
 * const { error } = await checkGradient({ op: "Tanh", inputs: [{ shape: [2, 3] }] });   // < 1e-6
 */
export async function checkGradient(
  sample: Sample,
  { seed = 1, precisions = ["float64", "float32"], portable = false }: GradientCheckOptions = {},
): Promise<GradientCheck> {
  for (const precision of precisions) {
    const model = lossOf(inPrecision(sample, precision), seed);
    const wrt = sample.inputs.flatMap((input, i) =>
      input && !input.constant && isFloat(input.dtype ?? "float32") && reaches(model, `x${i}`) ? [`x${i}`] : [],
    );
    const { model: both, gradients } = differentiate(model, { loss: "loss", wrt, portable });
    let session: Session;
    try {
      session = await openSession(both);
    } catch (error) {
      if (precision !== precisions.at(-1)) continue;
      throw error;
    }
    try {
      return { precision, ...(await compare(session, feedsOf(inPrecision(sample, precision), seed), gradients, seed)) };
    } finally {
      await session.close();
    }
  }
  throw new MinnowError("ONNX Runtime runs the operator in neither precision.", { code: "testing/precision" });
}

/** Whether the operator's rule gives this input a gradient: what is read as numbers has none. */
function reaches(model: Model, input: string): boolean {
  try {
    differentiate(model, { loss: "loss", wrt: [input] });
    return true;
  } catch (error) {
    if (error instanceof MinnowError && error.code === "train/unreached") return false;
    throw error;
  }
}

/** The sample with all float inputs in one type, and the others as constants: sizes are then known. */
function inPrecision(sample: Sample, dtype: "float32" | "float64"): Sample {
  const inputs = sample.inputs.map((input) => {
    if (input === undefined) return input;
    return isFloat(input.dtype ?? "float32") ? { ...input, dtype } : { ...input, constant: true };
  });
  return { ...sample, inputs };
}

/** The sample's node and, behind it, Σ over all float outputs of output · (random numbers). */
function lossOf(sample: Sample, seed: number): Model {
  const single = modelOf(sample, { seed });
  const opset = Math.max(single.opsets.get("") ?? 0, 18);
  const model = { ...single, opsets: new Map([...single.opsets, ["", opset] as const]) };
  const facts = inferModel(model);
  const e = edit(model.graph);
  const next = random(seed + 1000);
  const terms = model.graph.outputs.flatMap(({ name }) => {
    const fact = facts.get(name);
    if (fact?.shape === undefined || !isFloat(fact.dtype)) return [];
    const shape = fact.shape.map(Number);
    const weights = e.weight(
      "r",
      tensorFrom(
        fact.dtype,
        shape,
        Array.from({ length: elements(shape) }, () => 0.5 + next()),
      ),
    );
    const [product] = e.add({ op: "Mul", inputs: [name, weights] });
    return e.add({ op: "ReduceSum", inputs: [product as string], attrs: { keepdims: { type: "int", value: 0 } } });
  });
  e.add({ op: "Sum", inputs: terms, outputs: ["loss"] });
  e.setOutputs([{ name: "loss" }]);
  return { ...model, graph: e.done() };
}

async function compare(
  session: Session,
  feeds: Record<string, TensorData>,
  gradients: ReadonlyMap<string, string>,
  seed: number,
): Promise<Omit<GradientCheck, "precision">> {
  const next = random(seed + 2000);
  const first = await session.run(feeds);
  const double = (first["loss"] as TensorData).dtype === "float64";
  const step = double ? 1e-4 : 1e-2;
  const directions = new Map<string, number[]>();
  const slopes: Record<string, number> = {};
  let size = 0;
  for (const [name, gradient] of gradients) {
    const values = (first[gradient] as TensorData).data as Float64Array;
    const direction = Array.from(values, () => (next() < 0.5 ? -1 : 1) * (0.5 + next()));
    directions.set(name, direction);
    slopes[name] = values.reduce((sum, v, i) => sum + v * (direction[i] as number), 0);
    size += values.reduce((sum, v, i) => sum + Math.abs(v * (direction[i] as number)), 0);
  }
  const lossAt = async (by: number) => {
    const moved = { ...feeds };
    for (const [name, direction] of directions) moved[name] = shifted(feeds[name] as TensorData, direction, by);
    const { loss } = await session.run(moved, ["loss"]);
    return Number((loss as TensorData).data[0]);
  };
  const slope = async (h: number) => ((await lossAt(h)) - (await lossAt(-h))) / (2 * h);
  const measured = (4 * (await slope(step / 2)) - (await slope(step))) / 3;
  const total = Object.values(slopes).reduce((a, b) => a + b, 0);
  return { slopes, measured, error: Math.abs(total - measured) / Math.max(size, 1e-12) };
}

function shifted(value: TensorData, direction: readonly number[], by: number): TensorData {
  const data = (value.data as Float64Array).slice();
  for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) + by * (direction[i] as number);
  return { ...value, data };
}
