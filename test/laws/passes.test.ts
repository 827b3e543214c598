import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { subgraphs } from "../../src/ir/attrs.ts";
import { isKnown } from "../../src/ir/dim.ts";
import type { Graph, Model } from "../../src/ir/graph.ts";
import { elements, float32s, type Tensor, type TensorData } from "../../src/ir/tensor.ts";
import { verify } from "../../src/ir/verify.ts";
import { random } from "../../src/numeric/random.ts";
import { load, toBytes } from "../../src/onnx/index.ts";
import * as passes from "../../src/passes/index.ts";
import { openSession } from "../../src/runtime/index.ts";
import { real, WITHOUT_REAL } from "../real.ts";
import { CASES } from "./cases.ts";

/** Every pass, with how far outputs may be off, relative to the largest of them: 0 where nothing is computed anew. */
const PASSES: readonly (readonly [passes.Pass, number])[] = [
  [passes.upgrade(), 0],
  [passes.takeWeightsOffInputs(), 0],
  [passes.constantsToWeights(), 0],
  [passes.untieWeights(), 0],
  [passes.foldShapes(), 0],
  [passes.fixTargets(), 0],
  [passes.narrowShapes(), 0],
  [passes.removeIdentities(), 0],
  [passes.removeDeadCode(), 0],
  [passes.mergeDuplicates(), 0],
  [passes.foldConstants(), 0],
  [passes.mergeTransposes(), 0],
  [passes.mergeReshapes(), 0],
  [passes.mergeSlices(), 0],
  [passes.foldPad(), 1e-6],
  [passes.foldBatchNorm(), 1e-5],
  [passes.mergeBranches(), 1e-5],
  [passes.reparameterize(), 1e-5],
  [passes.fuseGemm(), 1e-6],
  [passes.foldScales(), 1e-5],
  [passes.optimize(), 1e-5],
];

/** Large models are left out once this many seconds have gone. */
const SECONDS = Number(process.env["MINNOW_LAW_SECONDS"] ?? 60);

const digits = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));

describe("a pass", () => {
  for (const { says, model } of CASES)
    for (const [pass, within] of PASSES) it(`${pass.name} keeps the law on ${says}`, () => law(model, pass, within));
  for (const [pass, within] of PASSES)
    it(`${pass.name} keeps the law on the digits model`, async () => law(await load(digits), pass, within));
});

describe("optimize leaves no more than it should", () => {
  for (const { says, model, left } of CASES)
    it(`of ${says}`, async () => {
      expect(opsOf((await passes.optimize().run(model)).model.graph)).toEqual(left);
    });
});

describe.skipIf(real("models") === undefined)(real("models") ? "a pass on real models" : WITHOUT_REAL, () => {
  const started = performance.now();
  for (const [name, size] of realModels())
    it(`keeps the law on ${name}`, { timeout: 240_000 }, async (context) => {
      if (size > 1e6 && performance.now() - started > SECONDS * 1000) context.skip("the time for large models is up");
      const model = await loadReal(name);
      const passed = size > 1e6 ? PASSES.slice(-1) : PASSES;
      let left = model;
      for (const [pass, within] of passed) left = await law(model, pass, within);
      expect(opsOf(left.graph).length, "no more nodes than onnxsim and OnnxSlim leave").toBeLessThanOrEqual(
        fewestOfPeers(name),
      );
    });
});

/** Same predictions, idempotent, input untouched, verified, loads in ONNX Runtime; gives what the pass made. */
async function law(model: Model, pass: passes.Pass, within: number): Promise<Model> {
  const before = await toBytes(model);
  const result = await pass.run(model);
  expect(Buffer.compare(await toBytes(model), before), "the model given is as it was").toBe(0);
  verify(result.model);
  expect(result.model === model, "changes are told, and only those").toBe(result.changes.length === 0);
  const again = await pass.run(result.model);
  expect(again.changes).toEqual([]);
  expect(again.model).toBe(result.model);
  if (result.model === model) return model;
  const feeds = feedsOf(model.graph);
  const wanted = await outputsOf(before, feeds);
  const got = await outputsOf(await toBytes(result.model), feeds);
  expect(Object.keys(got)).toEqual(Object.keys(wanted));
  for (const [name, value] of Object.entries(wanted)) {
    expect(got[name]?.shape).toEqual(value.shape);
    expect(difference(value, got[name] as TensorData), name).toBeLessThanOrEqual(within);
  }
  return result.model;
}

async function outputsOf(model: Uint8Array, feeds: Record<string, TensorData>): Promise<Record<string, TensorData>> {
  const session = await openSession(model, { optimization: "disabled" });
  try {
    return await session.run(feeds);
  } finally {
    await session.close();
  }
}

/** The largest difference over the largest magnitude. */
function difference({ data }: TensorData, other: TensorData): number {
  let [worst, largest] = [0, 0];
  for (let i = 0; i < data.length; i++) {
    worst = Math.max(worst, Math.abs(Number(data[i]) - Number(other.data[i])));
    largest = Math.max(largest, Math.abs(Number(data[i])));
  }
  return worst === 0 ? 0 : worst / largest;
}

/** Seeded feeds; symbolic sizes are 2, integers stay small enough to be indices. */
function feedsOf(graph: Graph): Record<string, TensorData> {
  const next = random(3);
  const feeds: Record<string, TensorData> = {};
  for (const { name, type } of graph.inputs) {
    if (graph.weights.has(name) || type?.kind !== "tensor") continue;
    const shape = (type.shape ?? []).map((dim) => (isKnown(dim) && dim > 0 ? dim : 2));
    const count = elements(shape);
    const data =
      type.dtype === "int64"
        ? BigInt64Array.from({ length: count }, (_, i) => BigInt(i % 64))
        : type.dtype === "int32"
          ? Int32Array.from({ length: count }, (_, i) => i % 64)
          : Float32Array.from({ length: count }, () => next() * 2 - 1);
    feeds[name] = { dtype: type.dtype, shape, data };
  }
  return feeds;
}

const opsOf = (graph: Graph): string[] =>
  graph.nodes.flatMap((node) => [node.op, ...subgraphs(node).flatMap((inner) => opsOf(inner.graph))]);

/** The fewest nodes that another tool leaves of a model, as measured in bench/peers. */
function fewestOfPeers(name: string): number {
  const results = fileURLToPath(new URL("../../bench/peers/results/simplify.json", import.meta.url));
  const { models } = JSON.parse(readFileSync(results, "utf8")) as { models: { model: string; best: number }[] };
  return models.find((m) => m.model === name)?.best ?? Number.POSITIVE_INFINITY;
}

/** The real models by size, small ones first. */
function realModels(): [name: string, bytes: number][] {
  const folder = real("models");
  if (folder === undefined) return [];
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((n) => /\.onnx(\.gz)?$/.test(n));
  return names.map((name): [string, number] => [name, bytesOf(name).length]).sort(([, a], [, b]) => a - b);
}

function bytesOf(name: string): Uint8Array {
  const bytes = readFileSync(real(`models/${name}`) as string);
  return name.endsWith(".gz") ? gunzipSync(bytes) : bytes;
}

/** The architectures come with their large weights zeroed: numbers take their place, so that outputs say something. */
async function loadReal(name: string): Promise<Model> {
  const model = await load(bytesOf(name));
  if (!name.endsWith(".gz")) return model;
  const next = random(1);
  const filled = (tensor: Tensor): Tensor =>
    tensor.dtype !== "float32" || elements(tensor.shape) <= 4096
      ? tensor
      : float32s(
          tensor.shape,
          Float32Array.from({ length: elements(tensor.shape) }, () => (next() - 0.5) * 0.1),
        );
  const weights = new Map([...model.graph.weights].map(([key, tensor]) => [key, filled(tensor)]));
  return { ...model, graph: { ...model.graph, weights } };
}
