import { floatAttr, int } from "../ir/attrs.ts";
import { byteSize } from "../ir/dtype.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Model, Node } from "../ir/graph.ts";
import { elements, float32s, int64s, readFloats, type Tensor, tensorOf } from "../ir/tensor.ts";
import { usesOf } from "../ir/walk.ts";
import { type Json, optimize, type Pass, type PassResult, upgrade } from "../passes/index.ts";
import { LEAST_SCALE } from "./affine.ts";
import { measureCorrections } from "./bias-correction.ts";
import { numbersOf } from "./calibrate.ts";
import { type Corrections, insertQuantization } from "./insert.ts";
import { oneOf } from "./options.ts";
import { type Contraction, type Plan, planOf } from "./plan.ts";
import { type Normalization, normalizationsOf, normalize } from "./qat-norms.ts";
import { type LearnedSteps, StepSizes, widestSteps } from "./qat-steps.ts";
import { rangesBy } from "./ranges.ts";
import { checkCalibration, statisticsFor } from "./static.ts";
import type { QuantizeStaticOptions } from "./types.ts";
import { finiteFloats, partsOf } from "./weights.ts";

/** Options of {@link quantizationAware}. */
export interface QuantizationAwareOptions
  extends Pick<
    QuantizeStaticOptions,
    | "data"
    | "statistics"
    | "method"
    | "percentile"
    | "perChannel"
    | "activationType"
    | "nodesToExclude"
    | "biasCorrection"
    | "threads"
    | "signal"
    | "onProgress"
  > {
  /** Default `int8`. `int4`: levels −8 … 7, opset 21; activations stay in 8 bits. */
  readonly weightType?: "int8" | "int4";
  /**
   * Whether step sizes are learned with the weights (LSQ). Otherwise those of weights follow the largest magnitude of each
   * channel as it changes, so that none is cut off, and those of activations stay as calibrated. Default true.
   */
  readonly learnScales?: boolean;
  /**
   * Whether normalizations are folded into weights before training, with their running statistics. Otherwise those behind layers
   * stay, and are trained on the statistics of each batch; {@link freezeQuantized} folds them into steps and biases, and no
   * level changes. Where `perChannel` is false they are folded. Default true.
   */
  readonly foldBatchNorm?: boolean;
  /** The type of the first and the last layer's weights; papers keep them in 8 bits. Default: `weightType`. */
  readonly edgeWeightType?: "int8" | "int4";
}

/** Levels of weights: the type and the largest of them. */
const WEIGHTS = { int8: 127, int4: 7 } as const;

/** The largest bias in steps of what it is added to, at first: there is room for it to grow eightfold. */
const MOST_BIAS = 2 ** 28;

/**
 * A model that computes with rounded weights and activations and can be trained: float weights and calibrated values go through
 * QuantizeLinear and DequantizeLinear, whose gradients are straight-through. `train` needs to know nothing of it; afterwards
 * {@link freezeQuantized} makes of it what is shipped. It optimizes the model first: normalizations are folded into the weights
 * with their running statistics, as they will be computed, unless `foldBatchNorm` is false; without them a net needs smaller steps,
 * and clipped gradients, and with them their statistics have to be measured anew after training (`updateBatchNorm`).
 * Constants beside activations are rounded for good.
 * Throws a MinnowError `quantize/…` for wrong options at once, and for weights that are not finite when it runs.
 * Sources: Jacob et al., arXiv:1712.05877; Krishnamoorthi, arXiv:1806.08342; Esser et al., arXiv:1902.08153.
 *
 * @example
 * const { model: aware } = await quantizationAware({ data: photos.take(200), weightType: "int4" }).run(model);
 * const { model: trained } = await train(aware, { data: photos, epochs: 3, schedule: cosine(0.005), clipNorm: 1 });
 * const { model: small } = await freezeQuantized().run(trained);
 */
export function quantizationAware(options: QuantizationAwareOptions): Pass {
  oneOf("weightType", options.weightType, Object.keys(WEIGHTS));
  oneOf("edgeWeightType", options.edgeWeightType, Object.keys(WEIGHTS));
  checkCalibration(options);
  const { data, statistics, signal, onProgress, threads, ...rest } = options;
  return { name: "quantizationAware", options: rest as Json, run: (model) => prepared(model, options) };
}

async function prepared(given: Model, options: QuantizationAwareOptions): Promise<PassResult> {
  const { weightType = "int8", edgeWeightType, activationType = "uint8", learnScales = true, data } = options;
  const { foldBatchNorm = true, perChannel = true } = options;
  const optimized = await optimize().run(given);
  const narrow = weightType === "int4" || edgeWeightType === "int4";
  const lifted = narrow ? await upgrade({ to: 21 }).run(optimized.model) : undefined;
  const base = lifted?.model ?? optimized.model;
  const plan = planOf(base, options);
  if (plan.contractions.length === 0) {
    const nothing = { what: "Found no layer to quantize: none has a constant float32 weight.", at: "model" };
    return { model: given, changes: [nothing] };
  }
  const statistics = await statisticsFor(base, plan, options);
  const ranges = rangesBy(options.method ?? "minmax", statistics, options);
  const rounded = await insertQuantization(base, { ...plan, contractions: [] }, ranges, { activationType });
  const live = foldBatchNorm || !perChannel ? new Map() : await normalizationsOf(given, base, plan.contractions);
  let model = await withWeights(base, rounded.model, plan, live, options);
  if (options.biasCorrection === true && data !== undefined) {
    const corrections = await measureCorrections(base, model, plan, data, options);
    model = await withCorrections(model, plan, corrections, live);
  }
  const edges = edgeWeightType === undefined ? "" : `, first and last to ${edgeWeightType}`;
  const steps = learnScales ? "steps that learn" : "steps that follow the weights";
  return {
    model,
    changes: [
      ...optimized.changes,
      ...(lifted?.changes ?? []),
      ...rounded.changes,
      {
        what: `Rounded ${plan.contractions.length} weights to ${weightType}${edges} in the graph, with ${steps}.`,
        at: "model",
      },
      ...(live.size > 0 ? [{ what: `Kept ${live.size} normalizations behind rounded weights.`, at: "model" }] : []),
    ],
  };
}

/** Puts rounding around the weights of a plan, and lets steps learn. `model` has the activations rounded, `base` nothing. */
async function withWeights(
  base: Model,
  model: Model,
  plan: Plan,
  live: ReadonlyMap<string, Normalization>,
  { weightType = "int8", edgeWeightType = weightType, learnScales = true, perChannel = true }: QuantizationAwareOptions,
): Promise<Model> {
  const e = edit(model.graph);
  const learned = new StepSizes(e);
  const inputSteps = activationSteps(model, plan);
  const made = new Map<string, string>();
  const last = plan.contractions.length - 1;
  for (const [i, contraction] of plan.contractions.entries()) {
    const { weight: name, channel, rule } = contraction;
    const type = i === 0 || i === last ? edgeWeightType : weightType;
    const top = WEIGHTS[type];
    const norm = live.get(name);
    const axis = perChannel ? channel?.weight : undefined;
    const node = nodeOf(model, contraction.node);
    const key = `${type} ${axis} ${name}`;
    let to = made.get(key);
    if (to === undefined) {
      const tensor = norm?.weight ?? (base.graph.weights.get(name) as Tensor);
      if (norm !== undefined) e.setWeight(name, norm.weight);
      const least = norm === undefined ? await leastStep(base, contraction, inputSteps) : 0;
      const steps = learnScales
        ? learned.add(await stepsOf(name, tensor, axis, top, least))
        : followed(e, name, tensor, axis, top, least);
      const parameters = [steps, e.weight("z", zeros(type, axis === undefined ? [] : [tensor.shape[axis] ?? 1]))];
      const attrs = axis === undefined ? {} : { axis: int(axis) };
      const [levels = ""] = e.add({ op: "QuantizeLinear", name: "", inputs: [name, ...parameters], attrs });
      [to = ""] = e.add({ op: "DequantizeLinear", name: "", inputs: [levels, ...parameters], attrs });
      made.set(key, to);
    }
    const current = e.current(node) ?? node;
    e.change(node, { inputs: current.inputs.with(rule.weight, to) });
    if (norm !== undefined) normalize(e, node, contraction.bias?.index ?? 2, norm);
  }
  if (learnScales) learnActivations(base, model, plan, e, learned);
  learned.done();
  return { ...model, graph: e.done() };
}

/** Lets the steps of activations learn, those of a value and of what is picked from it together. */
function learnActivations(base: Model, model: Model, plan: Plan, e: GraphEdit, learned: StepSizes): void {
  const names = new Map<string, string>();
  for (const [value, pair] of pairsOf(model, plan)) {
    const { like, range, inside } = plan.values.get(value) ?? { like: value, range: undefined, inside: false };
    if (range !== undefined || plan.values.get(like)?.range !== undefined) continue;
    const [, scale = "", zero = ""] = pair[0]?.inputs ?? [];
    const [first, zeroPoint] = [numberIn(model, scale), numberIn(model, zero)];
    const top = (model.graph.weights.get(zero)?.dtype === "int8" ? 127 : 255) - zeroPoint;
    const [sharing = 1] = numbersOf(base, [value]);
    const most = inside ? largestInside(base, value, top) : undefined;
    const steps = { first, sharing, top: Math.max(1, top), ...(most !== undefined && { most }) };
    const name = names.get(like) ?? learned.add(steps);
    names.set(like, name);
    for (const node of pair) e.change(node, { inputs: node.inputs.with(1, name) });
  }
}

/** The step by which no level lies above what a clamp cuts off, so that rounding alone does what the clamp does. */
function largestInside(base: Model, value: string, top: number): number | undefined {
  const bound = base.graph.weights.get(usesOf(base.graph).writer.get(value)?.inputs[2] ?? "");
  if (bound?.bytes === undefined || bound.dtype !== "float32") return undefined;
  const step = new Float32Array(bound.bytes.slice().buffer)[0] as number;
  return step > 0 ? Math.fround((step / top) * (1 - 2 ** -22)) : undefined;
}

/** The nodes that round each value of a plan and turn it back, by its name. */
function pairsOf({ graph }: Model, plan: Plan): ReadonlyMap<string, readonly Node[]> {
  const { readers, writer } = usesOf(graph);
  const pairs = new Map<string, readonly Node[]>();
  for (const name of plan.values.keys()) {
    const own = readers.get(name)?.find(({ op, inputs }) => op === "QuantizeLinear" && inputs[0] === name);
    const back = own ? readers.get(own.outputs[0] ?? "")?.[0] : writer.get(name);
    const forth = own ?? writer.get(back?.inputs[0] ?? "");
    if (forth !== undefined && back !== undefined) pairs.set(name, [forth, back]);
  }
  return pairs;
}

const activationSteps = (model: Model, plan: Plan): ReadonlyMap<string, number> =>
  new Map([...pairsOf(model, plan)].map(([name, [node]]) => [name, numberIn(model, node?.inputs[1] ?? "")]));

/** The one number of a small constant. */
function numberIn({ graph }: Model, name: string): number {
  const { dtype, bytes } = graph.weights.get(name) ?? {};
  if (bytes === undefined) return 0;
  if (dtype === "float32") return new Float32Array(bytes.slice().buffer)[0] as number;
  return dtype === "int8" ? ((bytes[0] as number) << 24) >> 24 : (bytes[0] as number);
}

/** A node of the model before its activations were rounded, as it is now: an output of the model has moved behind the rounding. */
function nodeOf({ graph }: Model, { op, outputs }: Node): Node {
  const { writer } = usesOf(graph);
  const last = writer.get(outputs[0] ?? "") as Node;
  if (last.op === op) return last;
  return writer.get(writer.get(last.inputs[0] ?? "")?.inputs[0] ?? "") as Node;
}

/** The step of a weight under which its bias fits into 32 bits. */
async function leastStep(
  base: Model,
  { input, bias }: Contraction,
  inputSteps: ReadonlyMap<string, number>,
): Promise<number> {
  const tensor = base.graph.weights.get(bias?.name ?? "");
  if (tensor?.dtype !== "float32") return 0;
  const largest = (await readFloats(tensor)).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return largest / ((inputSteps.get(input) ?? 1) * MOST_BIAS);
}

async function stepsOf(
  name: string,
  tensor: Tensor,
  axis: number | undefined,
  top: number,
  least: number,
): Promise<LearnedSteps> {
  const first = widestSteps(await finiteFloats(name, tensor), partsOf(tensor.shape, axis), top);
  const sharing = elements(tensor.shape) / first.length;
  return { first: axis === undefined ? (first[0] as number) : first, least, top, sharing };
}

/** Steps that put the top level at the largest magnitude of each channel, whatever the weight becomes. */
function followed(
  e: GraphEdit,
  name: string,
  { shape }: Tensor,
  axis: number | undefined,
  top: number,
  least: number,
): string {
  const others = [...shape.keys()].filter((a) => a !== axis);
  const number = (value: number) => e.weight("c", float32s([], [value]));
  const apply = (op: string, ...inputs: string[]) =>
    e.add({ op, name: "", inputs, attrs: op === "ReduceMax" ? { keepdims: int(0) } : {} })[0] as string;
  const largest = apply("ReduceMax", apply("Abs", name), e.weight("axes", int64s(others)));
  return apply("Max", apply("Div", largest, number(top)), number(Math.max(LEAST_SCALE, least)));
}

const zeros = (type: "int8" | "int4", shape: readonly number[]): Tensor =>
  tensorOf(type, shape, new Uint8Array(byteSize(type, elements(shape))));

/** Adds what was measured to the biases. */
async function withCorrections(
  model: Model,
  plan: Plan,
  corrections: Corrections,
  live: ReadonlyMap<string, Normalization>,
): Promise<Model> {
  const e = edit(model.graph);
  const { readers } = usesOf(model.graph);
  for (const { node, bias, channel, weight } of [...plan.contractions, ...plan.excluded]) {
    if (live.has(weight)) continue;
    const correction = corrections.get(node.outputs[0] ?? "");
    if (bias === undefined || channel === undefined || correction === undefined) continue;
    const old = model.graph.weights.get(bias.name);
    if (bias.name !== "" && (old?.dtype !== "float32" || elements(old.shape) !== correction.length)) continue;
    const values = old ? Float64Array.from(await readFloats(old)) : new Float64Array(correction.length);
    const factor = floatAttr(node, "beta", 1);
    if (factor !== 0) for (const [c, more] of correction.entries()) values[c] = (values[c] as number) + more / factor;
    const tensor = float32s(old?.shape ?? [values.length], values);
    if (old !== undefined && readers.get(bias.name)?.length === 1) e.setWeight(bias.name, tensor);
    else {
      const now = nodeOf(model, node);
      const inputs = [...now.inputs];
      while (inputs.length < bias.index) inputs.push("");
      inputs[bias.index] = e.weight("bias", tensor);
      e.change(now, { inputs });
    }
  }
  return { ...model, graph: e.done() };
}
