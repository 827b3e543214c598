import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { affineOf, type QuantType, quantizeLevel, roundEven } from "./affine.ts";

const number = fc.float({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 100), max: 2 ** 100 });
const range = fc.tuple(number, number).map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }));
const type = fc.constantFrom<QuantType>("uint8", "int8");
const levelsOf = (t: QuantType): [number, number] => (t === "uint8" ? [0, 255] : [-128, 127]);

const claim = (what: string, holds: (r: { min: number; max: number }, t: QuantType) => void) =>
  it(what, () => fc.assert(fc.property(range, type, holds), { seed: 1, numRuns: 3000 }));

describe("The levels of a range", () => {
  claim("hold zero exactly, with a scale that is a float32 above zero", (r, t) => {
    const { scale, zeroPoint } = affineOf(r, { type: t });
    const [first, last] = levelsOf(t);
    expect(scale).toBeGreaterThan(0);
    expect(Math.fround(scale)).toBe(scale);
    expect(zeroPoint).toBeGreaterThanOrEqual(first);
    expect(zeroPoint).toBeLessThanOrEqual(last);
  });

  claim("lie within half a step of every number of the range", (r, t) => {
    const affine = affineOf(r, { type: t });
    for (const x of [r.min, r.max, (r.min + r.max) / 2]) {
      const back = (quantizeLevel(x, affine, t) - affine.zeroPoint) * affine.scale;
      expect(Math.abs(back - x)).toBeLessThanOrEqual(affine.scale * 1.001);
    }
  });

  claim("never lie outside the range where that is asked for, in float32 arithmetic", (r, t) => {
    const low = Math.min(0, r.min);
    const high = Math.max(0, r.max);
    if (high - low < 2 ** -40) return;
    const { scale, zeroPoint } = affineOf(r, { type: t, inside: true });
    const [first, last] = levelsOf(t);
    if (first < zeroPoint && low < -(2 ** -40))
      expect(Math.fround((first - zeroPoint) * scale)).toBeGreaterThanOrEqual(low);
    if (last > zeroPoint && high > 2 ** -40) expect(Math.fround((last - zeroPoint) * scale)).toBeLessThanOrEqual(high);
  });

  claim("are symmetric around the middle where that is asked for", (r, t) => {
    const { scale, zeroPoint } = affineOf(r, { type: t, symmetric: true });
    expect(zeroPoint).toBe(t === "uint8" ? 128 : 0);
    expect(scale * 128).toBeGreaterThanOrEqual(Math.max(-r.min, r.max) * 0.999);
  });

  it("of zeros alone are those of 0 to 1", () => {
    expect(affineOf({ min: 0, max: 0 }, { type: "uint8" })).toEqual({ scale: Math.fround(1 / 255), zeroPoint: 0 });
  });

  it("put a clamp at 6 at the last level and not beyond", () => {
    const { scale, zeroPoint } = affineOf({ min: 0, max: 6 }, { type: "uint8", inside: true });
    expect(zeroPoint).toBe(0);
    expect(Math.fround(255 * scale)).toBeLessThanOrEqual(6);
    expect(255 * scale).toBeGreaterThan(5.9999);
  });
});

describe("Rounding", () => {
  it("takes halves to the even neighbour", () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999, -2.6].map((x) => roundEven(x) + 0)).toEqual([0, 2, 2, 0, -2, 2, -3]);
  });
});
