import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { measured, table } from "../../examples/table.mjs";
import { costOf, create, quantizeStatic, randomExamples, randomFeeds, save, toBytes } from "../../src/index.ts";

it("the table of the examples tells what the files weigh and cost, figures as shares", async () => {
  const folder = await mkdtemp(join(tmpdir(), "minnow-table-"));
  try {
    const net = create("dscnn", { classes: 3, width: 0.25 });
    const { model } = await quantizeStatic({ data: randomExamples(net) }).run(net);
    const files = { float: join(folder, "float.onnx"), int8: join(folder, "int8.onnx") };
    await save(net, files.float);
    await save(model, files.int8);
    const rows = await measured(
      [
        { name: "float", file: files.float, figures: { accuracy: 0.98765 } },
        { name: "int8", file: files.int8, figures: { accuracy: 1, heard: "3 of 3" } },
      ],
      { seconds: 0.02 },
    );
    expect(rows[0]).toMatchObject({ file: "float.onnx", bytes: (await stat(files.float)).size });
    const params = { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: rows[1].bytes };
    const packed = brotliCompressSync(await toBytes(model), { params }).byteLength;
    expect(Math.abs(rows[1].brotliBytes - packed)).toBeLessThan(packed / 50);
    expect(rows[1].bytes).toBeLessThan(rows[0].bytes);
    expect(rows[1].macs).toBe(rows[0].macs);
    for (const { ms } of rows) expect(ms).toBeGreaterThan(0);
    const [head, rule, ...lines] = table(rows).split("\n") as string[];
    expect(head).toMatch(/bytes \| +brotli \| +parameters \| +multiply-adds \| +ms \| +accuracy \| +heard \|$/);
    expect(lines[0]).toContain("98.77 %");
    expect(lines[1]).toMatch(/100\.00 % \| 3 of 3 \|$/);
    expect(new Set([head, rule, ...lines].map((line) => line?.length)).size).toBe(1);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

it("the table counts the multiply-adds of what was timed, where a model leaves sizes open", async () => {
  const folder = await mkdtemp(join(tmpdir(), "minnow-table-"));
  try {
    const net = create("bert_tiny", { classes: 2, vocabulary: 40, layers: 1, dimension: 16, heads: 2, inner: 16 });
    const file = join(folder, "net.onnx");
    await save(net, file);
    const feeds = Object.fromEntries(
      Object.keys(randomFeeds(net)).map((name) => [
        name,
        { dtype: "int64", shape: [1, 24], data: new BigInt64Array(24) },
      ]),
    );
    const [row] = await measured([{ name: "net", file, figures: {} }], { feeds, seconds: 0.02, brotli: false });
    expect(row.macs).toBe(costOf(net, { T: 24 }).macs);
    expect(row.macs).toBeLessThan(costOf(net).macs);
    expect(table([row])).toMatch(/\| +– \|/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
