import { describe, expect, it } from "vitest";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, int64s, readFloats, type Tensor, type TensorData } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { randomFeeds } from "../measure/feeds.ts";
import { parametersOf } from "../measure/parameters.ts";
import { openSession } from "../runtime/session.ts";
import type { ArchitectureOptions } from "./architecture.ts";
import { rotaryEmbedding, rotate } from "./attention.ts";
import { ARCHITECTURES, architectures, create } from "./index.ts";
import { normal } from "./init.ts";
import { llama } from "./llama.ts";
import { Net } from "./net.ts";

/** A size that runs in no time. */
const SMALL = { vocabulary: 50, layers: 2, dimension: 32, heads: 4, inner: 48 };

const GROUPED = { ...SMALL, classes: 0, channels: 0, resolution: 0, length: 0, width: 1, depth: 1, seed: 5 };

/** The names of the nets that read text, and of those that look both ways. */
const TEXT = architectures().filter((name) => "vocabulary" in ARCHITECTURES[name]!.defaults);
const ENCODERS = TEXT.filter((name) => name !== "llama");

const int64 = (shape: readonly number[], values: readonly number[]): TensorData => ({
  dtype: "int64",
  shape,
  data: BigInt64Array.from(values, BigInt),
});

/** Runs a net on tokens [N, T], with the places of padding masked, all of the first sentence unless types are given. */
async function run(model: Model, tokens: readonly number[][], mask?: readonly number[][], types?: readonly number[][]) {
  const shape = [tokens.length, tokens[0]!.length];
  const all = {
    input_ids: int64(shape, tokens.flat()),
    attention_mask: int64(shape, (mask ?? tokens.map((row) => row.map(() => 1))).flat()),
    token_type_ids: int64(shape, (types ?? tokens.map((row) => row.map(() => 0))).flat()),
  };
  const session = await openSession(model);
  try {
    return await session.run(Object.fromEntries(Object.entries(all).filter(([name]) => session.inputs.includes(name))));
  } finally {
    await session.close();
  }
}

const floats = (data: TensorData | undefined): number[] => Array.from(data!.data as Float32Array);

const worst = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));

const codeOf = (make: () => unknown): string | undefined => {
  try {
    make();
  } catch (error) {
    return error instanceof MinnowError ? error.code : `${error}`;
  }
  return undefined;
};

describe.each(TEXT)("%s", (name) => {
  const open = create(name, { ...SMALL, seed: 5 });

  it("does not look at padding, and looks at everything else", async () => {
    const tokens = [7, 3, 9, 4, 8, 2];
    const mask = [1, 1, 1, 1, 0, 0];
    // MobileBERT's embedding of a token reads its neighbours', so the first place of padding stays.
    const other = [...tokens.slice(0, 4), name === "mobilebert" ? 8 : 41, 17];
    const [same, padded, changed] = await Promise.all([
      run(open, [tokens], [mask]),
      run(open, [other], [mask]),
      run(open, [other], [mask.map(() => 1)]),
    ]);
    const seen = (output: TensorData | undefined): number[] => {
      const values = floats(output);
      return values.slice(0, output!.shape.length === 3 ? (values.length * 4) / 6 : values.length);
    };
    for (const output of Object.keys(same!)) expect(seen(padded![output])).toEqual(seen(same![output]));
    if (name !== "llama") {
      const states = seen(changed!["last_hidden_state"]);
      expect(worst(states, seen(same!["last_hidden_state"]))).toBeGreaterThan(1e-6);
    }
  });

  it("says the same of a text at a fixed length, alone or in a batch", async () => {
    const texts = [
      [7, 3, 9, 4],
      [1, 2, 3, 4],
    ];
    const fixed = create(name, { ...SMALL, seed: 5, length: 4 });
    verify(fixed);
    const [both, alone] = [await run(open, texts), await run(fixed, [texts[1]!])];
    for (const output of Object.keys(both)) {
      const values = floats(both[output]);
      expect(worst(floats(alone[output]), values.slice(values.length / 2))).toBeLessThan(1e-5);
    }
  });

  it("keeps the size of a head when it is made narrower, and refuses heads that do not share out the channels", () => {
    const shapeOf = (options: Partial<ArchitectureOptions>): readonly number[][] =>
      [...create(name, { ...SMALL, ...options }).graph.weights.values()].map((tensor) => [...tensor.shape]);
    const narrow = { ...SMALL, dimension: 16, heads: 2, inner: 24 };
    expect(shapeOf({ width: 0.5 })).toEqual(shapeOf(narrow));
    expect(shapeOf({ depth: 0.5 })).toEqual(shapeOf({ layers: 1 }));
    expect(codeOf(() => create(name, { ...SMALL, heads: 5 }))).toBe("architectures/heads");
  });
});

describe.each(ENCODERS)("%s", (name) => {
  it("classifies sequences where it is given classes, and knows the order of tokens", async () => {
    const model = create(name, { ...SMALL, classes: 3, seed: 2 });
    verify(model);
    const { logits } = await run(model, [
      [7, 3, 9, 4],
      [7, 9, 3, 4],
    ]);
    expect(logits?.shape).toEqual([2, 3]);
    const values = floats(logits);
    expect(worst(values.slice(0, 3), values.slice(3))).toBeGreaterThan(1e-6);
  });

  it("has no places beyond 512", () => {
    expect(codeOf(() => create(name, { ...SMALL, length: 513 }))).toBe("architectures/length");
    expect(codeOf(() => create(name, { ...SMALL, length: 512 }))).toBeUndefined();
  });
});

describe("llama", () => {
  it("does not see the future: a token changes what is said from its place on, and nothing before", async () => {
    const model = create("llama", { ...SMALL, kvHeads: 2, seed: 5 });
    const [before, after] = [await run(model, [[7, 3, 9, 4, 8]]), await run(model, [[7, 3, 9, 5, 8]])];
    const [a, b] = [floats(before["logits"]), floats(after["logits"])];
    const { vocabulary } = SMALL;
    expect(b.slice(0, 3 * vocabulary)).toEqual(a.slice(0, 3 * vocabulary));
    for (const place of [3, 4])
      expect(worst(a.slice(place * vocabulary, (place + 1) * vocabulary), b.slice(place * vocabulary))).toBeGreaterThan(
        1e-4,
      );
  });

  it("is a net with as many key-value heads as heads, the same ones several times", async () => {
    const grouped = llama({ ...GROUPED, kvHeads: 2 });
    const full = llama({ ...GROUPED, kvHeads: 4 });
    const repeated = new Map<string, Tensor>();
    for (const [name, tensor] of grouped.graph.weights)
      if (full.graph.weights.has(name)) repeated.set(name, /[kv]_proj/.test(name) ? await eachTwice(tensor) : tensor);
    const same: Model = { ...full, graph: { ...full.graph, weights: new Map([...full.graph.weights, ...repeated]) } };
    const text = [[7, 3, 9, 4, 8]];
    const [a, b] = [await run(grouped, text), await run(same, text)];
    expect(worst(floats(a["logits"]), floats(b["logits"]))).toBeLessThan(1e-6);
  });

  it("reads its last layer off the table of tokens, unless it is told to have one of its own", async () => {
    const [tied, own] = [true, false].map((tied) => llama({ ...GROUPED, kvHeads: 0, tied }));
    const { vocabulary, dimension } = SMALL;
    expect(parametersOf(own!) - parametersOf(tied!)).toBe(vocabulary * dimension);
    const weights = new Map(own!.graph.weights);
    const table = await readFloats(weights.get("model.embed_tokens.weight")!);
    const turned = Array.from(
      { length: table.length },
      (_, i) => table[(i % vocabulary) * dimension + Math.floor(i / vocabulary)]!,
    );
    weights.set("lm_head.weight", float32s([dimension, vocabulary], turned));
    const [a, b] = [
      await run(tied!, [[7, 3, 9]]),
      await run({ ...own!, graph: { ...own!.graph, weights } }, [[7, 3, 9]]),
    ];
    expect(worst(floats(a["logits"]), floats(b["logits"]))).toBeLessThan(1e-6);
  });

  it("refuses key-value heads that the heads cannot share, and heads without pairs to turn", () => {
    expect(codeOf(() => create("llama", { ...SMALL, dimension: 36 }))).toBe("architectures/heads");
    expect(codeOf(() => create("llama", { ...SMALL, kvHeads: 3 }))).toBe("architectures/heads");
  });
});

/** Rows of a matrix [in, 2 · 8] as keys and values have them, each head's eight columns twice. */
async function eachTwice(tensor: Tensor): Promise<Tensor> {
  const [rows, columns] = tensor.shape as readonly [number, number];
  const values = await readFloats(tensor);
  const twice = Array.from({ length: rows * columns * 2 }, (_, i) => {
    const [row, column] = [Math.floor(i / (2 * columns)), i % (2 * columns)];
    return values[row * columns + Math.floor(column / 16) * 8 + (column % 8)]!;
  });
  return float32s([rows, 2 * columns], twice);
}

describe("rotary embedding", () => {
  it("makes a score depend on how far apart two tokens are, and on that it does depend", async () => {
    const [length, size] = [12, 8];
    const net = new Net({ seed: 3 });
    const rotation = rotaryEmbedding(net, net.constant("places", int64s(Array.from({ length }, (_, i) => i))), size);
    const everywhere = net.input("everywhere", [1, length, 1]);
    const turned = (name: string) =>
      rotate(net, net.mul(everywhere, net.parameter(name, [1, 1, size], normal(1))), rotation);
    const scores = net.matMul(turned("query"), net.transpose(turned("key"), [0, 2, 1]));
    const session = await openSession(net.model({ scores }, "rotary"));
    const ones = { dtype: "float32", shape: [1, length, 1], data: new Float32Array(length).fill(1) } as const;
    const found = floats((await session.run({ everywhere: ones }))["scores"]);
    await session.close();
    const at = (query: number, key: number): number => found[query * length + key]!;
    for (let apart = 0; apart < length; apart++)
      for (let key = 0; key + apart < length; key++) {
        expect(at(key + apart, key)).toBeCloseTo(at(apart, 0), 4);
        expect(at(key, key + apart)).toBeCloseTo(at(0, apart), 4);
      }
    expect(Math.abs(at(1, 0) - at(0, 1))).toBeGreaterThan(1e-2);
  });
});

describe("mobilevit_s", () => {
  it("takes sizes its patches do not divide", async () => {
    const model = create("mobilevit_s", { classes: 3, resolution: 96, width: 0.5 });
    verify(model);
    const session = await openSession(model);
    const { logits } = await session.run(randomFeeds(model, { batch: 2, seed: 1 }));
    await session.close();
    expect(logits?.shape).toEqual([2, 3]);
    expect(floats(logits).every(Number.isFinite)).toBe(true);
    expect(model.graph.nodes.filter(({ op }) => op === "Resize").length).toBe(2);
  });
});
