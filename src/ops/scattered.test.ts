import { describe, expect, it } from "vitest";
import { int } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Attrs, Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { openSession } from "../runtime/index.ts";
import { differentiate } from "../train/differentiate.ts";
import type { Fact } from "./define.ts";
import { Emitter } from "./emit.ts";
import { scatterElements } from "./scattered.ts";

/** loss = Σ dy · table[ids] along an axis, everything fed. */
function lookupOf(
  op: string,
  table: readonly number[],
  ids: readonly number[],
  out: readonly number[],
  attrs: Attrs,
): Model {
  const input = (name: string, shape: readonly number[], dtype: "float32" | "int64" = "float32") => ({
    name,
    type: { kind: "tensor" as const, dtype, shape },
  });
  const e = edit({
    name: "g",
    inputs: [input("table", table), input("ids", ids, "int64"), input("dy", out)],
    outputs: [],
    weights: new Map(),
    nodes: [],
    valueInfo: new Map(),
  });
  const [y] = e.add({ op, inputs: ["table", "ids"], attrs });
  const [product] = e.add({ op: "Mul", inputs: [y as string, "dy"] });
  e.add({ op: "ReduceSum", inputs: [product as string], outputs: ["loss"], attrs: { keepdims: int(0) } });
  e.setOutputs([{ name: "loss" }]);
  return { graph: e.done(), opsets: new Map([["", 21]]), irVersion: 10, functions: [] };
}

describe.each([
  { rows: 40, width: 16, count: 120_000, what: "a table too large for one-hot rows" },
  { rows: 5, width: 256, count: 2_000, what: "a small table" },
])("the gradient of lookups in $what", ({ rows, width, count }) => {
  it.each(["Gather", "GatherND"])(
    "%s: is the exact sum over all lookups of a row, in every run on several threads",
    async (op) => {
      const next = random(3);
      const ids = BigInt64Array.from({ length: count }, () => BigInt(Math.floor(next() * 2 * rows) - rows));
      const dy = Float32Array.from({ length: count * width }, () => Math.floor(next() * 9) - 4);
      const expected = new Float32Array(rows * width);
      ids.forEach((id, n) => {
        const row = Number(id < 0n ? id + BigInt(rows) : id);
        for (let i = 0; i < width; i++) {
          const at = row * width + i;
          expected[at] = (expected[at] as number) + (dy[n * width + i] as number);
        }
      });
      const shape = op === "Gather" ? [count] : [count, 1];
      const { model, gradients } = differentiate(lookupOf(op, [rows, width], shape, [count, width], {}), {
        loss: "loss",
        wrt: ["table"],
      });
      const session = await openSession(model, { threads: 4 });
      const feeds: Record<string, TensorData> = {
        table: { dtype: "float32", shape: [rows, width], data: new Float32Array(rows * width) },
        ids: { dtype: "int64", shape, data: ids },
        dy: { dtype: "float32", shape: [count, width], data: dy },
      };
      const gradient = gradients.get("table") as string;
      for (let k = 0; k < 8; k++) {
        const found = (await session.run(feeds, [gradient]))[gradient] as TensorData;
        expect(Buffer.compare(Buffer.from((found.data as Float32Array).buffer), Buffer.from(expected.buffer))).toBe(0);
      }
      await session.close();
    },
  );
});

it.each([
  [false, 0],
  [true, 1],
])("is added up on what it is summed with, unless it is read elsewhere (%s): %i additions", async (elsewhere, adds) => {
  const input = (name: string, shape: readonly number[], dtype: "float32" | "int64" = "float32") => ({
    name,
    type: { kind: "tensor" as const, dtype, shape },
  });
  const inputs = [input("v", [6]), input("ids", [4], "int64"), input("values", [4])];
  const e = edit({ name: "g", inputs, outputs: [], weights: new Map(), nodes: [], valueInfo: new Map() });
  const facts = new Map<string, Fact>(inputs.map(({ name, type: { dtype, shape } }) => [name, { dtype, shape }]));
  const opsets = new Map([["", 21]]);
  const g = new Emitter(e, facts, opsets);
  const scattered = g.reshape(scatterElements(g, [6], 0, "ids", "values"), [2, 3]);
  const norm = elsewhere ? g.sum(scattered, [0, 1]) : undefined;
  const outputs = [g.add("v", g.reshape(scattered, [6])), ...(norm ? [norm] : [])];
  e.setOutputs(outputs.map((name) => ({ name })));
  const model: Model = { graph: e.done(), opsets, irVersion: 10, functions: [] };
  expect(model.graph.nodes.filter(({ op }) => op === "Add")).toHaveLength(adds);
  const session = await openSession(model);
  const float = (values: readonly number[]): TensorData => ({
    dtype: "float32",
    shape: [values.length],
    data: Float32Array.from(values),
  });
  const ids: TensorData = { dtype: "int64", shape: [4], data: BigInt64Array.of(5n, 0n, 5n, 2n) };
  const found = await session.run({ v: float([1, 2, 3, 4, 5, 6]), ids, values: float([10, 20, 30, 40]) });
  expect([...((found[outputs[0] as string] as TensorData).data as Float32Array)]).toEqual([21, 2, 43, 4, 5, 46]);
  await session.close();
});
