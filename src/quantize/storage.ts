import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { byteSize, codeOf } from "../ir/dtype.ts";
import type { Model, Node } from "../ir/graph.ts";
import { elements, float32s, lazyTensor, type Tensor, tensorOf } from "../ir/tensor.ts";
import { titleOf } from "../ir/walk.ts";
import { toHalf } from "../numeric/half.ts";
import { ruleOf } from "../ops/index.ts";
import { type Pass, type PassResult, upgrade } from "../passes/index.ts";
import { rewriting, type Site } from "../passes/rewrite.ts";
import { measureCorrections } from "./bias-correction.ts";
import { channelsOf } from "./channels.ts";
import { insertQuantization } from "./insert.ts";
import { type Plan, planOf } from "./plan.ts";
import type { CalibrateOptions, StoreWeightsOptions } from "./types.ts";
import { finiteFloats, quantizeWeight } from "./weights.ts";

/** Weights of fewer elements stay as they are: what would stand before them costs more than it saves. */
const LEAST_ELEMENTS = 512;
/** Channels of fewer elements go into fp16: a scale for each would cost as much, and few numbers round badly. */
const LEAST_PER_CHANNEL = 65;
/** ONNX Runtime folds no constant larger than this. */
const MOST_BYTES = 2 ** 30;
/** Larger weights are computed when the file is written, again and again, instead of being kept. */
const KEPT_BYTES = 2 ** 25;

/**
 * Stores float32 weights in 8 or 16 bits and turns them back into float in the graph: Cast, and for int8 Mul by a scale.
 * ONNX Runtime computes that once, when it loads the model, so that it runs at float speed on every runtime. It costs
 * time to load and, while it loads, about twice the memory of the float model; the file is a quarter or half. A weight
 * that several nodes read stays one. With int8, vectors (biases) stay float, and weights with few numbers a channel
 * (depthwise kernels) become fp16, where 8 bits would save little and cost much. It needs no data, but for the correction
 * of biases.
 * Throws a MinnowError for weights over 1 GiB (`quantize/too-large`), which would be turned back at every run, and for
 * such that hold NaN or infinity (`quantize/broken-weight`).
 *
 * @example
 * const { model: small } = await storeWeights({ to: "int8", biasCorrection: true, data: photos.take(200) }).run(model);
 */
export function storeWeights(options: StoreWeightsOptions): Pass {
  const { to, perChannel = true, biasCorrection = false, data } = options;
  if (to !== "int8" && to !== "fp16")
    throw new MinnowError(`Weights cannot be stored as ${JSON.stringify(to)}.`, {
      code: "quantize/option",
      at: "to",
      mend: 'It can be "int8" or "fp16".',
    });
  if (biasCorrection && data === undefined)
    throw new MinnowError("Bias correction measures on examples, and there is no data.", {
      code: "quantize/no-data",
      at: "biasCorrection",
      mend: "Give 100 to 500 typical examples as data.",
    });
  const pass = rewriting("storeWeights", async (site) => {
    for (const [name, weight] of site.graph.weights) {
      if (!isStorable(site, name, weight)) continue;
      if (to === "int8" && weight.shape.length < 2) continue;
      const axis = perChannel ? axisOf(site, name, weight) : undefined;
      const perScale = elements(weight.shape) / (axis === undefined ? 1 : weight.shape[axis]!);
      if (to === "fp16" || perScale < LEAST_PER_CHANNEL) await storeHalf(site, name, weight);
      else await storeInt8(site, name, weight, axis);
    }
  });
  return {
    name: "storeWeights",
    options: { to, perChannel, biasCorrection },
    run: (model) => (biasCorrection ? corrected(model, pass, data!, options) : pass.run(model)),
  };
}

/** Stores the weights, and takes what that moved the mean of each channel by off the biases. */
async function corrected(given: Model, pass: Pass, data: Dataset, options: CalibrateOptions): Promise<PassResult> {
  const { model: base, changes } = await upgrade().run(given);
  const { model, changes: stored } = await pass.run(base);
  const { contractions } = planOf(base);
  if (model === base || contractions.length === 0) return { model: model === base ? given : model, changes: stored };
  const floats: Plan = {
    contractions: [],
    excluded: contractions,
    values: new Map(),
    nodes: new Set(),
    constants: new Set(),
    left: [],
  };
  const corrections = await measureCorrections(base, model, floats, data, options);
  const { model: right } = await insertQuantization(model, floats, new Map(), {}, corrections);
  const what = "Corrected biases by the mean error of each channel.";
  return { model: right, changes: [...changes, ...stored, { what, at: titleOf(contractions[0]!.node) }] };
}

function isStorable({ edit, graph }: Site, name: string, { dtype, shape }: Tensor): boolean {
  if (dtype !== "float32" || elements(shape) < LEAST_ELEMENTS) return false;
  if (edit.isOutput(name) || graph.inputs.some((input) => input.name === name)) return false;
  if (byteSize(dtype, elements(shape)) > MOST_BYTES)
    throw new MinnowError(
      `It takes ${byteSize(dtype, elements(shape))} bytes; ONNX Runtime does not compute constants over 1 GiB at load, so that it would be turned into float at every run.`,
      {
        code: "quantize/too-large",
        at: `weight "${name}"`,
        mend: "Leave the model in float, or quantize it statically.",
      },
    );
  return true;
}

/** The axis of the channels for who reads the weight, else the first; none for vectors. */
function axisOf(site: Site, name: string, { shape }: Tensor): number | undefined {
  if (shape.length < 2) return undefined;
  for (const node of site.edit.readersOf(name)) {
    const axis = contractionAxis(site, node, name, shape.length);
    if (axis !== undefined) return axis;
  }
  return 0;
}

function contractionAxis({ model, inner }: Site, node: Node, name: string, rank: number): number | undefined {
  const quant = ruleOf(node)?.quant;
  if (quant?.kind !== "contraction" || node.inputs[quant.weight] !== name || inner) return undefined;
  return channelsOf(model, node, quant.weight, rank)?.weight;
}

const FLOAT = { to: int(codeOf("float32")) };

async function storeInt8(site: Site, name: string, weight: Tensor, axis: number | undefined): Promise<void> {
  const quantize = () => quantizeWeight(name, weight, { type: "int8", axis, symmetric: true });
  const { scales, tensor } = await quantize();
  const stored = kept(weight, tensor, async () => (await quantize()).tensor.read());
  const shape = axis === undefined ? [] : weight.shape.slice(axis).map((size, i) => (i === 0 ? size : 1));
  const { edit } = site;
  const [levels, scale] = [edit.weight("w8", stored), edit.weight("s", float32s(shape, scales))];
  edit.removeWeight(name);
  const [floats] = edit.add({ op: "Cast", name: "", inputs: [levels], outputs: [edit.fresh("c")], attrs: FLOAT });
  edit.add({ op: "Mul", name: "", inputs: [floats!, scale], outputs: [name] });
  site.note(
    "Stored a weight as int8, which Cast and Mul turn into float when the model is loaded.",
    `weight "${name}"`,
  );
}

async function storeHalf(site: Site, name: string, weight: Tensor): Promise<void> {
  const halve = async () => {
    const bits = Uint16Array.from(await finiteFloats(name, weight), toHalf);
    return new Uint8Array(bits.buffer);
  };
  const values = await finiteFloats(name, weight);
  if (values.some((value) => Math.abs(value) > 65504)) {
    site.note("Left a weight as it is: it holds numbers that float16 does not reach.", `weight "${name}"`);
    return;
  }
  const stored = kept(weight, tensorOf("float16", weight.shape, await halve()), halve);
  const { edit } = site;
  const half = edit.weight("w16", stored);
  edit.removeWeight(name);
  edit.add({ op: "Cast", name: "", inputs: [half], outputs: [name], attrs: FLOAT });
  site.note("Stored a weight as float16, which Cast turns into float when the model is loaded.", `weight "${name}"`);
}

/** What was computed, or for a large weight how to compute it again. */
const kept = (weight: Tensor, made: Tensor, again: () => Promise<Uint8Array>): Tensor =>
  byteSize(weight.dtype, elements(weight.shape)) > KEPT_BYTES ? lazyTensor(made.dtype, made.shape, again) : made;
