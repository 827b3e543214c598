/**
 * How much faster cut nets run than the whole one, one image, one thread, all in turn, optimized; medians.
 *
 *     npm run build && node bench/prune/latency.mjs NAME WHOLE.onnx CUT.onnx …
 *
 * Writes a row for each cut net and runtime into bench/results/pruning-cifar10.json.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { benchmark, randomFeeds } from "../../dist/measure/index.js";
import { load } from "../../dist/onnx/index.js";
import { optimize } from "../../dist/passes/index.js";

const [name, ...paths] = process.argv.slice(2);
const models = await Promise.all(paths.map(async (path) => (await optimize().run(await load(path))).model));
const results = fileURLToPath(new URL("../results/pruning-cifar10.json", import.meta.url));
let rows = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
for (const runtime of ["node", "wasm"]) {
  const [whole, ...times] = await benchmark(models, randomFeeds(models[0]), { runtime, threads: 1, seconds: 15 });
  for (const [i, time] of times.entries()) {
    const row = {
      run: `latency, ${name}, ${basename(paths[i + 1], ".onnx")}, ${runtime}`,
      wholeMs: whole.medianMs,
      ms: time.medianMs,
      faster: Number((whole.medianMs / time.medianMs).toFixed(3)),
      machine: cpus()[0]?.model,
      date: new Date().toISOString().slice(0, 10),
    };
    console.log(row);
    rows = [...rows.filter(({ run }) => run !== row.run), row];
  }
}
writeFileSync(results, `${JSON.stringify(rows, null, 2)}\n`);
