import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { arrays, type Dataset } from "../../src/data/index.ts";
import type { Model } from "../../src/ir/index.ts";
import { randomFeeds } from "../../src/measure/index.ts";
import { load, toBytes } from "../../src/onnx/index.ts";
import { optimize } from "../../src/passes/index.ts";
import { quantizeStatic } from "../../src/quantize/index.ts";
import { openSession } from "../../src/runtime/index.ts";
import { real, WITHOUT_REAL } from "../real.ts";

/** What ONNX Runtime must run in integers, and how often. */
const NETS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "cifar10/mlperf_pretrainedResnet": { QLinearConv: 9, QLinearAdd: 3, QLinearGlobalAveragePool: 1, QGemm: 1 },
  "cifar10/resnet20_cifar10": { QLinearConv: 19, QLinearAdd: 9, QLinearGlobalAveragePool: 1, QGemm: 1 },
  "cifar10/resnet56_cifar10": { QLinearConv: 55, QLinearAdd: 27, QLinearGlobalAveragePool: 1, QGemm: 1 },
  "imagenet/mobilenet_v1_0.25_224_fp32": { QLinearConv: 28, QLinearGlobalAveragePool: 1 },
};

const FLOAT = ["Conv", "FusedConv", "Add", "Relu", "Clip", "GlobalAveragePool", "Gemm"];

describe.skipIf(real("models") === undefined)(`real nets, quantized (${WITHOUT_REAL} otherwise)`, () => {
  it.for(Object.entries(NETS))("%s runs in integers from input to output, in 0.28 of the bytes", async ([net, ops]) => {
    const model = await load(await readFile(real(`models/${net}.onnx`)!));
    const { model: base } = await optimize().run(model);
    const { model: small } = await quantizeStatic({ data: await noise(base, 4) }).run(model);
    const counts = await opsThatRun(small);
    for (const [op, times] of Object.entries(ops)) expect(counts[op], op).toBe(times);
    for (const op of FLOAT) expect(counts[op], op).toBeUndefined();
    expect((await toBytes(small)).byteLength).toBeLessThanOrEqual(0.28 * (await toBytes(base)).byteLength);
  });

  it("a quantized net quantized again is refused, or comes back as it was", async () => {
    const model = await load(await readFile(real("models/cifar10/resnet20_cifar10.onnx")!));
    const { model: small } = await quantizeStatic({ data: await noise(model, 2) }).run(model);
    const again = await quantizeStatic({ data: await noise(model, 2) }).run(small);
    expect(again.model).toBe(small);
    expect(again.changes.length).toBeGreaterThan(0);
  });
});

/** Seeded examples: what fuses does not depend on what they show. */
async function noise(model: Model, count: number): Promise<Dataset> {
  const rows = Array.from({ length: count }, (_, seed) => Object.values(randomFeeds(model, { seed }))[0]!);
  const [first] = rows;
  const data = new Float32Array(count * first!.data.length);
  for (const [i, row] of rows.entries()) data.set(row.data as Float32Array, i * first!.data.length);
  return arrays({ x: { dtype: "float32", shape: [count, ...first!.shape.slice(1)], data } });
}

/** How often each operator stands in the graph that ONNX Runtime runs. */
async function opsThatRun(of: Model): Promise<Record<string, number>> {
  const folder = await mkdtemp(join(tmpdir(), "minnow-"));
  try {
    const path = join(folder, "optimized.onnx");
    await (await openSession(of, { optimizedModelPath: path })).close();
    const counts: Record<string, number> = {};
    for (const { op } of (await load(await readFile(path))).graph.nodes) counts[op] = (counts[op] ?? 0) + 1;
    return counts;
  } finally {
    await rm(folder, { recursive: true });
  }
}
