import { int } from "../ir/attrs.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Model, Node } from "../ir/graph.ts";
import { elements, float32s, type Tensor, type TensorData, tensorFrom, tensorOf } from "../ir/tensor.ts";
import { titleOf, usesOf } from "../ir/walk.ts";
import { ruleOf } from "../ops/index.ts";
import { inferModel } from "../ops/infer.ts";
import { type Change, type Pass, type PassResult, removeDeadCode } from "../passes/index.ts";
import { merged } from "../passes/pass.ts";
import { openSession } from "../runtime/index.ts";
import { roundEven } from "./affine.ts";
import { foldNormalizations } from "./qat-norms.ts";
import { finiteFloats } from "./weights.ts";

const MOST_BIAS = 2 ** 31 - 128;
const INT8 = 3;

/**
 * Makes of a model that rounds its weights in the graph the file that is shipped: weights become int8 constants, or int4 ones
 * that a Cast turns into int8 when the model is loaded, step sizes become constants, biases int32 with the step of what they are
 * added to. ONNX Runtime runs the result in integers, as that of `quantizeStatic`. Outputs are those of the model given, but for
 * the biases, which move by at most half such a step. A model in which nothing is rounded comes back as it was.
 *
 * @example
 * const { model: small } = await freezeQuantized().run(trained);
 */
export function freezeQuantized(): Pass {
  return { name: "freezeQuantized", options: {}, run: frozen };
}

async function frozen(given: Model): Promise<PassResult> {
  const model = await foldNormalizations(given);
  const values = await constantsOf(model);
  const roundings = model.graph.nodes.filter(
    ({ op, outputs }) => op === "QuantizeLinear" && values.has(outputs[0] ?? ""),
  );
  if (roundings.length === 0) return { model: given, changes: [] };
  const e = edit(model.graph);
  const freezer = new Freezer(model, e, values);
  for (const node of model.graph.nodes)
    if (node.op === "QuantizeLinear" && !roundings.includes(node)) freezer.parameters(node);
    else if (node.op === "DequantizeLinear") freezer.dequantize(node);
  for (const node of model.graph.nodes) await freezer.bias(node);
  const done = await removeDeadCode().run({ ...model, graph: e.done() });
  const first = roundings[0] as Node;
  const what = "Made a constant of a rounded weight.";
  return {
    model: done.model,
    changes: merged([...roundings.map((node) => ({ what, at: titleOf(node) })), ...freezer.changes]).map((change) =>
      change.at === "" ? { ...change, at: titleOf(first) } : change,
    ),
  };
}

/** What roundings read and write that follows from weights alone, as ONNX Runtime computes it. Levels of 4 bits come as int8. */
async function constantsOf(model: Model): Promise<ReadonlyMap<string, TensorData>> {
  const { graph } = model;
  const facts = inferModel(model);
  const known = new Set(graph.weights.keys());
  for (const { name } of graph.inputs) known.delete(name);
  const nodes: Node[] = [];
  for (const node of graph.nodes) {
    const rule = ruleOf(node);
    if (node.op === "DequantizeLinear" || rule === undefined || rule.deterministic === false) continue;
    if (!node.inputs.every((name) => name === "" || known.has(name))) continue;
    nodes.push(node);
    for (const name of node.outputs) known.add(name);
  }
  const computed = new Set(nodes.flatMap(({ outputs }) => outputs));
  const wanted = new Map<string, string>();
  const e = edit({ ...graph, nodes, valueInfo: new Map() });
  for (const { op, inputs } of graph.nodes)
    if (op === "QuantizeLinear" || op === "DequantizeLinear")
      for (const name of inputs)
        if (computed.has(name) && !wanted.has(name)) {
          const narrow = facts.get(name)?.dtype === "int4";
          wanted.set(name, narrow ? (e.add({ op: "Cast", inputs: [name], attrs: { to: int(INT8) } })[0] ?? "") : name);
        }
  if (wanted.size === 0) return new Map();
  e.setInputs([]);
  e.setOutputs([...wanted.values()].map((name) => ({ name })));
  const needed = await removeDeadCode().run({ ...model, graph: e.done() });
  const session = await openSession(needed.model, { threads: 1 });
  try {
    const results = await session.run({}, [...wanted.values()]);
    return new Map([...wanted].map(([name, as]) => [name, results[as] as TensorData]));
  } finally {
    await session.close();
  }
}

class Freezer {
  readonly changes: Change[] = [];
  readonly #model: Model;
  readonly #edit: GraphEdit;
  readonly #values: ReadonlyMap<string, TensorData>;
  /** Names of constants by what they hold, so that equal ones stand once. */
  readonly #shared = new Map<string, string>();
  /** The numbers of step sizes, by the name of what they turn back. */
  readonly #steps = new Map<string, Float32Array>();

  constructor(model: Model, e: GraphEdit, values: ReadonlyMap<string, TensorData>) {
    this.#model = model;
    this.#edit = e;
    this.#values = values;
  }

  /** Makes constants of the step size and the zero point of a rounding. */
  parameters(node: Node, dtype?: "int8"): { inputs: string[]; scales: Float32Array | undefined } {
    const [x = "", scale = "", zero = ""] = node.inputs;
    const step = this.#values.get(scale);
    const whole = this.#edit.constant(zero);
    const single = step !== undefined && elements(step.shape) === 1;
    const scales = (step?.data as Float32Array | undefined) ?? floatsIn(this.#edit.constant(scale));
    const inputs = [
      x,
      step ? this.#constant("s", float32s(single ? [] : step.shape, step.data as Float32Array)) : scale,
    ];
    if (whole !== undefined) {
      const type = dtype ?? whole.dtype;
      const shape = single ? [] : whole.shape;
      const changed = type !== whole.dtype || shape.length !== whole.shape.length;
      const levels = type === whole.dtype ? (whole.bytes as Uint8Array) : new Uint8Array(elements(whole.shape));
      inputs.push(changed ? this.#constant("z", tensorOf(type, shape, levels.slice())) : zero);
    }
    const current = this.#edit.current(node) ?? node;
    this.#edit.change(node, { inputs: inputs.with(0, current.inputs[0] ?? x) });
    return { inputs, scales };
  }

  /** Makes a constant of the levels that are turned back, if they are such. */
  dequantize(node: Node): void {
    const [levels = ""] = node.inputs;
    const fixed = this.#values.get(levels);
    const narrow = fixed !== undefined && inferModel(this.#model).get(levels)?.dtype === "int4";
    const { scales } = this.parameters(node, narrow ? "int8" : undefined);
    if (scales !== undefined) this.#steps.set(node.outputs[0] ?? "", scales);
    if (fixed === undefined) return;
    const now = this.#edit.current(node) ?? node;
    this.#edit.change(node, { inputs: now.inputs.with(0, this.#levels(levels, fixed, narrow)) });
  }

  /** The name of levels as a constant: that of the weight they were rounded from, where nothing else reads it. */
  #levels(name: string, { shape, dtype, data }: TensorData, narrow: boolean): string {
    const known = this.#shared.get(`levels ${name}`);
    if (known !== undefined) return known;
    const { writer, readers } = usesOf(this.#model.graph);
    const weight = writer.get(name)?.inputs[0] ?? "";
    const values = data as Int8Array;
    const tensor = narrow ? tensorOf("int4", shape, nibbles(values)) : tensorFrom(dtype, shape, values);
    const alone = this.#edit.constant(weight) !== undefined && readers.get(weight)?.length === 1;
    if (alone) this.#edit.setWeight(weight, tensor);
    const stored = alone ? weight : this.#edit.weight(name, tensor);
    const to = narrow
      ? (this.#edit.add({ op: "Cast", name: "", inputs: [stored], attrs: { to: int(INT8) } })[0] ?? "")
      : stored;
    this.#shared.set(`levels ${name}`, to);
    return to;
  }

  /** Rounds the bias of a contraction of rounded operands to int32. */
  async bias(node: Node): Promise<void> {
    const rule = ruleOf(node)?.quant;
    if (rule?.kind !== "contraction" || rule.bias === undefined) return;
    const name = node.inputs[rule.bias] ?? "";
    const [input] = this.#steps.get(node.inputs[0] ?? "") ?? [];
    const steps = this.#steps.get(node.inputs[rule.weight] ?? "");
    const bias = this.#model.graph.weights.get(name);
    if (input === undefined || steps === undefined || bias?.dtype !== "float32") return;
    const values = await finiteFloats(name, bias);
    if (bias.shape.length !== 1 || (steps.length > 1 && steps.length !== values.length)) return;
    const scales = steps.map((step) => Math.fround(step * input));
    const levels = Array.from(values, (value, c) => roundEven(value / (scales[scales.length > 1 ? c : 0] as number)));
    if (levels.some((level) => Math.abs(level) > MOST_BIAS)) {
      this.changes.push({ what: "Left a bias in float, which does not fit into 32 bits.", at: titleOf(node) });
      return;
    }
    const tensor = tensorFrom("int32", bias.shape, levels);
    const alone = usesOf(this.#model.graph).readers.get(name)?.length === 1;
    if (alone) this.#edit.setWeight(name, tensor);
    const scale = this.#constant("s", float32s(scales.length > 1 ? [scales.length] : [], scales));
    const [to = ""] = this.#edit.add({
      op: "DequantizeLinear",
      name: "",
      inputs: [alone ? name : this.#edit.weight("b", tensor), scale],
      attrs: scales.length > 1 ? { axis: int(0) } : {},
    });
    const now = this.#edit.current(node) ?? node;
    this.#edit.change(node, { inputs: now.inputs.with(rule.bias, to) });
  }

  #constant(letter: string, tensor: Tensor): string {
    const key = `${tensor.dtype} ${tensor.shape} ${tensor.bytes}`;
    const found = this.#shared.get(key) ?? this.#edit.weight(letter, tensor);
    this.#shared.set(key, found);
    return found;
  }
}

function floatsIn(tensor: Tensor | undefined): Float32Array | undefined {
  if (tensor?.bytes === undefined || tensor.dtype !== "float32") return undefined;
  return new Float32Array(tensor.bytes.slice().buffer);
}

/** Levels from −8 to 7, two to a byte, the first in the lower half. */
function nibbles(levels: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(levels.length / 2));
  for (let i = 0; i < levels.length; i++)
    bytes[i >> 1] = (bytes[i >> 1] as number) | (((levels[i] as number) & 15) << (4 * (i % 2)));
  return bytes;
}
