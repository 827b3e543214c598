/**
 * Calibration beside inference alone, over the same examples in the same batches: seconds, and the most memory a process of
 * its own ever held, for a tenth of the examples and for all of them.
 *
 *     node bench/calibration.mjs MODEL DATA.npz [COUNT]
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { openDataset } from "../dist/data/open.node.js";
import { feedBatches } from "../dist/measure/evaluate.js";
import { load } from "../dist/onnx/index.js";
import { optimize } from "../dist/passes/index.js";
import { calibrate, observedValues } from "../dist/quantize/calibrate.js";
import { observeExtrema } from "../dist/quantize/extrema.js";
import { openSession } from "../dist/runtime/index.js";

const [model, path, count = "10000", how] = process.argv.slice(2);
if (how === undefined) {
  for (const what of ["inference", "minmax", "histograms"])
    for (const some of [Math.round(Number(count) / 10), Number(count)])
      process.stdout.write(
        execFileSync(process.execPath, [fileURLToPath(import.meta.url), model, path, String(some), what]),
      );
  process.exit(0);
}
const { model: base } = await optimize().run(await load(model));
const data = (await openDataset(path)).data.take(Number(count));
const start = performance.now();
const work = {
  async inference() {
    const session = await openSession(base);
    for await (const { feeds } of feedBatches(base, data)) await session.run(feeds);
  },
  minmax: () => observeExtrema(base, observedValues(base), data, {}),
  histograms: () => calibrate(base, data),
};
await work[how]();
console.log(
  JSON.stringify({
    ...{ bench: "calibration", what: how, examples: data.size },
    seconds: Number(((performance.now() - start) / 1000).toFixed(2)),
    peakMB: Math.round(process.resourceUsage().maxRSS / 1000),
  }),
);
