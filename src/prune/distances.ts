import { int, ints } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Graph, Model } from "../ir/graph.ts";
import { float32s, int64s, type TensorData } from "../ir/tensor.ts";
import { openSession } from "../runtime/index.ts";
import type { Derivation } from "./derive.ts";
import { folded, type Group, membersByWeight } from "./groups.ts";
import { floatsOf } from "./weights.ts";

/**
 * For every index the sum of its distances to all others, in each weight of two axes or more (He et al. 2019, arXiv
 * 1811.00250). ‖a − b‖² = ‖a‖² + ‖b‖² − 2·a·b, in ONNX Runtime.
 */
export async function distanceScores(d: Derivation, groups: readonly Group[]): Promise<Map<Group, Float64Array[]>> {
  const out = new Map<Group, Float64Array[]>(groups.map((group) => [group, []]));
  for (const [weight, members] of membersByWeight(groups)) {
    const tensor = d.model.graph.weights.get(weight);
    if (tensor === undefined || tensor.shape.filter((size) => size > 1).length < 2) continue;
    const feed: TensorData = { dtype: "float32", shape: tensor.shape, data: await floatsOf(tensor) };
    const along = new Map<number, Float64Array>();
    for (const { group, member } of members) {
      const sum = along.get(member.axis) ?? (await distancesAlong(feed, member.axis));
      along.set(member.axis, sum);
      out.get(group)?.push(folded(d, group, member, sum));
    }
  }
  return out;
}

async function distancesAlong(weight: TensorData, axis: number): Promise<Float64Array> {
  const session = await openSession(distanceModel(weight.shape, axis));
  try {
    const { y } = await session.run({ x: weight });
    return Float64Array.from(y?.data as Float32Array);
  } finally {
    await session.close();
  }
}

/** x → y: for each position of an axis the sum of the distances to the others. */
function distanceModel(shape: readonly number[], axis: number): Model {
  const empty: Graph = {
    name: "distances",
    inputs: [{ name: "x", type: { kind: "tensor", dtype: "float32", shape } }],
    outputs: [{ name: "y" }],
    weights: new Map(),
    nodes: [],
    valueInfo: new Map(),
  };
  const e = edit(empty);
  const one = (op: string, inputs: string[], attrs = {}) => e.add({ op, inputs, attrs })[0] as string;
  const perm = [axis, ...shape.map((_, i) => i).filter((i) => i !== axis)];
  const first = one("Transpose", ["x"], { perm: ints(perm) });
  const rows = one("Reshape", [first, e.weight("rows", int64s([shape[axis] as number, -1]))]);
  const columns = one("Transpose", [rows], { perm: ints([1, 0]) });
  const own = one("ReduceSumSquare", [rows, e.weight("last", int64s([1]))]);
  const both = one("Add", [own, one("Transpose", [own], { perm: ints([1, 0]) })]);
  const twice = one("Mul", [one("MatMul", [rows, columns]), e.weight("two", float32s([], [2]))]);
  const squared = one("Relu", [one("Sub", [both, twice])]);
  const sum = { op: "ReduceSum", inputs: [one("Sqrt", [squared]), e.weight("axis", int64s([1]))] };
  e.add({ ...sum, attrs: { keepdims: int(0) }, outputs: ["y"] });
  return { graph: e.done(), opsets: new Map([["", 18]]), irVersion: 8, functions: [] };
}
