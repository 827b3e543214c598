import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MinnowError } from "../errors.ts";
import { float32s, type Tensor, tensorFrom, tensorOf } from "../ir/tensor.ts";
import { random } from "../numeric/random.ts";
import { readSafetensors, saveSafetensors, type WritableTensor, writeSafetensors } from "./safetensors.ts";
import { bytesSource } from "./source.ts";

const draws = random(5);
const noise = (dtype: Tensor["dtype"], shape: number[], width: number): Tensor =>
  tensorOf(
    dtype,
    shape,
    Uint8Array.from({ length: shape.reduce((a, b) => a * b, width) }, () => draws() * 256),
  );

const TENSORS = new Map<string, WritableTensor>([
  ["half", noise("float16", [3, 1], 2)],
  ["brain", noise("bfloat16", [5], 2)],
  ["single", float32s([2, 2], [1, -2, 3.5, Number.NaN])],
  ["double", tensorFrom("float64", [], [Math.PI])],
  ["long", tensorFrom("int64", [2], [2n ** 62n, -1n])],
  ["flags", tensorFrom("bool", [3], [1, 0, 1])],
  ["tiny", noise("float8e4m3fn", [7], 1)],
  ["none", float32s([0, 4], [])],
  ["__proto__", tensorFrom("uint8", [1], [9])],
]);

async function bytesOf(tensors: ReadonlyMap<string, WritableTensor>, metadata = {}): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await writeSafetensors(tensors, { write: async (bytes) => void parts.push(bytes) }, metadata);
  return new Uint8Array(Buffer.concat(parts));
}

/** A file with this header and so many bytes of data. */
function file(header: unknown, data = 0): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const entry = (start: number, end: number) => ({
  dtype: "F32",
  shape: [(end - start) / 4],
  data_offsets: [start, end],
});
const reading = (bytes: Uint8Array) => readSafetensors(bytesSource(bytes, "m.safetensors"));

describe("a safetensors file", () => {
  it("gives back every tensor and text that was written", async () => {
    const { tensors, metadata } = await reading(await bytesOf(TENSORS, { format: "pt", step: "12" }));
    expect([...metadata]).toEqual([
      ["format", "pt"],
      ["step", "12"],
    ]);
    expect([...tensors.keys()].sort()).toEqual([...TENSORS.keys()].sort());
    for (const [name, { dtype, shape, read }] of TENSORS) {
      expect(tensors.get(name), name).toMatchObject({ dtype, shape });
      expect(await tensors.get(name)?.read(), name).toEqual(await read());
    }
  });

  it("has every tensor aligned to its elements", async () => {
    const bytes = await bytesOf(TENSORS);
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    const widths = { F64: 8, I64: 8, F32: 4, F16: 2, BF16: 2 } as Record<string, number>;
    for (const { dtype, data_offsets } of Object.values(header) as { dtype: string; data_offsets: number[] }[])
      expect((8 + length + (data_offsets[0] ?? 0)) % (widths[dtype] ?? 1)).toBe(0);
  });

  it("is read by ranges, never beyond the tensor", async () => {
    const { tensors } = await reading(await bytesOf(TENSORS));
    const single = tensors.get("single");
    const bytes = await single?.read({ offset: 8, length: 4 });
    expect(new Float32Array((bytes as Uint8Array).slice().buffer)).toEqual(Float32Array.of(3.5));
    await expect(single?.read({ offset: 12, length: 8 })).rejects.toThrow("the tensor has 16");
  });

  it("reads nothing but its header before a tensor is asked for", async () => {
    const bytes = await bytesOf(TENSORS);
    let most = 0;
    const { read, ...rest } = bytesSource(bytes);
    const watched = {
      ...rest,
      read: (at: number, length: number) => read(at, length).finally(() => (most = Math.max(most, at + length))),
    };
    await readSafetensors(watched);
    expect(most).toBe(8 + Number(new DataView(bytes.buffer).getBigUint64(0, true)));
  });

  it("may be empty", async () => expect((await reading(file({}))).tensors.size).toBe(0));

  it("is refused with its fault named", async () => {
    const cases: [Uint8Array, string][] = [
      [new Uint8Array(5), "too short"],
      [new TextEncoder().encode("PK\x03\x04 this is a zip archive of pickles"), "header would be"],
      [file("no json at all"), "no JSON"],
      [file("[1, 2]   "), "no JSON object"],
      [file({ a: 7 }), 'Tensor "a" has no type'],
      [file({ a: { ...entry(0, 4), dtype: "F7" } }, 4), '"F7"'],
      [file({ a: { ...entry(0, 4), shape: [-1] } }, 4), "shape [-1]"],
      [file({ a: { ...entry(0, 4), shape: [2] } }, 4), "takes 8"],
      [file({ a: { ...entry(0, 4), data_offsets: [0, 4, 8] } }, 4), "no range"],
      [file({ a: entry(0, 8), b: entry(4, 12) }, 12), "overlaps"],
      [file({ a: entry(0, 4), b: entry(8, 12) }, 12), 'gap before tensor "b"'],
      [file({ a: entry(0, 4) }, 9), "5 bytes after"],
      [file({ a: entry(0, 400) }, 4), "incomplete"],
      [file({ a: entry(0, 4), __metadata__: { epoch: 3 } }, 4), "metadata"],
    ];
    for (const [bytes, words] of cases) {
      const error = await reading(bytes).catch((e: unknown) => e);
      expect(error, words).toBeInstanceOf(MinnowError);
      expect((error as MinnowError).message).toContain(words);
      expect((error as MinnowError).at).toBe("m.safetensors");
    }
  });

  it("is refused wherever it is cut off", async () => {
    const whole = await bytesOf(TENSORS);
    for (let length = 0; length < whole.length; length += 3)
      await expect(reading(whole.subarray(0, length))).rejects.toBeInstanceOf(MinnowError);
  });

  it("is written whole or not at all", async () => {
    const folder = await mkdtemp(join(tmpdir(), "minnow-safetensors-"));
    try {
      const path = join(folder, "m.safetensors");
      await saveSafetensors(TENSORS, path);
      const before = await readFile(path);
      const wrong = { dtype: "float32", shape: [3], read: async () => new Uint8Array(4) };
      await expect(saveSafetensors(new Map([["w", wrong]]), path)).rejects.toThrow("gave 4 bytes");
      await expect(saveSafetensors(new Map([["w", { ...wrong, dtype: "int4" }]]), path)).rejects.toThrow("int4");
      expect(await readFile(path)).toEqual(before);
      expect(await readdir(folder)).toEqual(["m.safetensors"]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
