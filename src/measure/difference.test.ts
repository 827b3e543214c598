import { describe, expect, it } from "vitest";
import { differenceSum } from "./difference.ts";

const floats = (...values: number[]) => ({
  dtype: "float32" as const,
  shape: [values.length],
  data: Float32Array.from(values),
});

describe("the difference of two tensors", () => {
  it("is nothing between equal ones", () => {
    const sum = differenceSum();
    sum.add(floats(1, -2, 3), floats(1, -2, 3));
    expect(sum.result()).toMatchObject({ sqnr: Infinity, maxAbs: 0, meanError: 0, broken: 0, range: [-2, 3] });
    expect(sum.result().cosine).toBeCloseTo(1, 12);
  });

  it("adds up over parts as over the whole", () => {
    const [whole, parts] = [differenceSum(), differenceSum()];
    whole.add(floats(1, 2, 3, 4), floats(1.5, 2, 2, 4));
    parts.add(floats(1, 2), floats(1.5, 2));
    parts.add(floats(3, 4), floats(2, 4));
    expect(parts.result()).toEqual(whole.result());
  });

  it("is 20 dB where the noise has a hundredth of the power", () => {
    const sum = differenceSum();
    sum.add(floats(10, 10), floats(11, 9));
    expect(sum.result().sqnr).toBeCloseTo(20, 12);
  });

  it("counts what only the second broke, and passes over what the first broke", () => {
    const sum = differenceSum();
    sum.add(floats(1, Number.NaN, 3), floats(Number.NaN, 5, 3));
    expect(sum.result().broken).toBe(1);
    expect(sum.result().sqnr).toBeCloseTo(10, 12);
  });
});
