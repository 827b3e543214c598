import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readNpz } from "./npz.ts";
import { bytesSource } from "./source.ts";
import { crc32, readZip } from "./zip.ts";

const bytesOf = (name: string) => new Uint8Array(readFileSync(new URL(`../../test/golden/${name}`, import.meta.url)));
const golden = (name: string) => readNpz(bytesSource(bytesOf(name), name));
const x = (start: number, length: number) => Uint8Array.from({ length }, (_, i) => ((start + i) * 7) % 256);

describe("an npz file", () => {
  it("gives its arrays with type and shape and any of their rows", async () => {
    const arrays = await golden("stored.npz");
    expect([...arrays.keys()]).toEqual(["x", "y", "big", "half"]);
    expect(arrays.get("x")).toMatchObject({ dtype: "uint8", shape: [6, 5, 4] });
    expect(arrays.get("y")).toMatchObject({ dtype: "int64", shape: [6, 1] });
    expect(arrays.get("half")).toMatchObject({ dtype: "float16", shape: [1, 1] });
    expect(await arrays.get("x")?.rows(2, 2)).toEqual(x(40, 40));
  });

  it("may be compressed", async () => {
    const arrays = await golden("compressed.npz");
    expect(await arrays.get("train_images")?.rows(0, 4)).toEqual(x(0, 80));
    expect(await arrays.get("test_images")?.rows(1, 1)).toEqual(x(100, 20));
  });

  it("gives big-endian numbers as little-endian ones", async () => {
    const bytes = await (await golden("stored.npz")).get("big")?.rows(0, 2);
    expect(new Float32Array((bytes as Uint8Array).slice().buffer)).toEqual(Float32Array.of(1.5, -2.25));
  });

  it("says what to do about arrays it does not read", async () => {
    await expect(golden("strange.npz")).rejects.toThrow("numpy.ascontiguousarray");
    await expect(golden("words.npz")).rejects.toThrow("'<U2', which are no plain numbers");
  });

  it("is refused with a clear error wherever it is cut off or damaged, and never read wrongly", async () => {
    const whole = bytesOf("compressed.npz");
    for (let length = 0; length < whole.length; length += 7)
      await expect(readNpz(bytesSource(whole.subarray(0, length), "cut"))).rejects.toThrow("cut");
    for (let at = 0; at < whole.length; at += 3) {
      const damaged = whole.slice();
      damaged[at]! ^= 0x55;
      const read = readNpz(bytesSource(damaged, "hurt")).then((a) => a.get("train_images")?.rows(0, 4));
      const result = await read.catch((error: unknown) => error);
      if (result instanceof Error) expect(result.name).toBe("MinnowError");
      else if (result !== undefined) expect(result).toEqual(x(0, 80));
    }
  });
});

describe("a zip archive", () => {
  it("may be empty", async () => {
    const empty = Uint8Array.of(0x50, 0x4b, 5, 6, ...new Array<number>(18).fill(0));
    expect((await readZip(bytesSource(empty))).size).toBe(0);
  });

  it("is checked by CRC-32", () => expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926));
});
