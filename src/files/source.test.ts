import { describe, expect, it } from "vitest";
import { blobSource, bytesSource } from "./source.ts";

describe("A source over memory", () => {
  const bytes = Buffer.from([1, 2, 3, 4]);
  it.each([
    ["bytes", bytesSource(bytes)],
    ["a Blob", blobSource(new Blob([bytes]))],
  ])("of %s gives the range asked for, and an error beyond the end", async (_, source) => {
    expect(source.size).toBe(4);
    expect(await source.read(1, 2)).toEqual(Uint8Array.of(2, 3));
    expect(await source.read(4, 0)).toEqual(new Uint8Array(0));
    await expect(source.read(3, 2)).rejects.toMatchObject({ code: "files/end", at: source.name });
  });
});
