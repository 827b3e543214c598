import { describe, expect, it } from "vitest";
import type { MinnowError } from "../errors.ts";
import { load } from "./index.ts";
import type { Raw } from "./schema.ts";
import { blob, floats2, joined, modelFile, RELU, varint, weight } from "./wire.samples.ts";

const refusal = (file: Uint8Array): Promise<MinnowError> =>
  load(file).then(
    () => expect.unreachable("it was read"),
    (e) => e,
  );

const relu = RELU.nodes![0] as Raw<"Node">;

/** What is wrong with the file, the code it is refused with, and the place the message names. */
const CASES: [string, Uint8Array, string, string?][] = [
  ["nothing", new Uint8Array(0), "onnx/damaged", "bytes"],
  [
    "a page of HTML",
    new TextEncoder().encode("<!DOCTYPE html><html><head><title>Not Found</title>"),
    "onnx/damaged",
    "bytes",
  ],
  ["zeros", new Uint8Array(100), "onnx/damaged", "bytes"],
  ["a tensor file", joined([varint(2, 1)]), "onnx/no-graph", "bytes"],
  ["a file cut in the middle", modelFile(RELU).subarray(0, 40), "onnx/damaged", "bytes"],
  [
    "a length beyond the end",
    joined([blob(7, new Uint8Array(0)).subarray(0, 1), Uint8Array.of(0xff, 0xff, 0x7f)]),
    "onnx/damaged",
  ],
  ["a length of 4 GB", joined([Uint8Array.of(58, 0xff, 0xff, 0xff, 0xff, 0x0f)]), "onnx/damaged"],
  ["a varint without end", new Uint8Array(20).fill(0xff), "onnx/damaged"],
  ["a group", Uint8Array.of(0x0b, 0x0b, 0x0c, 0x0c), "onnx/damaged"],
  ["a negative size", modelFile({ ...RELU, weights: [{ ...weight("w", 1), dims: [-1] }] }), "onnx/dims", 'tensor "w"'],
  [
    "sizes beyond counting",
    modelFile({ ...RELU, weights: [{ ...weight("w", 1), dims: [2 ** 30, 2 ** 30] }] }),
    "onnx/dims",
  ],
  ["a size beyond 2⁵³", modelFile({ ...RELU, weights: [{ ...weight("w", 1), dims: [2n ** 62n] }] }), "onnx/dims"],
  [
    "too little data",
    modelFile({ ...RELU, weights: [{ ...weight("w", 1), dims: [2] }] }),
    "onnx/tensor-size",
    'tensor "w"',
  ],
  ["no data", modelFile({ ...RELU, weights: [{ name: "w", dims: [2], dtype: 1 }] }), "onnx/tensor-size", 'tensor "w"'],
  ["too much large data", modelFile({ ...RELU, weights: [{ ...weight("w", 5000), dims: [2] }] }), "onnx/tensor-size"],
  ["too few strings", modelFile({ ...RELU, weights: [{ name: "w", dims: [2], dtype: 8 }] }), "onnx/tensor-size"],
  ["no element type", modelFile({ ...RELU, weights: [{ name: "w", dims: [] }] }), "onnx/dtype", 'tensor "w"'],
  [
    "two weights of one name",
    modelFile({ ...RELU, weights: [weight("w", 1), weight("w", 1)] }),
    "onnx/duplicate",
    'weight "w"',
  ],
  ["a weight that a node writes", modelFile({ ...RELU, weights: [weight("y", 1)] }), "graph/written-twice", 'Relu "y"'],
  ["two inputs of one name", modelFile({ ...RELU, inputs: [floats2("x"), floats2("x")] }), "graph/written-twice"],
  ["a dangling read", modelFile({ ...RELU, inputs: [] }), "graph/dangling", 'Relu "y"'],
  ["a dangling output", modelFile({ ...RELU, nodes: [] }), "graph/dangling", 'graph output "y"'],
  ["a cycle", modelFile({ ...RELU, nodes: [{ ...relu, inputs: ["y"] }] }), "graph/cycle", 'Relu "y"'],
  ["half a sparse weight", modelFile({ ...RELU, sparseWeights: [{ values: weight("s", 1) }] }), "onnx/sparse"],
  [
    "a function that reads what nobody writes",
    modelFile(RELU, { functions: [{ name: "f", domain: "d", nodes: [relu] }] }),
    "graph/dangling",
  ],
  [
    "data in another file, of bytes that have no file beside them",
    modelFile({
      ...RELU,
      weights: [{ name: "w", dims: [1], dtype: 1, location: 1, external: [{ key: "location", value: "w.bin" }] }],
    }),
    "onnx/external-unreachable",
    'tensor "w"',
  ],
];

describe("A file that is no good is refused with a sentence that says why, where, and what to do", () => {
  it.each(CASES)("%s", async (_, file, code, at) => {
    const error = await refusal(file);
    expect(error).toMatchObject({ name: "MinnowError", code });
    if (at !== undefined) expect(error.at).toBe(at);
    expect(error.mend?.length).toBeGreaterThan(10);
  });

  it("messages nested beyond all reason", async () => {
    let inner = new Uint8Array(0);
    for (let i = 0; i < 2000; i++) inner = blob(1, blob(5, blob(6, inner))) as Uint8Array<ArrayBuffer>;
    expect(await refusal(blob(7, inner))).toMatchObject({ code: "onnx/too-deep" });
    expect(await refusal(blob(7, joined([inner, new Uint8Array(0)])))).toMatchObject({ code: "onnx/too-deep" });
  });

  it("millions of empty messages, within a bound of memory", async () => {
    const bomb = new Uint8Array(16_000_000);
    for (let i = 0; i < bomb.length; i += 2) bomb[i] = 0x0a;
    const before = process.memoryUsage().rss;
    expect(await refusal(blob(7, bomb))).toMatchObject({ code: "onnx/too-many" });
    expect(process.memoryUsage().rss - before).toBeLessThan(1.5e9);
  });

  it("millions of unknown fields are kept in one piece", async () => {
    const junk = new Uint8Array(8_000_000);
    for (let i = 0; i < junk.length; i += 2) junk[i] = 0xf8 - 0x80;
    const model = await load(joined([modelFile(RELU), junk]));
    expect(model.unknown?.length).toBe(1);
  });
});
