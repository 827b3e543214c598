import { describe, expect, it } from "vitest";
import { elements, float32s, type Tensor, viewOf } from "../ir/tensor.ts";
import { normal, random } from "../numeric/random.ts";
import { partsOf, type QuantizedWeight, quantizeWeight, type WeightOptions } from "./weights.ts";

const SHAPE = [8, 5, 3, 3];
const next = random(7);
const values = Float32Array.from({ length: elements(SHAPE) }, (_, i) => normal(next) * (1 + Math.floor(i / 45)) + 0.3);
const weight = float32s(SHAPE, values);

const back = ({ tensor, scales, zeroPoints }: QuantizedWeight, axis?: number): number[] => {
  const { channelOf } = partsOf(tensor.shape, axis);
  return Array.from(viewOf(tensor.dtype, tensor.bytes!) as Int8Array, (level, i) => {
    const c = channelOf(i);
    return (level - zeroPoints[c]!) * scales[c]!;
  });
};

const FORMS: readonly WeightOptions[] = [
  { type: "int8", axis: 0, symmetric: true },
  { type: "int8", symmetric: true },
  { type: "int8", axis: 1, symmetric: false },
  { type: "uint8", axis: 0, symmetric: true },
  { type: "uint8", symmetric: false },
  { type: "int8", axis: 0, symmetric: true, reduceRange: true },
  { type: "uint8", axis: 0, symmetric: false, reduceRange: true },
];

describe("A weight in 8 bits", () => {
  it.for(FORMS)("is within a step of the float one, and each channel's sum within half a step: %o", async (form) => {
    const quantized = await quantizeWeight("w", weight, form);
    const { channelOf, channels } = partsOf(SHAPE, form.axis);
    const sums = new Float64Array(channels);
    back(quantized, form.axis).forEach((x, i) => {
      const step = quantized.scales[channelOf(i)]!;
      expect(Math.abs(x - values[i]!)).toBeLessThanOrEqual(step * 1.001);
      sums[channelOf(i)]! += (x - values[i]!) / step;
    });
    for (const sum of sums) expect(Math.abs(sum)).toBeLessThanOrEqual(0.501);
  });

  it("keeps to 7 bits where the range is reduced", async () => {
    const { tensor } = await quantizeWeight("w", weight, { type: "int8", axis: 0, symmetric: true, reduceRange: true });
    expect(Math.max(...(viewOf("int8", tensor.bytes!) as Int8Array).map(Math.abs))).toBe(64);
  });

  it("has scales above zero for channels of zeros, and for no numbers at all", async () => {
    const dead = await quantizeWeight("w", float32s([2, 3], [0, 0, 0, 1, 2, 3]), {
      type: "int8",
      axis: 0,
      symmetric: true,
    });
    expect(dead.scales[0]).toBeGreaterThan(0);
    expect([...dead.tensor.bytes!.subarray(0, 3)]).toEqual([0, 0, 0]);
    const empty = await quantizeWeight("w", float32s([0, 3], []), { type: "int8", axis: 0, symmetric: true });
    expect(empty.tensor.shape).toEqual([0, 3]);
  });

  it("is refused by name where it holds NaN or infinity", async () => {
    const broken = (x: number): Tensor => float32s([2], [1, x]);
    for (const x of [Number.NaN, Infinity])
      await expect(quantizeWeight("conv.w", broken(x), { type: "int8", symmetric: true })).rejects.toMatchObject({
        code: "quantize/broken-weight",
        at: 'weight "conv.w"',
      });
  });
});
