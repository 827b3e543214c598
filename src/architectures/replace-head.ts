import { MinnowError } from "../errors.ts";
import type { Dim } from "../ir/dim.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Model, Node, ValueInfo } from "../ir/graph.ts";
import { elements, int64s, smallValues } from "../ir/tensor.ts";
import { titleOf } from "../ir/walk.ts";
import { inferModel } from "../ops/infer.ts";
import {
  constantsToWeights,
  fixTargets,
  foldConstants,
  foldShapes,
  type PassResult,
  sequence,
  takeWeightsOffInputs,
  upgrade,
} from "../passes/index.ts";
import { type Linear, linearOf, put } from "../passes/linear.ts";
import { isReal, readNumbers, roundTo } from "../passes/numbers.ts";
import { initialised, torchDefault } from "./init.ts";

export interface ReplaceHeadOptions {
  /** Seed of the new weights; default 0. */
  readonly seed?: number;
  /** The output whose head is replaced; default the model's first. */
  readonly output?: string;
}

/**
 * Gives a classifier another number of classes: of the layer that computes them (the last Conv, Gemm or MatMul before the
 * output, whatever of Add, Softmax, pooling, Flatten or Reshape stands behind it) come new weights, uniform within ±1/√inputs,
 * and a bias of zeros; all other weights stay, for transfer learning. Weights keep their names. The model is lifted to opset
 * 18 first. `changes` says what was replaced; the same number of classes draws the layer anew. A MinnowError
 * (`head/none`) where no such layer leads to the output: the model is no classifier, or is quantized.
 *
 * @example
 * const { model } = await replaceHead(await load("mobilenet.onnx"), 5, { seed: 1 });
 */
export async function replaceHead(
  given: Model,
  classes: number,
  { seed = 0, output: named }: ReplaceHeadOptions = {},
): Promise<PassResult> {
  if (!Number.isSafeInteger(classes) || classes < 1)
    throw new MinnowError(`It is ${classes}.`, {
      code: "head/classes",
      at: "classes",
      mend: "Give a whole number from 1 on.",
    });
  const lifting = [
    upgrade(),
    takeWeightsOffInputs(),
    constantsToWeights(),
    foldShapes(),
    fixTargets(),
    foldConstants(),
  ];
  const lifted = await sequence(lifting).run(given);
  const { model } = lifted;
  const output = model.graph.outputs.find((o) => named === undefined || o.name === named);
  if (output === undefined)
    throw new MinnowError(`The model has no output "${named}".`, {
      code: "head/none",
      mend: `It has ${model.graph.outputs.map((o) => `"${o.name}"`).join(", ")}.`,
    });
  const e = edit(model.graph);
  const { layer, behind } = headOf(e, output.name);
  for (const node of behind) adapt(e, node, layer.outputs, classes);
  await redraw(e, layer, classes, seed);
  const next = declared({ ...model, graph: e.done() }, output.name, layer, classes);
  const what = `Replaced the head: ${layer.outputs} classes became ${classes}; the weights from its ${layer.inputs} inputs start anew.`;
  return { model: next, changes: [...lifted.changes, { what, at: titleOf(layer.node) }] };
}

/** The model with the shape its output has now, which must have the classes somewhere. */
function declared(model: Model, output: string, { node }: Linear, classes: number): Model {
  const outputs = (shape?: readonly Dim[]) =>
    model.graph.outputs.map((info): ValueInfo => {
      if (info.name !== output || info.type?.kind !== "tensor") return info;
      const { shape: _, ...type } = info.type;
      return { ...info, type: { ...type, ...(shape && { shape }) } };
    });
  const open = { ...model, graph: { ...model.graph, outputs: outputs() } };
  const shape = inferModel(open).get(output)?.shape;
  if (shape !== undefined && !shape.slice(1).includes(classes))
    throw new MinnowError(`With ${classes} classes in ${titleOf(node)} the output would be [${shape}].`, {
      code: "head/unknown",
      at: `output "${output}"`,
      mend: "What stands behind the head picks from the classes; name another output.",
    });
  return { ...model, graph: { ...model.graph, outputs: outputs(shape) } };
}

interface Head {
  readonly layer: Linear;
  /** What stands between it and the output, from the output on. */
  readonly behind: readonly Node[];
}

/** The linear layer that all ways to an output lead through, and no other between. */
function headOf(e: GraphEdit, output: string): Head {
  const layers = new Map<Node, Linear>();
  const behind = new Set<Node>();
  const stack = [output];
  for (let name = stack.pop(); name !== undefined; name = stack.pop()) {
    const node = e.writerOf(name);
    const layer = linearOf({ constant: (of) => e.constant(of) }, node);
    if (node === undefined || behind.has(node)) continue;
    if (layer !== undefined) layers.set(node, layer);
    else {
      behind.add(node);
      stack.push(...node.inputs.filter((input) => input !== "" && e.constant(input) === undefined));
    }
  }
  const [layer] = layers.values();
  if (layer !== undefined && layers.size === 1) return { layer, behind: [...behind] };
  const ends = [...layers.keys()].map(titleOf);
  throw new MinnowError(
    layer === undefined
      ? "No Conv, Gemm or MatMul of constant float weights leads to it."
      : `The way to it forks: it comes from ${ends.slice(0, 3).join(", ")}.`,
    {
      code: "head/none",
      at: `output "${output}"`,
      mend: "A head is replaced in float classifiers: take the model from before it was quantized, or name another output.",
    },
  );
}

/** Brings what a node behind the head holds to the new number of classes. */
function adapt(e: GraphEdit, node: Node, before: number, classes: number): void {
  const inputs = node.inputs.map((name, i) => {
    const tensor = e.constant(name);
    if (tensor === undefined) return name;
    if (node.op === "Reshape" && node.domain === "" && i === 1) {
      const sizes = smallValues(tensor) ?? [];
      const at = sizes.findIndex((size, axis) => axis > 0 && size === before);
      return at < 0 ? name : put({ edit: e }, name, int64s(sizes.with(at, classes)));
    }
    if (elements(tensor.shape) !== before || before === 1 || !isReal(tensor.dtype)) return name;
    if (node.op !== "Add" || node.domain !== "")
      throw new MinnowError(`It holds ${before} numbers of its own, one a class.`, {
        code: "head/unknown",
        at: titleOf(node),
        mend: "Take it out of the model first, for example by minnow optimize.",
      });
    const shape = tensor.shape.map((size) => (size === before ? classes : size));
    return put({ edit: e }, name, roundTo(tensor.dtype, shape, new Float32Array(classes)));
  });
  e.change(node, { inputs });
}

/** New weights for the layer, and zeros for its bias. */
async function redraw(
  e: GraphEdit,
  { node, weight, bias, outAxis }: Linear,
  classes: number,
  seed: number,
): Promise<void> {
  const [x = "", w = "", b = ""] = node.inputs;
  const shape = weight.shape.with(outAxis, classes);
  const fans = { in: elements(shape) / classes, out: classes, groups: 1 };
  const fresh = initialised(w, shape, torchDefault, { seed, fans });
  const cast = weight.dtype === "float32" ? fresh : roundTo(weight.dtype, shape, await readNumbers(fresh));
  const inputs = [x, put({ edit: e }, w, cast)];
  if (bias !== undefined) inputs.push(put({ edit: e }, b, roundTo(bias.dtype, [classes], new Float32Array(classes))));
  e.change(node, { inputs });
}
