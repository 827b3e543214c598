import { describe, expect, it } from "vitest";
import { arrays } from "../data/arrays.ts";
import type { Dataset } from "../data/dataset.ts";
import { readFloats, type TensorData } from "../ir/tensor.ts";
import { parameterWeights } from "../measure/parameters.ts";
import { random } from "../numeric/random.ts";
import { adamW, constant, languageModel, type TrainOptions, train } from "../train/index.ts";
import type { ArchitectureOptions } from "./architecture.ts";
import { create } from "./index.ts";

const LENGTH = 6;
const SIZES = { vocabulary: 12, layers: 2, dimension: 32, heads: 4, inner: 48 };

const int64 = (shape: readonly number[], values: readonly number[]): TensorData => ({
  dtype: "int64",
  shape,
  data: BigInt64Array.from(values, BigInt),
});

/** Texts in which a token stands, or does not; with padding at the end of some. */
function texts(count: number): Dataset {
  const next = random(3);
  const y = Array.from({ length: count }, (_, i) => i % 2);
  const rows = y.map((label) => {
    const row = Array.from({ length: LENGTH }, () => 3 + Math.floor(9 * next()));
    row[Math.floor(4 * next())] = 1 + label;
    return row;
  });
  const masks = rows.map((_, i) => Array.from({ length: LENGTH }, (_, place) => Number(i % 3 > 0 || place < 4)));
  const shape = [count, LENGTH];
  const x = {
    input_ids: int64(shape, rows.flat()),
    attention_mask: int64(shape, masks.flat()),
    token_type_ids: int64(shape, Array<number>(count * LENGTH).fill(0)),
  };
  return arrays({ x, y });
}

/** Rows that count up from anywhere. */
function counting(count: number): Dataset {
  const next = random(3);
  const rows = Array.from({ length: count }, () => Math.floor(6 * next()));
  const shape = [count, LENGTH];
  const input_ids = int64(
    shape,
    rows.flatMap((start) => Array.from({ length: LENGTH }, (_, i) => start + i)),
  );
  return arrays({ x: { input_ids, attention_mask: int64(shape, Array<number>(count * LENGTH).fill(1)) } });
}

/** Pictures that are light on the left or on the right. */
function pictures(count: number): Dataset {
  const next = random(3);
  const y = Array.from({ length: count }, (_, i) => i % 2);
  const data = Float32Array.from({ length: count * 3 * 32 * 32 }, (_, k) => {
    const right = Number(k % 32 >= 16);
    return Number(right === y[Math.floor(k / (3 * 32 * 32))]) + 0.3 * next();
  });
  return arrays({ x: { dtype: "float32", shape: [count, 3, 32, 32], data }, y });
}

const text: Partial<TrainOptions> = { sizes: new Map([["T", LENGTH]]), epochs: 8 };
const small = { classes: 2, resolution: 32, channels: 3 };

const CASES: readonly (readonly [string, Partial<ArchitectureOptions>, Dataset, Partial<TrainOptions>])[] = [
  ["bert_tiny", { ...SIZES, classes: 2 }, texts(96), text],
  ["distilbert", { ...SIZES, classes: 2, length: LENGTH }, texts(96), { epochs: 8 }],
  ["mobilebert", { ...SIZES, classes: 2 }, texts(96), text],
  ["llama", { ...SIZES, kvHeads: 2 }, counting(48), { ...text, loss: languageModel({ tokens: "input_ids" }) }],
  ["vit_tiny", { ...small, depth: 0.2 }, pictures(32), { epochs: 4, schedule: constant(5e-4) }],
  ["mobilevit_xxs", { ...small, depth: 0.5, width: 0.5 }, pictures(32), { epochs: 3 }],
];

describe("a transformer learns, and every weight of it", () => {
  it.each(CASES)("%s", async (name, options, data, more) => {
    const model = create(name, { ...options, seed: 1 });
    const settings = { epochs: 4, batch: 16, optimizer: adamW(), schedule: constant(3e-3), clipNorm: 1 };
    const { model: trained, history } = await train(model, { ...settings, data, ...more });
    expect(history.at(-1)!.loss).toBeLessThan(0.8 * history[0]!.loss);
    for (const weight of parameterWeights(model).keys()) {
      // A bias of the keys adds the same to all scores of a query: no softmax sees it.
      if (/key\.bias|k_lin\.bias/.test(weight)) continue;
      const [before, after] = await Promise.all(
        [model, trained].map(({ graph }) => readFloats(graph.weights.get(weight)!)),
      );
      expect(after, weight).not.toEqual(before);
    }
  });
});
