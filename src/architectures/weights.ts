import { MinnowError } from "../errors.ts";
import { byteSize, isFloat } from "../ir/dtype.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";

import { elements, lazyTensor, SMALL_BYTES, type Tensor, tensorOf } from "../ir/tensor.ts";
import { isReal, readNumbers, roundTo } from "../passes/numbers.ts";

/** A weight whose shape is another in the checkpoint than in the model, both as PyTorch has them. */
export interface Mismatch {
  readonly name: string;
  readonly model: readonly number[];
  readonly checkpoint: readonly number[];
}

/** A model with the weights of a checkpoint, and what did not go together. */
export interface Loaded {
  readonly model: Model;
  /** Names of the model's weights that were taken from the checkpoint. */
  readonly loaded: readonly string[];
  /** Weights of the model that the checkpoint has not: they keep their first values. */
  readonly missing: readonly string[];
  /** Names of the checkpoint that the model has not, as they stand there. */
  readonly unexpected: readonly string[];
  /** Weights of another shape: they keep their first values. */
  readonly mismatched: readonly Mismatch[];
}

/** Counters and positions that state dicts carry and nothing computes with. */
const IGNORED = /(^|\.)(num_batches_tracked|position_ids|total_ops|total_params)$/;

/**
 * Puts the weights of a checkpoint (by the names of a PyTorch state dict, for example from a safetensors file) into the model.
 * They are read when the model is written or run, turned into the model's element type, and transposed where the weight is the
 * second operand of a MatMul: PyTorch stores it [out, in]. A prefix that makes more names match (`module.`, `bert.`) is
 * taken off the checkpoint's names, or the model's. A MinnowError (`weights/other-net`) where fewer than half of the model's
 * weights are found with their shapes: it is the checkpoint of another net.
 *
 * @example
 * const { tensors } = await readSafetensors("mobilenet_v2.safetensors");
 * const { model, missing } = await loadWeights(create("mobilenet_v2"), tensors);
 */
export async function loadWeights(model: Model, checkpoint: ReadonlyMap<string, Tensor>): Promise<Loaded> {
  const { graph } = model;
  const wanted = [...graph.weights].filter(([, { dtype, shape }]) => isFloat(dtype) && shape.length > 0);
  const names = wanted.map(([name]) => name);
  const found = matched(
    names,
    [...checkpoint.keys()].filter((name) => !IGNORED.test(name)),
  );
  const operands = matMulOperands(model);
  const e = edit(graph);
  const [loaded, missing, mismatched]: [string[], string[], Mismatch[]] = [[], [], []];
  for (const [name, weight] of wanted) {
    const given = found.get(name);
    const stored = given === undefined ? undefined : checkpoint.get(given);
    if (stored === undefined) {
      missing.push(name);
      continue;
    }
    const transposed = operands.has(name);
    const shape = transposed ? [...weight.shape].reverse() : weight.shape;
    if (`${shape}` !== `${stored.shape}` || !isReal(stored.dtype)) {
      mismatched.push({ name, model: shape, checkpoint: stored.shape });
      continue;
    }
    e.setWeight(name, await held(converted(stored, weight.dtype, transposed)));
    loaded.push(name);
  }
  if (2 * loaded.length < names.length || loaded.length === 0)
    throw anotherNet(model, names, loaded.length, checkpoint);
  const used = new Set(found.values());
  const unexpected = [...checkpoint.keys()].filter((name) => !used.has(name) && !IGNORED.test(name));
  return { model: { ...model, graph: e.done() }, loaded, missing, unexpected, mismatched };
}

/** Weights that are the second operand of a MatMul and nothing else. */
function matMulOperands({ graph }: Model): ReadonlySet<string> {
  const [operands, others] = [new Set<string>(), new Set<string>()];
  for (const { op, domain, inputs } of graph.nodes)
    for (const [i, name] of inputs.entries())
      (op === "MatMul" && domain === "" && i === 1 && graph.weights.get(name)?.shape.length === 2
        ? operands
        : others
      ).add(name);
  for (const name of others) operands.delete(name);
  return operands;
}

/**
 * The checkpoint's name for each of the model's names that it has. A prefix is taken off one side or the other, the one
 * that lets most match; what matches without it does so too. LayerNorm's old names `gamma` and `beta` are known.
 */
function matched(names: readonly string[], given: readonly string[]): Map<string, string> {
  const modern = (name: string) =>
    name.replace(/(LayerNorm\.)gamma$/, "$1weight").replace(/(LayerNorm\.)beta$/, "$1bias");
  const byName = new Map(given.map((name) => [modern(name), name]));
  const match = (own: string, theirs: string): Map<string, string> => {
    const pairs = new Map<string, string>();
    for (const name of names) {
      const bare = name.startsWith(own) ? name.slice(own.length) : name;
      const there = byName.get(theirs + bare) ?? byName.get(name);
      if (there !== undefined) pairs.set(name, there);
    }
    return pairs;
  };
  let best = match("", "");
  for (const [own, theirs] of [
    ...prefixesOf(byName.keys()).map((prefix) => ["", prefix] as const),
    ...prefixesOf(names).map((prefix) => [prefix, ""] as const),
  ]) {
    const pairs = match(own, theirs);
    if (pairs.size > best.size) best = pairs;
  }
  return best;
}

/** The first one, two and three words of names, each with its dot. */
function prefixesOf(names: Iterable<string>): string[] {
  const prefixes = new Set<string>();
  for (const name of names) {
    const words = name.split(".");
    for (let count = 1; count <= Math.min(3, words.length - 1); count++)
      prefixes.add(`${words.slice(0, count).join(".")}.`);
  }
  return [...prefixes];
}

/** The tensor in another real type, transposed if asked; computed when someone reads it. */
function converted(tensor: Tensor, dtype: Tensor["dtype"], transposed: boolean): Tensor {
  const { shape } = tensor;
  const same = tensor.dtype === dtype;
  if (same && !transposed) return { dtype, shape, read: tensor.read };
  const [rows = 1, columns = 1] = shape;
  return lazyTensor(dtype, transposed ? [...shape].reverse() : shape, async () => {
    const values = await readNumbers(tensor);
    const turned = transposed
      ? values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)] as number)
      : values;
    return roundTo(dtype, shape, turned).read();
  });
}

/** The tensor with its bytes at hand where it is small, as small ones are. */
async function held(tensor: Tensor): Promise<Tensor> {
  if (byteSize(tensor.dtype, elements(tensor.shape)) > SMALL_BYTES) return tensor;
  return tensorOf(tensor.dtype, tensor.shape, await tensor.read());
}

function anotherNet(
  model: Model,
  names: readonly string[],
  count: number,
  checkpoint: ReadonlyMap<string, Tensor>,
): MinnowError {
  const some = (list: readonly string[]) =>
    list
      .slice(0, 3)
      .map((name) => `"${name}"`)
      .join(", ");
  const theirs = [...checkpoint.keys()].filter((name) => !names.includes(name));
  return new MinnowError(
    `Of the ${names.length} weights of ${model.graph.name || "the model"}, ${count} are in the checkpoint with their shape: it is of another net. The model has ${some(names)} …; the checkpoint has ${some(theirs.length > 0 ? theirs : [...checkpoint.keys()]) || "nothing"} …`,
    {
      code: "weights/other-net",
      mend: "Make the net that the checkpoint was trained with, with the same width and depth.",
    },
  );
}
