import { describe, expect, it } from "vitest";
import { hashOf } from "./hash.ts";
import { random } from "./random.ts";

describe("hashOf", () => {
  it("is MurmurHash3 in its first half", () => {
    // From the reference implementation, seed 0x9747b28c.
    const known = { "": "ebb6c228", test: "704b81dc", "The quick brown fox jumps over the lazy dog": "2fa826cd" };
    for (const [text, hash] of Object.entries(known))
      expect(hashOf(new TextEncoder().encode(text)).slice(0, 8), text).toBe(hash);
  });

  it("tells bytes apart that differ in any single bit, or in the signs of two floats", () => {
    const next = random(1);
    const floats = Float32Array.from({ length: 9 }, () => next() - 0.5);
    const bytes = new Uint8Array(floats.buffer);
    const seen = new Set([hashOf(bytes)]);
    for (let bit = 0; bit < 8 * bytes.length; bit++)
      seen.add(hashOf(bytes.map((v, i) => (i === bit >> 3 ? v ^ (1 << (bit & 7)) : v))));
    for (let i = 1; i < 9; i++)
      seen.add(hashOf(new Uint8Array(floats.map((v, k) => (k === 0 || k === i ? -v : v)).buffer)));
    expect(seen.size).toBe(1 + 8 * bytes.length + 8);
  });
});
