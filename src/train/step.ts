import { MinnowError } from "../errors.ts";
import type { DType } from "../ir/dtype.ts";
import { edit, inOrder } from "../ir/edit.ts";
import type { Graph, Model, ValueInfo } from "../ir/graph.ts";
import type { Tensor, TensorData } from "../ir/tensor.ts";
import { readsOf } from "../ir/walk.ts";
import { parameterWeights } from "../measure/parameters.ts";
import { axesOf } from "../ops/axes.ts";
import type { Fact } from "../ops/define.ts";
import { Emitter } from "../ops/emit.ts";
import { gradientOf } from "../ops/gradients.ts";
import { ruleOf } from "../ops/index.ts";
import { applied, inferModel } from "../ops/infer.ts";
import { removeUnread } from "../passes/unread.ts";
import { backward } from "./differentiate.ts";
import { type Mask, trainingForms } from "./forms.ts";
import type { WeightMasks } from "./masks.ts";
import { type Carried, updates } from "./update.ts";

/** What a loss is given of the model, and how it asks for more. */
export interface LossIo {
  /** The model's inputs. */
  readonly inputs: readonly string[];
  /** The model's outputs, by name. */
  readonly outputs: Readonly<Record<string, string>>;
  /** Declares something each batch must be fed with besides the model's inputs. */
  input(name: string, dtype: DType, shape: readonly number[]): string;
}

/** Emits the loss of a batch: one float. */
export interface Loss {
  readonly name: string;
  build(g: Emitter, io: LossIo): string;
  /**
   * Computes what `build` asked for and no example holds, of a batch as the step is fed with it; `epoch` counts from 0, and
   * is left out where the batch is none that is learned from.
   */
  supply?(batch: {
    readonly feeds: Readonly<Record<string, TensorData>>;
    /** Where the examples stand in the dataset. */
    readonly indices: readonly number[];
    readonly epoch?: number;
  }): Promise<Readonly<Record<string, TensorData>>>;
}

/** What an optimizer is given of one weight: names of values in the graph. */
export interface Update {
  /** The name of the weight in the model; its values as they are, in its own shape, go by that name. */
  readonly name: string;
  /** The weight as it is, flat. */
  readonly weight: string;
  readonly gradient: string;
  /** The optimizer's state of this weight, in the order of its `slots`. */
  readonly slots: readonly string[];
  /** Learning rate, a scalar. */
  readonly lr: string;
  /** How many updates there were, this one included: a float scalar. */
  readonly step: string;
  readonly weightDecay: number;
}

/** Emits what a weight and its state become. */
export interface Optimizer {
  readonly name: string;
  /** What it keeps for each weight, in the weight's shape, zeros at first. */
  readonly slots: readonly string[];
  update(g: Emitter, of: Update): { readonly weight: string; readonly slots: readonly string[] };
}

export interface StepOptions {
  readonly loss: Loss;
  readonly optimizer: Optimizer;
  /** Examples a step. */
  readonly batch: number;
  /** Which weights are trained; default all the loss depends on. */
  readonly trainable?: (weight: string) => boolean;
  /** Per weight: a factor on the learning rate (default 1) and the weight decay (default 0). */
  readonly group?: (
    weight: string,
    shape: readonly number[],
  ) => { readonly lr?: number; readonly weightDecay?: number };
  /** Scales all gradients down where their norm together is above this. */
  readonly clipNorm?: number;
  /** Decay of an exponential moving average of the weights. */
  readonly ema?: number;
  /** Weights that a mask is held over; carried like the weights, all ones at first. */
  readonly masks?: Pick<WeightMasks, "weights" | "movement">;
  /** Computes activations again in the backward pass rather than keeping them: less memory, about a third more time. */
  readonly recompute?: boolean;
  /** Emits only what ONNX Runtime has on WebGPU too; a little slower elsewhere. */
  readonly portable?: boolean;
  /** `gather`: adds the gradients, divided by `parts`, to sums that are carried along, and updates nothing. `apply`: updates by the sums and this batch. */
  readonly accumulate?: { readonly parts: number; readonly phase: "gather" | "apply" };
}

/** An input that every batch feeds. */
export interface Feed {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The name the loss asked for it by; `name` is another where the model has an input of that name. */
  readonly asked?: string;
}

/** The graph of one training step, and the names by which it is run. */
export interface TrainStep {
  readonly model: Model;
  readonly batch: number;
  /** What each batch feeds: the model's inputs, then what the loss asks for. */
  readonly feeds: readonly Feed[];
  readonly masks: readonly Mask[];
  readonly carried: readonly Carried[];
  readonly loss: string;
  /** Norm of all gradients together, before clipping; only where they are clipped. */
  readonly gradientNorm?: string;
  /** The model's outputs for the batch, in training mode, by their own names. */
  readonly outputs: Readonly<Record<string, string>>;
}

/**
 * The graph that does one step of training: forward in training mode, loss, backward, optimizer. Weights, statistics and the
 * optimizer's state are inputs, and what they become are outputs; ONNX Runtime runs it like any other model.
 * `model` has fixed sizes (`bindSizes`). Throws `train/no-gradient` where an operator has none, `train/nothing` where no
 * weight is left to train.
 *
 * @example
 * const step = trainingStep(await bindSizes(model, 32), { loss: crossEntropy(), optimizer: sgd({ momentum: 0.9 }), batch: 32 });
 */
export function trainingStep(model: Model, options: StepOptions): TrainStep {
  const wanted = trainableWeights(model, options.trainable);
  const opened = withoutValues(model, wanted);
  const facts = new Map<string, Fact>(inferModel(opened));
  const e = edit(opened.graph);
  const opsets = new Map([...model.opsets, ["com.microsoft", model.opsets.get("com.microsoft") ?? 1] as const]);
  const g = new Emitter(e, facts, opsets);
  g.portable = options.portable ?? false;
  const inputs: ValueInfo[] = [...model.graph.inputs];
  const declare = (name: string, dtype: DType, shape: readonly number[]): string => {
    const fresh = e.fresh(name);
    inputs.push({ name: fresh, type: { kind: "tensor", dtype, shape } });
    facts.set(fresh, { dtype, shape });
    return fresh;
  };
  const { statistics, masks } = trainingForms(g, new Set(wanted), declare);
  const outputs = Object.fromEntries(model.graph.outputs.map(({ name }) => [name, name]));
  const asked = new Map<string, string>();
  const loss = options.loss.build(g, {
    inputs: model.graph.inputs.map(({ name }) => name),
    outputs,
    input: (name, dtype, shape) => {
      const known = asked.get(name) ?? declare(name, dtype, shape);
      asked.set(name, known);
      return known;
    },
  });
  const trained = reached(g, wanted, loss);
  if (trained.length === 0) throw nothing(wanted.length);
  const gradients = backward(g, facts, loss, trained, options);
  const { carried, gradientNorm } = updates({ g, model, declare }, gradients, statistics, options);
  const left = wanted.filter((name) => !gradients.has(name));
  const results = [loss, gradientNorm, ...Object.values(outputs), ...carried.map((c) => c.output)];
  removeUnread(e, new Set(results));
  e.setInputs(inputs);
  e.setOutputs([...new Set(results.filter((name) => name !== undefined))].map((name) => ({ name })));
  return {
    model: { ...model, graph: withWeights(e.done(), model, left), opsets },
    batch: options.batch,
    feeds: [
      ...model.graph.inputs.map(({ name }) => ({ name, dtype: g.dtype(name), shape: g.shape(name) })),
      ...[...asked].map(([by, name]) => ({ name, dtype: g.dtype(name), shape: g.shape(name), asked: by })),
    ],
    masks,
    carried,
    loss,
    ...(gradientNorm && { gradientNorm }),
    outputs,
  };
}

/** The float32 parameters that may be trained: those that nodes read as tensors, and not as numbers. */
function trainableWeights(model: Model, trainable: StepOptions["trainable"]): string[] {
  const numbers = readAsNumbers(model);
  return [...parameterWeights(model).keys()].filter(
    (name) => model.graph.weights.get(name)?.dtype === "float32" && !numbers.has(name) && (trainable?.(name) ?? true),
  );
}

/** The model with some weights as inputs: their numbers are not known any more. */
function withoutValues(model: Model, names: readonly string[]): Model {
  const weights = new Map(model.graph.weights);
  for (const name of names) weights.delete(name);
  const inputs = names.map((name): ValueInfo => {
    const { dtype, shape } = model.graph.weights.get(name) as Tensor;
    return { name, type: { kind: "tensor", dtype, shape } };
  });
  return { ...model, graph: { ...model.graph, weights, inputs: [...model.graph.inputs, ...inputs] } };
}

/** The graph with weights as constants again. */
function withWeights(graph: Graph, model: Model, names: readonly string[]): Graph {
  const weights = new Map(graph.weights);
  for (const name of names) weights.set(name, model.graph.weights.get(name) as Tensor);
  return { ...graph, weights };
}

/** Those of the weights that the loss depends on in a way that has a gradient. */
function reached(g: Emitter, weights: readonly string[], loss: string): string[] {
  const needed = new Set([loss]);
  for (const node of inOrder([...g.edit.nodes()]).toReversed()) {
    const rule = gradientOf(node);
    if ((rule === undefined || !("none" in rule)) && node.outputs.some((name) => needed.has(name)))
      for (const name of readsOf(node)) needed.add(name);
  }
  return weights.filter((name) => needed.has(name));
}

/** Float weights that some node reads as numbers, not as a tensor: scales of a Resize, bounds. */
function readAsNumbers(model: Model): ReadonlySet<string> {
  const facts = inferModel(model);
  const found = new Set<string>();
  for (const node of model.graph.nodes) {
    const rule = ruleOf(node);
    if (rule?.axes === undefined) continue;
    const n = applied(node, model.opsets, facts);
    const axes = axesOf({ ...n, results: node.outputs.map((name) => facts.get(name)) });
    if ("frozen" in axes) continue;
    node.inputs.forEach((name, i) => {
      if (axes.pattern.inputs[i]?.length === 0 && (facts.get(name)?.shape?.length ?? 0) > 0) found.add(name);
    });
  }
  return found;
}

const nothing = (candidates: number): MinnowError =>
  new MinnowError(
    candidates === 0
      ? "None of the model's weights is a float32 weight that is to be trained."
      : `The loss depends on none of the ${candidates} weights that are to be trained.`,
    { code: "train/nothing", mend: "Freeze fewer weights, or check that the loss reads the model's output." },
  );
