/**
 * What each format and method costs a small language model: nats a token of stories260K on a sample, and the bytes of the
 * file. Calibrated on stories the model tells itself, so that nothing is chosen on the sample.
 *
 *     MINNOW_REAL=… node bench/stories.mjs [BITS …]
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { arrays } from "../dist/data/index.js";
import { random } from "../dist/numeric/random.js";
import { load, toBytes } from "../dist/onnx/index.js";
import { quantizeWeights, storeWeights } from "../dist/quantize/index.js";
import { openSession } from "../dist/runtime/index.js";

const real = process.env.MINNOW_REAL ?? fileURLToPath(new URL("../../shared/real", import.meta.url));
const folder = join(real, "models/text");
if (!existsSync(folder)) {
  console.log("The folder of real models is not here (MINNOW_REAL); nothing to measure.");
  process.exit(0);
}
const WINDOW = 128;
const CALIBRATION = 64;

const pieces = readPieces(readFileSync(join(folder, "tok512.bin")));
const windows = readFileSync(join(folder, "tinystories_sample.txt"), "utf8")
  .split("<|endoftext|>")
  .map((story) => story.trim())
  .filter((story) => story !== "")
  .map(encode)
  .flatMap((tokens) =>
    Array.from({ length: Math.ceil(tokens.length / WINDOW) }, (_, i) => tokens.slice(i * WINDOW, (i + 1) * WINDOW)),
  );
const float = await load(join(folder, "stories260K_T128.onnx"));
const told = await tell(float, CALIBRATION);
const data = arrays({ x: { input_ids: { dtype: "int64", shape: [CALIBRATION, WINDOW], data: told } } });
const base = await lossOf(float);
console.log(`| bits | method | nats a token | lost | bytes |\n|---|---|---|---|---|`);
console.log(`| 32 | float | ${base.toFixed(4)} | | ${(await toBytes(float)).length} |`);

const wanted = process.argv.slice(2).map(Number);
for (const bits of wanted.length > 0 ? wanted : [8, 4, 3, 2])
  for (const [name, pass] of methods(bits)) {
    const { model } = await pass.run(float);
    const loss = await lossOf(model);
    const bytes = (await toBytes(model)).length;
    console.log(`| ${bits} | ${name} | ${loss.toFixed(4)} | ${(loss - base).toFixed(4)} | ${bytes} |`);
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

/** Mean of −ln of the probability of each token after the first of its window. */
async function lossOf(model) {
  const session = await openSession(model);
  let [sum, count] = [0, 0];
  for (const window of windows) {
    const ids = BigInt64Array.from({ length: WINDOW }, (_, i) => BigInt(window[i] ?? 0));
    const { logits } = await session.run({ input_ids: { dtype: "int64", shape: [1, WINDOW], data: ids } });
    const vocabulary = logits.shape[2];
    for (let i = 0; i + 1 < window.length; i++) {
      const row = logits.data.subarray(i * vocabulary, (i + 1) * vocabulary);
      sum += Math.log(row.reduce((total, value) => total + Math.exp(value), 0)) - row[window[i + 1]];
      count++;
    }
  }
  await session.close();
  return sum / count;
}

/** Stories drawn from the model's own probabilities. */
async function tell(model, count) {
  const next = random(1);
  const ids = new BigInt64Array(count * WINDOW);
  for (let row = 0; row < count; row++) ids[row * WINDOW] = 1n;
  const session = await openSession(model);
  for (let place = 0; place + 1 < WINDOW; place++) {
    const { logits } = await session.run({ input_ids: { dtype: "int64", shape: [count, WINDOW], data: ids } });
    const vocabulary = logits.shape[2];
    for (let row = 0; row < count; row++) {
      const scores = logits.data.subarray((row * WINDOW + place) * vocabulary, (row * WINDOW + place + 1) * vocabulary);
      const chances = scores.map(Math.exp);
      let rest = next() * chances.reduce((a, b) => a + b, 0);
      let token = 0;
      while (token + 1 < vocabulary && rest >= chances[token]) rest -= chances[token++];
      ids[row * WINDOW + place + 1] = BigInt(token);
    }
  }
  await session.close();
  return ids;
}

function readPieces(bytes) {
  const out = [];
  for (let at = 4; at < bytes.length; ) {
    const length = bytes.readInt32LE(at + 4);
    out.push({ piece: bytes.toString("latin1", at + 8, at + 8 + length), score: bytes.readFloatLE(at) });
    at += 8 + length;
  }
  return out;
}

/** Tokens as llama2.c makes them: a start, a space, then the pair of the best score is joined until none is left. */
function encode(text) {
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]));
  const tokens = [...` ${text}`].flatMap((letter) => {
    const id = ids.get(Buffer.from(letter, "utf8").toString("latin1"));
    return id === undefined ? [...Buffer.from(letter, "utf8")].map((byte) => byte + 3) : [id];
  });
  for (;;) {
    let best;
    for (let at = 0; at + 1 < tokens.length; at++) {
      const id = ids.get(pieces[tokens[at]].piece + pieces[tokens[at + 1]].piece);
      if (id !== undefined && (best === undefined || pieces[id].score > best.score))
        best = { at, id, score: pieces[id].score };
    }
    if (best === undefined) return [1, ...tokens];
    tokens.splice(best.at, 2, best.id);
  }
}
