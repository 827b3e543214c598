import { readFileSync } from "node:fs";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { describe, expect, it } from "vitest";
import { MinnowError } from "../../src/errors.ts";
import { bytesSource } from "../../src/files/source.ts";
import { type Random, random } from "../../src/numeric/random.ts";
import { Decoder } from "../../src/onnx/decode.ts";
import { encode } from "../../src/onnx/encode.ts";
import { load, readModel, toBytes } from "../../src/onnx/index.ts";
import { fieldOf, type MessageName, type Raw } from "../../src/onnx/schema.ts";
import { blob, bytesOf, joined, modelFile, packed, RELU, weight } from "../../src/onnx/wire.samples.ts";
import { real } from "../real.ts";

const MUTATIONS = 20_000;

/** A model that has one of everything. */
function everything(): Uint8Array {
  const scalar: Raw<"Type"> = { tensor: { dtype: 1, shape: { dims: [{ param: "N" }, { value: 3 }] } } };
  const constant: Raw<"Node"> = {
    op: "Constant",
    outputs: ["c"],
    attrs: [{ name: "value", type: 4, tensor: weight("", 1100, 2) }],
  };
  const branch: Raw<"Graph"> = { name: "then", nodes: [constant], outputs: [{ name: "c", type: scalar }] };
  const attrs: Raw<"Attribute">[] = [
    { name: "then_branch", type: 5, graph: branch },
    { name: "else_branch", type: 5, graph: branch },
    { name: "ints", type: 7, ints: [1, -1, 2 ** 40] },
    { name: "floats", type: 6, floats: [1, 0.5] },
    { name: "strings", type: 8, strings: [new Uint8Array([65]), new Uint8Array(0)] },
    { name: "type", type: 13, typeProto: { sequence: { of: scalar } } },
    { name: "graphs", type: 10, graphs: [branch] },
  ];
  const ints = { name: "ints", dims: [3], dtype: 6, unknown: [packed(5, [1, -2, 3])] };
  const many = { name: "many", dims: [5000], dtype: 7, unknown: [packed(7, new Array(5000).fill(300))] };
  const floats = { name: "floats", dims: [2], dtype: 1, unknown: [blob(4, bytesOf(Float32Array.of(1, 2)))] };
  const strings = { name: "strings", dims: [2], dtype: 8, stringData: [new Uint8Array([1]), new Uint8Array([2])] };
  const indices = { dims: [1], dtype: 7, rawData: new Uint8Array(8) };
  return modelFile(
    {
      ...RELU,
      nodes: [...(RELU.nodes ?? []), { op: "If", name: "if", inputs: ["x"], outputs: ["z"], attrs, domain: "mine" }],
      weights: [
        ints,
        many,
        floats,
        strings,
        weight("w", 2),
        { name: "half", dims: [1], dtype: 22, rawData: new Uint8Array(1) },
      ],
      sparseWeights: [{ values: weight("s", 1), indices, dims: [9] }],
      valueInfo: [{ name: "v", type: { map: { key: 7, of: { optional: { of: scalar } } }, denotation: "D" } }],
      unknown: [blob(14, new Uint8Array(5))],
      metadata: [{ key: "k", value: "v" }],
    },
    {
      functions: [
        { name: "f", domain: "d", inputs: ["a"], outputs: ["a"], attributes: ["p"], opsets: [{ version: 17 }] },
      ],
    },
  );
}

async function seeds(): Promise<Uint8Array[]> {
  const files = [
    everything(),
    new Uint8Array(readFileSync(new URL("../../examples/digits/digits.onnx", import.meta.url))),
  ];
  for (const path of ["mnist/mnist-8.onnx", "mlperf-tiny/kws_ref_model_float32.onnx", "mnist/cnn_mnist_pytorch.onnx"]) {
    const file = real(`models/${path}`);
    if (file === undefined) continue;
    files.push(new Uint8Array(readFileSync(file)));
  }
  return files;
}

/** Where the things stand that a reader trusts. */
interface Places {
  readonly tags: number[];
  readonly lengths: number[];
  readonly sizes: number[];
  readonly names: [at: number, length: number][];
}

function placesIn(bytes: Uint8Array): Places {
  const places: Places = { tags: [], lengths: [], sizes: [], names: [] };
  const reader = new BinaryReader(bytes);
  const walk = (name: MessageName, end: number): void => {
    while (reader.pos < end) {
      places.tags.push(reader.pos);
      const [number, type] = reader.tag();
      const field = fieldOf(name, number);
      const numeric = field?.kind === "int" || field?.kind === "dataInt";
      if (type !== WireType.LengthDelimited) {
        if (numeric) places.sizes.push(reader.pos);
        reader.skip(type, number);
        continue;
      }
      places.lengths.push(reader.pos);
      const length = reader.uint32();
      if (field?.message !== undefined) walk(field.message, reader.pos + length);
      else {
        if (field?.kind === "string" && length > 0) places.names.push([reader.pos, length]);
        if (numeric) for (let i = 0; i < Math.min(length, 50); i++) places.sizes.push(reader.pos + i);
        reader.pos += length;
      }
    }
  };
  walk("Model", bytes.length);
  return places;
}

const pick = <T>(items: readonly T[], next: Random): T => items[Math.floor(next() * items.length)] as T;
const byte = (next: Random) => Math.floor(next() * 256);

/** Changes bytes where tags, lengths, sizes and names stand. */
function aimed(bytes: Uint8Array, { tags, lengths, sizes, names }: Places, next: Random): Uint8Array {
  const out = bytes.slice();
  const poke = (at: number) => {
    out[at] = pick(
      [0, 1, 0x7f, 0x80, 0xff, out[at]! + 1, out[at]! - 1, out[at]! ^ (1 << Math.floor(next() * 8)), byte(next)],
      next,
    );
  };
  switch (Math.floor(next() * 4)) {
    case 0:
      poke(pick(tags, next));
      break;
    case 1: {
      const at = pick(lengths, next);
      if (next() < 0.7) poke(at);
      else out.set([0xff, 0xff, 0xff, 0xff, pick([0x07, 0x0f, 0x7f], next)], Math.min(at, out.length - 5));
      break;
    }
    case 2:
      poke(pick(sizes, next));
      break;
    default: {
      const [at, length] = pick(names, next);
      const [from, room] = pick(names, next);
      if (next() < 0.5) out.set(bytes.subarray(from, from + Math.min(length, room)), at);
      else poke(at + Math.floor(next() * length));
    }
  }
  return out;
}

const NUMBERS = [0, 1, -1, 2, 7, 99, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 53, 2n ** 63n - 1n, -(2n ** 63n)];

/** Changes what the messages say and writes them again with lengths that fit. */
function reworded(file: Raw<"Model">, names: readonly string[], next: Random): Uint8Array {
  const model = structuredClone(file) as Record<string, unknown>;
  let holder = model;
  for (let depth = 0; depth < 12; depth++) {
    const key = pick(Object.keys(holder), next);
    const value = holder[key];
    const inner = Array.isArray(value) ? pick(value, next) : value;
    if (typeof inner === "object" && inner !== null && !(inner instanceof Uint8Array) && next() < 0.85)
      holder = inner as Record<string, unknown>;
    else {
      holder[key] = changed(value, names, next);
      break;
    }
    if (Object.keys(holder).length === 0) break;
  }
  return joined(encode("Model", model as Raw<"Model">).parts as Uint8Array[]);
}

function changed(value: unknown, names: readonly string[], next: Random): unknown {
  if (typeof value === "number" || typeof value === "bigint") return pick(NUMBERS, next);
  if (typeof value === "string") return pick(["", pick(names, next), "__proto__", "x".repeat(300), "\ud800"], next);
  if (value instanceof Uint8Array) return value.subarray(0, Math.floor(next() * value.length));
  if (!Array.isArray(value)) return undefined;
  const at = Math.floor(next() * value.length);
  const [one] = value.slice(at, at + 1);
  if (next() < 0.3) return value.toSpliced(at, 1);
  if (next() < 0.3) return value.toReversed();
  if (next() < 0.3 || typeof one === "object") return [...value, one];
  return value.with(at, changed(one, names, next));
}

/** Changes bytes anywhere: flips, cuts, doublings, noise. */
function blind(bytes: Uint8Array, next: Random): Uint8Array {
  const at = Math.floor(next() * bytes.length);
  const length = Math.min(Math.floor(next() * 64), bytes.length - at);
  switch (Math.floor(next() * 5)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return joined([bytes.subarray(0, at), bytes.subarray(at + length)]);
    case 2:
      return joined([bytes.subarray(0, at + length), bytes.subarray(at)]);
    case 3: {
      const out = bytes.slice();
      for (let i = at; i < at + length; i++) out[i] = byte(next);
      return out;
    }
    default: {
      const out = bytes.slice();
      for (let i = 0; i < 8; i++) out[Math.floor(next() * out.length)] = byte(next);
      return out;
    }
  }
}

/** What happened to a file: read (and written, read and written to the same bytes), or refused. Anything else throws. */
async function tried(bytes: Uint8Array): Promise<"read" | "refused"> {
  const model = await readModel(bytesSource(bytes)).catch((error) => {
    if (error instanceof MinnowError) return undefined;
    throw error;
  });
  if (model === undefined) return "refused";
  const once = await toBytes(model).catch((error) => {
    // Numbers in a large list of varints are counted when they are read.
    if (error instanceof MinnowError && ["onnx/tensor-size", "onnx/damaged"].includes(error.code)) return undefined;
    throw error;
  });
  if (once === undefined) return "refused";
  if (Buffer.compare(await toBytes(await load(once)), once) !== 0) throw new Error("The second writing differs.");
  return "read";
}

describe("A model file that was tampered with", () => {
  it(`is read or refused, never worse: ${MUTATIONS} times`, async () => {
    const files = (await seeds()).map((bytes) => ({ bytes, places: placesIn(bytes) }));
    const plain: { file: Raw<"Model">; names: string[] }[] = [];
    for (const { bytes, places } of files) {
      const text = new TextDecoder();
      const names = places.names.map(([at, length]) => text.decode(bytes.subarray(at, at + length)));
      const written = await load(bytes).then(toBytes, () => undefined);
      if (written !== undefined && written.length < 200_000)
        plain.push({ file: new Decoder({ bytes: written, left: new Map() }, "seed").decode("Model"), names });
    }
    const next = random(2024);
    const count = { read: 0, refused: 0 };
    const wrong: string[] = [];
    let slowest = 0;
    const memory = process.memoryUsage().rss;
    for (let i = 0; i < MUTATIONS && wrong.length < 5; i++) {
      const { bytes, places } = pick(files, next);
      const { file, names } = pick(plain, next);
      const way = next();
      const mutant =
        way < 0.5 ? aimed(bytes, places, next) : way < 0.8 ? reworded(file, names, next) : blind(bytes, next);
      const start = performance.now();
      await tried(mutant).then(
        (what) => void count[what]++,
        (error) => void wrong.push(`mutation ${i}: ${error.stack}`),
      );
      slowest = Math.max(slowest, performance.now() - start);
    }
    expect(wrong).toEqual([]);
    expect(count.read).toBeGreaterThan(MUTATIONS / 10);
    expect(count.refused).toBeGreaterThan(MUTATIONS / 10);
    expect(slowest).toBeLessThan(1000);
    expect(process.memoryUsage().rss - memory).toBeLessThan(700e6);
  });
});
