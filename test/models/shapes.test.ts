import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { bytesSource } from "../../src/files/source.ts";
import { type Dim, namesIn } from "../../src/ir/dim.ts";
import type { Model } from "../../src/ir/graph.ts";
import { elements, type TensorData, tensorFrom, viewOf } from "../../src/ir/tensor.ts";
import { random } from "../../src/numeric/random.ts";
import { readModel } from "../../src/onnx/index.ts";
import { type Facts, inferModel } from "../../src/ops/infer.ts";
import { upgrade } from "../../src/passes/index.ts";
import { openSession } from "../../src/runtime/index.ts";
import { bound, wrong } from "../laws/facts.ts";
import { REAL_MODELS, real, WITHOUT_REAL } from "../real.ts";

/** The size every name of a size is given in a run. */
const SIZE = 3;

/** How many values of a large model are looked at, besides those computed from sizes. */
const LOOKED_AT = 60;

/** A real model in modern form, with nothing declared but its inputs. */
async function stripped(path: string): Promise<Model> {
  const file = readFileSync(real(`models/${path}`) ?? "");
  const read = await readModel(bytesSource(path.endsWith(".gz") ? gunzipSync(file) : file, path));
  const { model } = await upgrade().run(read);
  const outputs = model.graph.outputs.map(({ name }) => ({ name }));
  return { ...model, graph: { ...model.graph, outputs, valueInfo: new Map() } };
}

const computed = (model: Model): string[] => model.graph.nodes.flatMap(({ outputs }) => outputs.filter(Boolean));

/** The names of sizes that the inputs have. */
const sizesOf = (model: Model, facts: Facts): Map<string, number> =>
  new Map(
    model.graph.inputs.flatMap(({ name }) => (facts.get(name)?.shape ?? []).flatMap(namesIn)).map((n) => [n, SIZE]),
  );

/** Whether a size is a number, or a polynomial in these names. */
const isFull = (dim: Dim, names: ReadonlyMap<string, number>): boolean =>
  typeof dim === "number" || (!/[?(]/.test(dim) && namesIn(dim).every((name) => names.has(name)));

/** The values to look at in a run: all of a small model; of a large one those with symbolic numbers, and some more. */
function lookedAt(path: string, model: Model, facts: Facts): string[] {
  const all = computed(model);
  if (!path.startsWith("arch/")) return all;
  const symbolic = all.filter((name) => facts.get(name)?.value?.some((v) => typeof v === "string"));
  return [...new Set([...symbolic, ...some(all, LOOKED_AT)])];
}

/** Up to `count` of the names, seeded. */
function some(names: readonly string[], count: number): string[] {
  const next = random(7);
  return names
    .map((name) => ({ name, rank: next() }))
    .sort((a, b) => a.rank - b.rank)
    .slice(0, count)
    .map(({ name }) => name);
}

function feedsOf(model: Model, facts: Facts, sizes: ReadonlyMap<string, number>): Record<string, TensorData> {
  const next = random(3);
  return Object.fromEntries(
    model.graph.inputs.map(({ name }) => {
      const { dtype, shape = [] } = bound(facts.get(name) ?? { dtype: "float32" }, sizes);
      const known = shape.map(Number);
      const values = Array.from({ length: elements(known) }, () => (dtype.startsWith("float") ? next() : 0));
      const bytes = tensorFrom(dtype, known, values).bytes as Uint8Array;
      return [name, { dtype, shape: known, data: viewOf(dtype, bytes) }];
    }),
  );
}

/** What is wrong with the facts of these values in a run of ONNX Runtime. */
async function faults(model: Model, facts: Facts, names: readonly string[]): Promise<string[]> {
  const sizes = sizesOf(model, facts);
  const outputs = names.map((name) => ({ name }));
  const session = await openSession({ ...model, graph: { ...model.graph, outputs } }, { optimization: "disabled" });
  try {
    const results = await session.run(feedsOf(model, facts, sizes));
    return names.flatMap((name) => {
      const fact = facts.get(name);
      return wrong(fact && bound(fact, sizes), results[name] as TensorData).map((what) => `${name}: ${what}`);
    });
  } finally {
    await session.close();
  }
}

const absent = REAL_MODELS.length === 0;

describe.skipIf(absent).each(absent ? [WITHOUT_REAL] : REAL_MODELS)("The shapes in %s", (path) => {
  it("are known in full before anything runs, the batch symbolic", async () => {
    const model = await stripped(path);
    const facts = inferModel(model);
    const names = sizesOf(model, facts);
    const open = computed(model).filter((value) => !facts.get(value)?.shape?.every((dim) => isFull(dim, names)));
    expect(open.map((value) => `${value}: [${facts.get(value)?.shape}]`)).toEqual([]);
  });

  it("are those of a run, and so are the numbers that are followed", async () => {
    const model = await stripped(path);
    const facts = inferModel(model);
    expect(await faults(model, facts, lookedAt(path, model, facts))).toEqual([]);
  });
});
