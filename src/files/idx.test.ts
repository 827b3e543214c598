import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { readIdx } from "./idx.ts";
import { bytesSource } from "./source.ts";

const bytes = Uint8Array.of(0, 0, 0x0b, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 0, 2, 0xff, 0xff, 1, 0);

describe("an idx file", () => {
  it("gives rows of its numbers, little-endian", async () => {
    const array = await readIdx(bytesSource(bytes));
    expect(array).toMatchObject({ dtype: "int16", shape: [2, 2] });
    expect(new Int16Array((await array.rows(1, 1)).slice().buffer)).toEqual(Int16Array.of(-1, 256));
  });

  it("may be gzipped", async () => {
    const array = await readIdx(bytesSource(new Uint8Array(gzipSync(bytes))));
    expect(array.shape).toEqual([2, 2]);
  });

  it("is refused when it is something else or too short", async () => {
    await expect(readIdx(bytesSource(Uint8Array.of(1, 2, 3, 4, 5), "a"))).rejects.toThrow("a: It is no idx file.");
    await expect(readIdx(bytesSource(bytes.subarray(0, 19), "b"))).rejects.toThrow(
      "b: It is shorter than its header says.",
    );
    await expect(readIdx(bytesSource(gzipSync(bytes).subarray(0, 30), "c"))).rejects.toThrow(
      "c: Its compressed data is damaged",
    );
  });
});
