import { batches } from "../data/batches.ts";
import { bindInputs, feedInputs } from "../data/bind.ts";
import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { int, ints } from "../ir/attrs.ts";
import { codeOf } from "../ir/dtype.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { int64s, type TensorData } from "../ir/tensor.ts";
import { openSession } from "../runtime/index.ts";
import { type Axis, indicesOf, leaves, sizeOf } from "./axis.ts";
import type { Derivation } from "./derive.ts";
import type { GradientData } from "./gradients.ts";
import type { Group } from "./groups.ts";

/** What a measurement on examples needs. */
export type MeasureData = Pick<GradientData, "data" | "batch" | "threads" | "signal" | "onProgress">;

/** The mean |x| over examples and positions of all that is summed over a group, for each value that is. */
export async function activationScores(
  d: Derivation,
  groups: readonly Group[],
  options: MeasureData,
): Promise<Map<Group, Float64Array[]>> {
  const byVariable = new Map(groups.map((group) => [group.variable, group]));
  const places = summedPlaces(d).filter(({ value, axis }) =>
    [...leaves(d.axes.get(value)![axis]!)].some((leaf) => byVariable.has(leaf)),
  );
  const e = edit(d.model.graph);
  const names = places.map(({ value, axis }) =>
    meanAlong(d, e, e.add({ op: "Abs", inputs: [value] })[0]!, value, axis),
  );
  const means = await averagesOf(observing(d.model, e, names), names, examplesOf(options.data), options);
  const out = new Map<Group, Float64Array[]>(groups.map((group) => [group, []]));
  for (const [i, { value, axis }] of places.entries()) {
    const own = d.axes.get(value)![axis]!;
    for (const leaf of new Set(leaves(own))) {
      const group = byVariable.get(leaf);
      if (group === undefined) continue;
      const sum = new Float64Array(group.size);
      indicesOf(own, leaf).forEach((index, at) => {
        if (index >= 0) sum[index]! += means[i]![at]!;
      });
      out.get(group)!.push(sum);
    }
  }
  return out;
}

/** An axis of a value. */
export interface Place {
  readonly value: string;
  readonly axis: number;
}

/** Axes of computed float values that something sums over, each once. */
function summedPlaces(d: Derivation): Place[] {
  const places = new Map<string, Place>();
  for (const { node, contractions } of d.flows)
    for (const { input, axis, kind } of contractions) {
      const value = node.inputs[input] ?? "";
      if (kind === "+" && !d.model.graph.weights.has(value) && d.facts.get(value)?.dtype === "float32")
        places.set(`${axis} ${value}`, { value, axis });
    }
  return [...places.values()];
}

/** Adds the mean over all axes but one. */
export function meanAlong(d: Derivation, e: GraphEdit, of: string, like: string, axis: number): string {
  const others = d.axes.get(like)!.flatMap((_, i) => (i === axis ? [] : [i]));
  const inputs = others.length === 0 ? [of] : [of, e.weight("axes", int64s(others))];
  const op = others.length === 0 ? "Identity" : "ReduceMean";
  return e.add({ op, inputs, ...(op === "ReduceMean" && { attrs: { keepdims: int(0) } }) })[0]!;
}

/** Adds the mean of x·xᵀ over examples and positions, x along one axis of a value. */
export function productsAlong(d: Derivation, e: GraphEdit, { value, axis }: Place): string {
  const one = (op: string, inputs: string[], attrs = {}) => e.add({ op, inputs, attrs })[0] as string;
  const axes = d.axes.get(value) as readonly Axis[];
  const perm = [...axes.keys()].filter((i) => i !== axis);
  const last = one("Transpose", [value], { perm: ints([...perm, axis]) });
  const rows = one("Reshape", [last, e.weight("rows", int64s([-1, sizeOf(axes[axis] as Axis)]))]);
  const products = one("MatMul", [one("Transpose", [rows], { perm: ints([1, 0]) }), rows]);
  const count = one("Cast", [one("Shape", [rows], { start: int(0), end: int(1) })], { to: int(codeOf("float32")) });
  return one("Div", [products, count]);
}

/** The model of an edit that gives these values alone. */
export function observing(model: Model, e: GraphEdit, names: readonly string[]): Model {
  e.setOutputs(names.map((name) => ({ name })));
  return { ...model, graph: e.done() };
}

export function examplesOf(data: Dataset | undefined): Dataset {
  if (data === undefined || data.size === 0)
    throw new MinnowError("This is measured on examples, and there are none.", {
      code: "prune/no-data",
      mend: "Give some hundred typical examples as data.",
    });
  return data;
}

/** The mean over all examples of values that are means over a batch. */
export async function averagesOf(
  model: Model,
  names: readonly string[],
  data: Dataset,
  options: MeasureData,
): Promise<Float64Array[]> {
  const sums: Float64Array[] = [];
  if (names.length === 0) return sums;
  const fixed = feedInputs(model.graph)[0]?.type?.shape?.[0];
  const size = typeof fixed === "number" && fixed > 0 ? fixed : Math.min(options.batch ?? 32, data.size);
  const session = await openSession(model, options.threads === undefined ? {} : { threads: options.threads });
  let [count, done] = [0, 0];
  try {
    for await (const { feeds, indices, skipped } of batches(bindInputs(data, model.graph), size, {
      signal: options.signal,
    })) {
      const results = await session.run(feeds, names);
      for (const [i, name] of names.entries()) addTo(sums, i, results[name]!, indices.length);
      count += indices.length;
      done += indices.length + skipped.length;
      options.onProgress?.(done, data.size);
    }
  } finally {
    await session.close();
  }
  return sums.map((sum) => sum.map((v) => v / count));
}

function addTo(sums: Float64Array[], i: number, { data }: TensorData, weight: number): void {
  const values = data as Float32Array;
  sums[i] ??= new Float64Array(values.length);
  const sum = sums[i];
  for (let k = 0; k < values.length; k++) sum[k]! += weight * values[k]!;
}
