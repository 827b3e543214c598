import { describe, expect, it } from "vitest";
import { type Float8, fromFloat8, mostOf, toFloat8 } from "./float8.ts";
import { random } from "./random.ts";

describe.each<[Float8, number]>([
  ["float8e4m3fn", 448],
  ["float8e5m2", 57344],
])("%s", (type, most) => {
  it("gives every finite number back, both zeros among them", () => {
    for (let byte = 0; fromFloat8(byte, type) < most; byte++)
      for (const signed of [byte, byte | 0x80]) expect(toFloat8(fromFloat8(signed, type), type)).toBe(signed);
  });

  it("takes the nearest, the even one of two, and the largest for what is beyond", () => {
    const next = random(2);
    const all = Array.from({ length: 0x7f }, (_, byte) => fromFloat8(byte, type));
    for (let i = 0; i < 500; i++) {
      const x = most * next() ** 6;
      const off = Math.abs(fromFloat8(toFloat8(x, type), type) - x);
      expect(off).toBe(Math.min(...all.map((other) => Math.abs(other - x))));
    }
    for (let byte = 0; byte < 20; byte++) {
      const middle = (fromFloat8(byte, type) + fromFloat8(byte + 1, type)) / 2;
      expect(toFloat8(middle, type) % 2).toBe(0);
    }
    expect(fromFloat8(toFloat8(-1e9, type), type)).toBe(-most);
    expect(mostOf(type)).toBe(most);
  });
});
