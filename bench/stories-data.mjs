/** Data of the benches of stories260K: the sample's tokens in windows, and stories the model tells itself. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { arrays } from "../dist/data/index.js";
import { random } from "../dist/numeric/random.js";
import { openSession } from "../dist/runtime/index.js";

export const WINDOW = 128;

/** Stories as a dataset, so that nothing is chosen on the sample. */
export const storiesTold = async (model, count) =>
  arrays({ x: { input_ids: { dtype: "int64", shape: [count, WINDOW], data: await storiesDrawn(model, count) } } });

function windowsIn(folder) {
  const pieces = readPieces(readFileSync(join(folder, "tok512.bin")));
  return readFileSync(join(folder, "tinystories_sample.txt"), "utf8")
    .split("<|endoftext|>")
    .map((story) => story.trim())
    .filter((story) => story !== "")
    .map((story) => encode(story, pieces))
    .flatMap((tokens) =>
      Array.from({ length: Math.ceil(tokens.length / WINDOW) }, (_, i) => tokens.slice(i * WINDOW, (i + 1) * WINDOW)),
    );
}

/** Mean of −ln of the probability of each token after the first of its window. */
export async function lossOf(model, folder) {
  const windows = windowsIn(folder);
  const session = await openSession(model, { threads: 1 });
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
async function storiesDrawn(model, count) {
  const next = random(1);
  const ids = new BigInt64Array(count * WINDOW);
  for (let row = 0; row < count; row++) ids[row * WINDOW] = 1n;
  const session = await openSession(model, { threads: 1 });
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
function encode(text, pieces) {
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
