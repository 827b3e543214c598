import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { real, WITHOUT_REAL } from "../../test/real.ts";
import { float32s, type Tensor, type TensorData } from "../ir/tensor.ts";
import { openSession } from "../runtime/session.ts";
import { llama } from "./llama.ts";
import { loadWeights } from "./weights.ts";

const FOLDER = "models/text";
const WINDOW = 128;

/** Numbers of a file in llama2.c's format: seven sizes, then the weights, each of all layers in turn. */
async function readStories() {
  const bytes = await readFile(real(`${FOLDER}/stories260K.bin`)!);
  const [dimension = 0, inner = 0, layers = 0, heads = 0, kvHeads = 0, vocabulary = 0] = new Int32Array(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 28),
  );
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset + 28, bytes.byteOffset + bytes.byteLength));
  const size = dimension / heads;
  const weights = new Map<string, Tensor>();
  let at = 0;
  const take = (rows: number, columns?: number): Float32Array => {
    const from = at;
    at += rows * (columns ?? 1);
    return values.subarray(from, at);
  };
  const each = (name: string, rows: number, columns?: number, change = (w: Float32Array) => w): void => {
    const shape = columns === undefined ? [rows] : [rows, columns];
    for (let i = 0; i < layers; i++)
      weights.set(`model.layers.${i}.${name}.weight`, float32s(shape, change(take(rows, columns))));
  };
  weights.set("model.embed_tokens.weight", float32s([vocabulary, dimension], take(vocabulary, dimension)));
  each("input_layernorm", dimension);
  each("self_attn.q_proj", dimension, dimension, (w) => halves(w, heads, size));
  each("self_attn.k_proj", kvHeads * size, dimension, (w) => halves(w, kvHeads, size));
  each("self_attn.v_proj", kvHeads * size, dimension);
  each("self_attn.o_proj", dimension, dimension);
  each("post_attention_layernorm", dimension);
  each("mlp.gate_proj", inner, dimension);
  each("mlp.down_proj", dimension, inner);
  each("mlp.up_proj", inner, dimension);
  weights.set("model.norm.weight", float32s([dimension], take(dimension)));
  return { sizes: { dimension, inner, layers, heads, kvHeads, vocabulary }, weights };
}

/** Rows of a matrix in the order of Hugging Face: pairs of a head that stood beside each other stand half a head apart. */
function halves(matrix: Float32Array, heads: number, size: number): Float32Array {
  const columns = matrix.length / (heads * size);
  const out = new Float32Array(matrix.length);
  for (let row = 0; row < heads * size; row++) {
    const [head, within] = [Math.floor(row / size), row % size];
    const from = head * size + 2 * (within % (size / 2)) + Math.floor(within / (size / 2));
    out.set(matrix.subarray(from * columns, (from + 1) * columns), row * columns);
  }
  return out;
}

/** The pieces of llama2.c's tokenizer, with the score of each. */
async function readPieces(): Promise<{ piece: string; score: number }[]> {
  const bytes = await readFile(real(`${FOLDER}/tok512.bin`)!);
  const pieces = [];
  for (let at = 4; at < bytes.length; ) {
    const length = bytes.readInt32LE(at + 4);
    pieces.push({ piece: bytes.toString("latin1", at + 8, at + 8 + length), score: bytes.readFloatLE(at) });
    at += 8 + length;
  }
  return pieces;
}

/** Tokens of a text as llama2.c makes them: a start, a space, then the pair of the best score is joined until none is left. */
function encode(text: string, pieces: readonly { piece: string; score: number }[]): number[] {
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]));
  const latin = (letters: string): string => Buffer.from(letters, "utf8").toString("latin1");
  const tokens = [...` ${text}`].flatMap((letter) => {
    const id = ids.get(latin(letter));
    return id === undefined ? [...Buffer.from(letter, "utf8")].map((byte) => byte + 3) : [id];
  });
  for (;;) {
    let best: { at: number; id: number; score: number } | undefined;
    for (let at = 0; at + 1 < tokens.length; at++) {
      const id = ids.get(pieces[tokens[at]!]!.piece + pieces[tokens[at + 1]!]!.piece);
      const score = id === undefined ? Number.NEGATIVE_INFINITY : pieces[id]!.score;
      if (id !== undefined && score > (best?.score ?? Number.NEGATIVE_INFINITY)) best = { at, id, score };
    }
    if (best === undefined) return [1, ...tokens];
    tokens.splice(best.at, 2, best.id);
  }
}

/** Mean of −ln of the probability of each token after the first of its window; logits are [windows, 128, vocabulary]. */
function lossOf(logits: Float32Array, windows: readonly (readonly number[])[]): number {
  const vocabulary = logits.length / (windows.length * WINDOW);
  const losses = windows.flatMap((window, w) =>
    window.slice(1).map((next, place) => {
      const from = (w * WINDOW + place) * vocabulary;
      const row = logits.subarray(from, from + vocabulary);
      return Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0)) - row[next]!;
    }),
  );
  return losses.reduce((a, b) => a + b) / losses.length;
}

/** The stories of the sample, each begun anew, in windows of at most 128 tokens. */
async function readWindows(): Promise<number[][]> {
  const text = await readFile(real(`${FOLDER}/tinystories_sample.txt`)!, "utf8");
  const pieces = await readPieces();
  const stories = text.split("<|endoftext|>").map((story) => story.trim());
  return stories
    .filter((story) => story !== "")
    .map((story) => encode(story, pieces))
    .flatMap((tokens) =>
      Array.from({ length: Math.ceil(tokens.length / WINDOW) }, (_, i) => tokens.slice(i * WINDOW, (i + 1) * WINDOW)),
    );
}

const int64 = (shape: readonly number[], values: readonly number[]): TensorData => ({
  dtype: "int64",
  shape,
  data: BigInt64Array.from(values, BigInt),
});

describe.skipIf(!real(`${FOLDER}/stories260K.bin`))(`llama with the weights of stories260K (${WITHOUT_REAL})`, () => {
  it("says what the exported model says of each token of a text, and so predicts it as well", async () => {
    const { sizes, weights } = await readStories();
    const options = {
      ...sizes,
      length: WINDOW,
      eps: 1e-5,
      classes: 0,
      channels: 0,
      resolution: 0,
      width: 1,
      depth: 1,
      seed: 0,
    };
    const { model, missing, unexpected } = await loadWeights(llama(options), weights);
    expect([missing, unexpected]).toEqual([[], []]);

    const windows = await readWindows();
    const padded = windows.flatMap((window) => [...window, ...Array<number>(WINDOW - window.length).fill(0)]);
    const ids = int64([windows.length, WINDOW], padded);
    const mask = int64(ids.shape, Array<number>(padded.length).fill(1));
    const run = async (from: Parameters<typeof openSession>[0], feeds: Record<string, TensorData>) => {
      const session = await openSession(from);
      const { logits } = await session.run(feeds);
      await session.close();
      return logits?.data as Float32Array;
    };
    const ours = await run(model, { input_ids: ids, attention_mask: mask });
    const theirs = await run(real(`${FOLDER}/stories260K_T128.onnx`)!, { input_ids: ids });
    expect(theirs.reduce((most, value, i) => Math.max(most, Math.abs(value - ours[i]!)), 0)).toBeLessThan(1e-4);
    expect(lossOf(theirs, windows)).toBeCloseTo(1.382, 3);
    expect(lossOf(ours, windows)).toBeCloseTo(1.382, 3);
  });
});
