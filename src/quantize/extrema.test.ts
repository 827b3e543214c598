import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { arrays } from "../data/index.ts";
import { random } from "../numeric/random.ts";
import { load } from "../onnx/index.ts";
import { optimize } from "../passes/index.ts";
import { observe, observedValues } from "./calibrate.ts";
import { observeExtrema } from "./extrema.ts";

const DIGITS = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));

const noise = (count: number, broken = false) => {
  const next = random(3);
  const data = Float32Array.from({ length: count * 784 }, () => next());
  if (broken) data[100] = Number.NaN;
  return arrays({ x: { dtype: "float32", shape: [count, 1, 28, 28], data } });
};

describe("extrema found in the graph", () => {
  it("are those found by looking at every number, whatever the batch", async () => {
    const { model } = await optimize().run(await load(readFileSync(DIGITS)));
    const names = observedValues(model);
    const counted = await observe(model, names, noise(7), {});
    for (const batch of [1, 3, 7]) {
      const found = await observeExtrema(model, names, noise(7), { batch });
      expect([...(found?.values.keys() ?? [])]).toEqual([...counted.values.keys()]);
      for (const [name, { min, max, averageMin, averageMax }] of counted.values) {
        const seen = found?.values.get(name);
        for (const [a, b] of [
          [seen?.min, min],
          [seen?.max, max],
          [seen?.averageMin, averageMin],
          [seen?.averageMax, averageMax],
        ] as const)
          expect(a, name).toBeCloseTo(b, 4);
      }
    }
  });

  it("are not trusted where a value holds NaN", async () => {
    const { model } = await optimize().run(await load(readFileSync(DIGITS)));
    expect(await observeExtrema(model, observedValues(model), noise(3, true), {})).toBeUndefined();
  });
});
