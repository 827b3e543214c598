import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { arrays } from "../data/index.ts";
import { random } from "../numeric/random.ts";
import { load } from "../onnx/index.ts";
import { optimize } from "../passes/index.ts";
import { quantizeStatic, storeWeights } from "../quantize/index.ts";
import { parametersOf } from "./parameters.ts";

const DIGITS = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));

describe("the parameters of a model", () => {
  it("leave BatchNormalization's running statistics out", async () => {
    expect(parametersOf(await load(DIGITS))).toBe(190_282);
  });

  it("are the same in float, stored in 8 or 16 bits, and quantized", async () => {
    const { model } = await optimize().run(await load(DIGITS));
    const folded = parametersOf(model);
    const next = random(1);
    const data = arrays({
      x: { dtype: "float32", shape: [4, 1, 28, 28], data: Float32Array.from({ length: 4 * 784 }, () => next()) },
    });
    for (const pass of [storeWeights({ to: "int8" }), storeWeights({ to: "fp16" }), quantizeStatic({ data })])
      expect(parametersOf((await pass.run(model)).model), pass.name).toBe(folded);
  });
});
