import { describe, expect, it } from "vitest";
import { type DType, isFloat } from "../../src/ir/dtype.ts";
import { edit } from "../../src/ir/edit.ts";
import type { Node } from "../../src/ir/graph.ts";
import type { TensorData } from "../../src/ir/tensor.ts";
import { type Fact, keyOf, type OpRule } from "../../src/ops/define.ts";
import { Emitter } from "../../src/ops/emit.ts";
import { Backward } from "../../src/ops/gradient.ts";
import { GRADIENTS } from "../../src/ops/gradients.ts";
import { OPS } from "../../src/ops/index.ts";
import { inferModel } from "../../src/ops/infer.ts";
import type { Sample } from "../../src/ops/sample.ts";
import { openSession } from "../../src/runtime/index.ts";
import { checkGradient, feedsOf, modelOf } from "../../src/testing/index.ts";
import { SAMPLES, samplesOf, titleOf } from "./samples.ts";

/** The largest error a right gradient may have: differences are exact to this in double, and in float32 with the larger step. */
const BOUND = { float64: 1e-6, float32: 2e-3 };

const key = (rule: OpRule) => keyOf(rule.name, rule.domain);

/** Operators whose gradient is meant not to be the derivative, which is zero: rounding passes it straight through. */
const STRAIGHT_THROUGH = new Set(["QuantizeLinear", "com.microsoft:QuantizeLinear"]);

const differentiable = OPS.filter((rule) => {
  const gradient = GRADIENTS[key(rule)];
  return gradient && (typeof gradient === "function" || "as" in gradient) && !STRAIGHT_THROUGH.has(key(rule));
});

/**
 * Samples that cannot be run with a loss behind them: ONNX Runtime infers another shape than it computes, they are in a
 * form that opset 18, which gradients are written in, does not have, or sizes hang on floats that are fed.
 */
const NOT_RUN: ReadonlySet<string> = new Set([
  "Squeeze(float32[2,1,3,1], const int64[0]=)",
  "Split(float32[2,3,4])",
  "Resize(float32[2,3,4,5], -, float32[4]=1,1,2,3) {coordinate_transformation_mode}",
]);

/** Samples in forms that only serve decoding, token by token: a cache that slides, a past in a buffer. */
const REFUSED: ReadonlySet<string> = new Set([
  "com.microsoft:GroupQueryAttention(float32[2,1,96], float32[2,1,32], float32[2,1,32], float32[2,2,3,16], float32[2,2,3,16], int32[2]=3,3, const int32[]=4) {num_heads, kv_num_heads, local_window_size, sliding_window_cache}",
  "com.microsoft:MultiHeadAttention(float32[2,1,24], float32[2,1,24], float32[2,1,24], -, -, -, float32[2,3,6,8], float32[2,3,6,8], int32[1]=2) {num_heads}",
]);

/** Operators that in double round to float32 on the way (Shrink's kernel in ONNX Runtime 1.30, by its stash_type) or refuse only when run. */
const SINGLE = new Set(["GRU", "LSTM", "GroupNormalization", "Shrink"]);

const isWide = (dtype: DType = "float32") => dtype === "float32" || dtype === "float64";

/**
 * Samples with float inputs and outputs. Left out are those of types that gradients are not taken in (half floats, integers),
 * and those that draw: every run has other numbers.
 */
const floatSamples = (rule: OpRule) =>
  samplesOf(rule).filter((sample) => {
    if (NOT_RUN.has(titleOf(sample)) || REFUSED.has(titleOf(sample))) return false;
    const floats = sample.inputs.filter((input) => input && isFloat(input.dtype ?? "float32"));
    const known = inferModel(modelOf(sample));
    const made = [...Array(sample.outputs ?? 1).keys()].map((i) => known.get(`y${i}`)?.dtype);
    const draws = rule.deterministic === false && sample.attrs?.["seed"] !== undefined;
    return (
      floats.length > 0 &&
      floats.every((i) => isWide(i?.dtype)) &&
      made.some((dtype) => dtype && isWide(dtype)) &&
      !draws
    );
  });

it("every operator has a gradient, or says why there is none", () => {
  expect(OPS.map(key).filter((name) => GRADIENTS[name] === undefined)).toEqual([]);
});

it("no gradient is given for an operator without a rule", () => {
  const known = new Set(OPS.map(key));
  expect(Object.keys(GRADIENTS).filter((name) => !known.has(name))).toEqual([]);
});

it.each([...REFUSED])("%s is refused, with what to do", async (title) => {
  const sample = SAMPLES.find((one) => titleOf(one) === title) as Sample;
  await expect(checkGradient(sample)).rejects.toMatchObject({
    code: "train/no-gradient",
    mend: expect.stringContaining("before the operator was fused"),
  });
});

describe.each(differentiable.map((rule) => [key(rule), rule] as const))("%s", (_, rule) => {
  const samples = floatSamples(rule);
  it("has a sample to be differentiated", () => expect(samples.length).toBeGreaterThan(0));

  it.each(samples.map((sample) => [titleOf(sample), sample] as const))(
    "%s: the gradient equals central differences",
    async (_title, sample) => {
      const { error, precision, slopes } = await checkGradient(
        sample,
        SINGLE.has(sample.op) ? { precisions: ["float32"] } : {},
      );
      expect(error).toBeLessThan(BOUND[precision]);
      // A gradient that was half as large for one input would be seen, unless that input moves nothing.
      const size = Object.values(slopes).reduce((sum, slope) => sum + Math.abs(slope), 0);
      for (const slope of Object.values(slopes))
        if (Math.abs(slope) > 1e-3 * size) expect(Math.abs(slope) / 2 / size).toBeGreaterThan(BOUND[precision] / 10);
    },
  );
});

describe.each(
  differentiable.flatMap((rule) =>
    /^(Lp|Max|Average)Pool$|^Conv/.test(rule.name) ? [[rule.name, rule] as const] : [],
  ),
)("%s, in operators that WebGPU has", (_, rule) => {
  it.each(floatSamples(rule).map((sample) => [titleOf(sample), sample] as const))(
    "%s: the gradient is the same",
    async (_title, sample) => {
      const options = { precisions: ["float32"] } as const;
      const { slopes } = await checkGradient(sample, options);
      const portable = await checkGradient(sample, { ...options, portable: true });
      const size = Object.values(slopes).reduce((sum, slope) => sum + Math.abs(slope), 0);
      for (const [name, slope] of Object.entries(slopes))
        expect(Math.abs((portable.slopes[name] as number) - slope), name).toBeLessThan(1e-4 * size);
    },
  );
});

describe.each(
  differentiable.flatMap((rule) => {
    const gradient = GRADIENTS[key(rule)];
    return gradient && "as" in gradient ? [[key(rule), rule, gradient.as] as const] : [];
  }),
)("%s", (_, rule, as) => {
  it.each(floatSamples(rule).map((sample) => [titleOf(sample), sample] as const))(
    "%s: the simpler operators it is differentiated as compute the same",
    async (_title, sample) => {
      const model = modelOf(sample);
      const e = edit(model.graph);
      const facts = new Map<string, Fact>(inferModel(model));
      const node = model.graph.nodes[0] as Node;
      const nothing = node.outputs.map(() => undefined);
      const opsets = new Map([...model.opsets, ["com.microsoft", 1] as const]);
      const own = as(
        new Backward(
          node,
          nothing,
          node.inputs.map(() => true),
          new Emitter(e, facts, opsets),
          facts,
        ),
      );
      e.setOutputs([...node.outputs, ...own].map((name) => ({ name })));
      const session = await openSession({ ...model, opsets, graph: e.done() });
      const found = await session.run(feedsOf(sample, 1));
      await session.close();
      node.outputs.forEach((name, i) => {
        const [theirs, ours] = [name, own[i] as string].map((of) => [
          ...((found[of] as TensorData).data as Float32Array),
        ]);
        const apart = theirs?.map((value, k) => Math.abs(value - (ours?.[k] as number)));
        expect(Math.max(0, ...(apart as number[]))).toBeLessThan(1e-5);
      });
    },
  );
});
