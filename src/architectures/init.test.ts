import { describe, expect, it } from "vitest";
import { elements, readFloats } from "../ir/tensor.ts";
import {
  fansOf,
  type Initializer,
  initialised,
  kaimingGrouped,
  kaimingNormal,
  kaimingUniform,
  normal,
  torchDefault,
  truncatedNormal,
  uniform,
  uniformFanOut,
  xavierNormal,
  xavierUniform,
} from "./init.ts";

const SHAPE = [96, 64, 3, 3];

const valuesOf = (init: Initializer, seed = 1, name = "conv.weight"): Promise<Float32Array> =>
  readFloats(initialised(name, SHAPE, init, { seed }));

const deviation = (values: Float32Array): number =>
  Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);

/** fan_in 576, fan_out 864. */
const DEVIATIONS: readonly (readonly [string, Initializer, number])[] = [
  ["kaimingNormal, fan_in", kaimingNormal("fan_in"), Math.sqrt(2 / 576)],
  ["kaimingNormal, fan_out", kaimingNormal("fan_out"), Math.sqrt(2 / 864)],
  ["kaimingUniform", kaimingUniform("fan_in"), Math.sqrt(2 / 576)],
  ["xavierNormal", xavierNormal, Math.sqrt(2 / 1440)],
  ["xavierUniform", xavierUniform, Math.sqrt(2 / 1440)],
  ["torchDefault", torchDefault, 1 / Math.sqrt(3 * 576)],
  ["uniformFanOut", uniformFanOut, 1 / Math.sqrt(3 * 864)],
  ["normal", normal(0.02), 0.02],
  ["uniform", uniform(0.3), 0.3 / Math.sqrt(3)],
];

describe("first values", () => {
  it.each(DEVIATIONS)("%s have the deviation of their paper", async (_, init, expected) => {
    const values = await valuesOf(init);
    expect(deviation(values) / expected).toBeCloseTo(1, 1.5);
    // The mean is within four standard errors of 0.
    expect(Math.abs(values.reduce((a, b) => a + b, 0))).toBeLessThan(4 * expected * Math.sqrt(values.length));
  });

  it("a truncated normal has nothing beyond its cut, and a normal has", async () => {
    expect(Math.max(...(await valuesOf(truncatedNormal(0.1))).map(Math.abs))).toBeLessThanOrEqual(0.2);
    expect(Math.max(...(await valuesOf(normal(0.1))).map(Math.abs))).toBeGreaterThan(0.2);
  });

  it("count one group of a depthwise convolution where EfficientNet does", async () => {
    const shape = [64, 1, 5, 5];
    const fans = fansOf(shape, 64);
    const values = await readFloats(initialised("dw", shape, kaimingGrouped, { seed: 1, fans }));
    expect(deviation(values) / Math.sqrt(2 / 25)).toBeCloseTo(1, 1);
  });

  it("depend on the seed and on the name, and on nothing else", async () => {
    const values = await valuesOf(normal(1));
    expect(await valuesOf(normal(1))).toEqual(values);
    expect(await valuesOf(normal(1), 2)).not.toEqual(values);
    expect(await valuesOf(normal(1), 1, "other.weight")).not.toEqual(values);
  });

  it("are drawn when a weight over 4 KB is read, and a part of them is the part of all", async () => {
    let drawn = 0;
    const tensor = initialised("w", SHAPE, (values) => void values.fill(++drawn), { seed: 0 });
    expect([drawn, tensor.bytes]).toEqual([0, undefined]);
    expect((await tensor.read()).byteLength).toBe(4 * elements(SHAPE));
    const whole = initialised("w", SHAPE, normal(1), { seed: 0 });
    expect(await whole.read({ offset: 8, length: 16 })).toEqual((await whole.read()).subarray(8, 24));
  });
});
