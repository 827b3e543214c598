import { describe, expect, it } from "vitest";
import { isFloat } from "../../src/ir/dtype.ts";
import { keyOf, type OpRule } from "../../src/ops/define.ts";
import { GRADIENTS } from "../../src/ops/gradients.ts";
import { OPS } from "../../src/ops/index.ts";
import { checkGradient } from "../../src/testing/index.ts";
import { samplesOf, titleOf } from "./samples.ts";

/** The largest error a right gradient may have: differences are exact to this in double, and in float32 with the larger step. */
const BOUND = { float64: 1e-6, float32: 2e-3 };

const key = (rule: OpRule) => keyOf(rule.name, rule.domain);
const differentiable = OPS.filter((rule) => typeof GRADIENTS[key(rule)] === "function");

/** Samples whose forward pass ONNX Runtime gives another shape than it infers: it refuses any node behind them. */
const NOT_RUN: ReadonlySet<string> = new Set(["Squeeze(float32[2,1,3,1], const int64[0]=)"]);

/** Samples with a float input; those of types that gradients are not taken in (half floats, integers) are left out. */
const floatSamples = (rule: OpRule) =>
  samplesOf(rule).filter((sample) => {
    if (NOT_RUN.has(titleOf(sample))) return false;
    const floats = sample.inputs.filter((input) => input && isFloat(input.dtype ?? "float32"));
    return floats.length > 0 && floats.every((input) => /^float(32|64)$/.test(input?.dtype ?? "float32"));
  });

it("no gradient is given for an operator without a rule", () => {
  const known = new Set(OPS.map(key));
  expect(Object.keys(GRADIENTS).filter((name) => !known.has(name))).toEqual([]);
});

describe.each(differentiable.map((rule) => [key(rule), rule] as const))("%s", (_, rule) => {
  const samples = floatSamples(rule);
  it("has a sample to be differentiated", () => expect(samples.length).toBeGreaterThan(0));

  it.each(samples.map((sample) => [titleOf(sample), sample] as const))(
    "%s: the gradient equals central differences",
    async (_title, sample) => {
      const { error, precision, slopes } = await checkGradient(sample);
      expect(error).toBeLessThan(BOUND[precision]);
      // A gradient that was half as large for one input would be seen, unless that input moves nothing.
      const size = Object.values(slopes).reduce((sum, slope) => sum + Math.abs(slope), 0);
      for (const slope of Object.values(slopes))
        if (Math.abs(slope) > 1e-3 * size) expect(Math.abs(slope) / 2 / size).toBeGreaterThan(BOUND[precision] / 10);
    },
  );
});
