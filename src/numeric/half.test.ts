import { describe, expect, it } from "vitest";
import { fromHalf, toBfloat, toBfloats, toHalf, toHalves } from "./half.ts";
import { random } from "./random.ts";

describe("half precision", () => {
  it("gives every one of the 65536 patterns back, NaNs as one", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = fromHalf(bits);
      if (Number.isNaN(value)) expect(toHalf(value)).toBe(0x7e00);
      else if (toHalf(value) !== bits) expect.fail(`${bits} came back as ${toHalf(value)}`);
    }
  });

  it("rounds ties to even and overflows to infinity", () => {
    expect(fromHalf(toHalf(2049))).toBe(2048);
    expect(fromHalf(toHalf(2051))).toBe(2052);
    expect(fromHalf(toHalf(65519))).toBe(65504);
    expect(fromHalf(toHalf(-65520))).toBe(-Infinity);
    expect(fromHalf(toHalf(2 ** -25))).toBe(0);
    expect(fromHalf(toHalf(1.5 * 2 ** -24))).toBe(2 ** -23);
  });

  it("gives of many numbers at once what it gives of each, whatever their bits", () => {
    const next = random(1);
    const bits = Uint32Array.from({ length: 200_000 }, () => next() * 2 ** 32);
    for (let i = 0; i < 65536; i++) bits[i] = 0x38000000 - 0x800000 + i * 0x2000 + (i % 3) * 0x800;
    const values = new Float32Array(bits.buffer);
    const [halves, bfloats] = [new Uint16Array(bits.length), new Uint16Array(bits.length)];
    toHalves(values, halves);
    toBfloats(values, bfloats);
    for (const [i, value] of values.entries())
      if (halves[i] !== toHalf(value) || bfloats[i] !== toBfloat(value))
        expect.fail(`${value}: ${halves[i]} and ${bfloats[i]}, not ${toHalf(value)} and ${toBfloat(value)}`);
  });

  it("keeps the upper half of a float32 as bfloat16", () => {
    expect(toBfloat(1)).toBe(0x3f80);
    expect(toBfloat(-2)).toBe(0xc000);
    expect(toBfloat(1 + 2 ** -8)).toBe(0x3f80);
    expect(toBfloat(1 + 3 * 2 ** -8)).toBe(0x3f82);
  });
});
