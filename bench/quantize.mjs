/**
 * Quantizes one model in a process of its own and prints what it took: { seconds, peakBytes, bytes }.
 *
 *     node bench/quantize.mjs MODEL CALIBRATION.npz METHOD[+bias] OUTPUT
 */
import { statSync } from "node:fs";
import { openDataset } from "../dist/data/open.node.js";
import { load, quantizeStatic, save } from "../dist/index.js";

const [model, calibration, how, output] = process.argv.slice(2);
const [method, correction] = how.split("+");
const start = performance.now();
const { data } = await openDataset(calibration);
const result = await quantizeStatic({ data, method, biasCorrection: correction === "bias" }).run(await load(model));
await save(result.model, output);
const seconds = (performance.now() - start) / 1000;
console.log(
  JSON.stringify({ seconds, peakBytes: process.resourceUsage().maxRSS * 1024, bytes: statSync(output).size }),
);
