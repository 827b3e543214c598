/**
 * What each format and method costs a small language model: nats a token of stories260K on a sample, and the bytes of the
 * file. Calibrated on stories the model tells itself, so that nothing is chosen on the sample.
 *
 *     MINNOW_REAL=… node bench/stories.mjs [BITS …] [WORD …]       WORD: only methods whose name has it, such as AWQ
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { load, toBytes } from "../dist/onnx/index.js";
import { sequence } from "../dist/passes/index.js";
import { awq, quantizeWeights, rotate, storeWeights } from "../dist/quantize/index.js";
import { lossOf, storiesTold } from "./stories-data.mjs";

const real = process.env.MINNOW_REAL ?? fileURLToPath(new URL("../../shared/real", import.meta.url));
const folder = join(real, "models/text");
if (!existsSync(folder)) {
  console.log("The folder of real models is not here (MINNOW_REAL); nothing to measure.");
  process.exit(0);
}
const CALIBRATION = 64;

const float = await load(join(folder, "stories260K_T128.onnx"));
const data = await storiesTold(float, CALIBRATION);
const base = await lossOf(float, folder);
console.log(`| bits | method | nats a token | lost | bytes |\n|---|---|---|---|---|`);
console.log(`| 32 | float | ${base.toFixed(4)} | | ${(await toBytes(float)).length} |`);

const given = process.argv.slice(2);
const wanted = given.map(Number).filter((bits) => bits > 0);
const words = given.filter((word) => Number.isNaN(Number(word)));
for (const bits of wanted.length > 0 ? wanted : [8, 4, 3, 2])
  for (const [name, pass] of methods(bits)) {
    if (words.length > 0 && !words.some((word) => name.includes(word))) continue;
    const { model } = await pass.run(float);
    const loss = await lossOf(model, folder);
    const bytes = (await toBytes(model)).length;
    console.log(`| ${bits} | ${name} | ${loss.toFixed(4)} | ${(loss - base).toFixed(4)} | ${bytes} |`);
  }

/** AWQ on the grid, then rounding. */
function scaled(options) {
  const { bits, blockSize, symmetric = true, method = "rtn" } = options;
  const rounding = quantizeWeights({ ...options, ...(options.gptq && { data }) });
  return sequence([awq({ data, bits, blockSize, symmetric, method }), rounding]);
}

function methods(bits) {
  const common = { bits, blockSize: 32, accuracyLevel: 0 };
  const rows = [
    ["RTN", quantizeWeights({ ...common })],
    ["MSE", quantizeWeights({ ...common, method: "mse" })],
    ["k-quant", quantizeWeights({ ...common, method: "kQuant" })],
    ["RTN asymmetric", quantizeWeights({ ...common, symmetric: false })],
    ["MSE asymmetric", quantizeWeights({ ...common, symmetric: false, method: "mse" })],
    ["k-quant asymmetric", quantizeWeights({ ...common, symmetric: false, method: "kQuant" })],
    ["HQQ", quantizeWeights({ ...common, symmetric: false, method: "hqq" })],
    ["GPTQ, MSE", quantizeWeights({ ...common, gptq: true, data })],
    ["GPTQ, MSE, no act-order", quantizeWeights({ ...common, gptq: true, actOrder: false, data })],
    ["GPTQ, k-quant asymmetric", quantizeWeights({ ...common, symmetric: false, gptq: true, method: "kQuant", data })],
    ["GPTQ, MSE asymmetric", quantizeWeights({ ...common, symmetric: false, gptq: true, method: "mse", data })],
    ["AWQ, RTN", scaled({ ...common })],
    ["AWQ, MSE", scaled({ ...common, method: "mse" })],
    ["AWQ, MSE asymmetric", scaled({ ...common, symmetric: false, method: "mse" })],
    ["AWQ, GPTQ, MSE asymmetric", scaled({ ...common, symmetric: false, gptq: true, method: "mse" })],
    ["Rotated, RTN", sequence([rotate(), quantizeWeights({ ...common })])],
    ["Rotated, MSE asymmetric", sequence([rotate(), quantizeWeights({ ...common, symmetric: false, method: "mse" })])],
    [
      "Rotated, GPTQ, MSE asymmetric",
      sequence([rotate(), quantizeWeights({ ...common, symmetric: false, gptq: true, method: "mse", data })]),
    ],
    ["AdaRound, MSE", quantizeWeights({ ...common, adaRound: true, data })],
    ["AdaRound, MSE asymmetric", quantizeWeights({ ...common, symmetric: false, adaRound: true, method: "mse", data })],
    ["storage, MSE, embedding too", storeWeights({ to: `int${bits}` })],
  ];
  if (bits === 4)
    rows.push(
      ["NF4", quantizeWeights({ levels: "nf4", blockSize: 32 })],
      ["FP4", quantizeWeights({ levels: "fp4", blockSize: 32 })],
      ["storage, codebook, embedding too", storeWeights({ to: "codebook" })],
    );
  return rows;
}
