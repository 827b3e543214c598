import { describe, expect, it } from "vitest";
import type { TensorData } from "../../src/ir/tensor.ts";
import { parseAxes } from "../../src/ops/axes.ts";
import { keyOf, type OpRule } from "../../src/ops/define.ts";
import { OPS } from "../../src/ops/index.ts";
import type { Sample } from "../../src/ops/sample.ts";
import { openSession } from "../../src/runtime/index.ts";
import { feedsOf, modelOf, outputName } from "../../src/testing/single.ts";
import {
  constantsFed,
  cutSample,
  cutTensor,
  type Followed,
  fillTensor,
  follow,
  keepsOf,
  type Masks,
  maskOf,
  secondAxis,
} from "./cut.ts";
import { samplesOf, titleOf } from "./samples.ts";

/** Operators whose counted axis is divided by its size inside, with more than a factor: the law is for the rest of their axes. */
const NORMALIZES = /Normalization$|^Attention$/;

/** How far two tensors are apart, by the largest value of the first; Infinity where their shapes differ. */
function distance(a: TensorData, b: TensorData): number {
  if (`${a.shape}` !== `${b.shape}`) return Infinity;
  const [x, y] = [a.data as ArrayLike<number>, b.data as ArrayLike<number>];
  let [largest, apart] = [1e-3, 0];
  for (let i = 0; i < x.length; i++) {
    largest = Math.max(largest, Math.abs(Number(x[i])));
    apart = Math.max(apart, Math.abs(Number(x[i]) - Number(y[i])));
  }
  return apart / largest;
}

async function run(sample: Sample, feeds: Record<string, TensorData>): Promise<TensorData[]> {
  const session = await openSession(modelOf(sample), { optimization: "disabled" });
  try {
    const out = await session.run(feeds);
    return Array.from({ length: sample.outputs ?? 1 }, (_, i) => out[outputName(i)] as TensorData);
  } finally {
    await session.close();
  }
}

/** What the cut application gives, and what the law says it must: the whole one, its cut inputs zeroed, its outputs cut. */
async function bothWays(f: Followed, masks: Masks, { pattern = f.pattern, zeroed: zeros = masks } = {}) {
  const whole = constantsFed(f.sample);
  const feeds = feedsOf(whole, 1);
  const results = await run(f.sample.inputs.some((i) => i?.constant) ? f.sample : whole, feedsOf(f.sample, 1));
  const extremum = [...masks.keys()].some((letter) => f.free.get(letter) === "^");
  const fill = extremum ? (f.sample.op.endsWith("Min") ? 3e38 : -3e38) : 0;
  const summed = [...masks.keys()].some((letter) => f.free.get(letter) !== undefined);
  const masked = Object.fromEntries(
    Object.entries(feeds).map(([name, feed]) => {
      const i = Number(name.slice(1));
      const keeps = keepsOf(f.pattern.inputs[i] ?? [], feed.shape, zeros, f.sizes);
      if (feed.dtype !== "float32" || f.sample.inputs[i]?.values !== undefined) return [name, feed];
      if (summed) return [name, fillTensor(feed, keeps, fill)];
      const axis = recurring(f, i, feed, masks);
      return [name, axis === undefined ? feed : fillTensor(feed, alone(feed, keeps, axis), 0)];
    }),
  );
  const reference = Object.keys(masked).some((name) => masked[name] !== feeds[name])
    ? await run(whole, masked)
    : results;
  const expected = reference.map((out, k) =>
    cutTensor(out, keepsOf(pattern.outputs[k] ?? [], out.shape, zeros, f.sizes)),
  );
  const cut = cutSample({ ...f, pattern }, masks, results, 1);
  const got = await run(cut, feedsOf(cut, 1));
  return { expected: expected.map((e) => rescaled(e, f, masks)), got };
}

/** The axis of an input that a recurrence sums over, where its letter is cut. */
const recurring = (f: Followed, input: number, feed: TensorData, masks: Masks): number | undefined =>
  [...masks.keys()]
    .map((letter) => secondAxis(f.pattern.inputs[input] ?? [], feed.shape, letter))
    .find((axis) => axis !== undefined);

/** What stays along one axis alone. */
const alone = (feed: TensorData, keeps: readonly (readonly boolean[])[], axis: number): boolean[][] =>
  feed.shape.map((size, i) => (i === axis ? [...(keeps[i] ?? [])] : new Array<boolean>(size).fill(true)));

/** A mean over fewer is larger by n / n′. */
function rescaled(tensor: TensorData, f: Followed, masks: Masks): TensorData {
  let factor = 1;
  for (const [letter, mask] of masks)
    if (f.free.get(letter) === "~") factor *= mask.length / mask.filter(Boolean).length;
  return factor === 1 ? tensor : { ...tensor, data: (tensor.data as Float32Array).map((v) => v * factor) };
}

interface Case {
  readonly f: Followed;
  readonly letter: string;
}

/** Every letter of every sample of a rule that may be cut; sums of integers are shifted by zero points, so theirs are left out. */
function casesOf(rule: OpRule): Case[] {
  if (rule.deterministic === false) return [];
  const followed = samplesOf(rule).flatMap((sample) => follow(rule, sample) ?? []);
  return followed.flatMap((f) =>
    [...f.free].flatMap(([letter, kind]) => {
      const summed = kind !== undefined;
      const whole = f.sample.inputs[0]?.dtype !== undefined && f.sample.inputs[0].dtype !== "float32";
      return summed && (whole || NORMALIZES.test(rule.name)) ? [] : [{ f, letter }];
    }),
  );
}

const CUT = OPS.map((rule) => [keyOf(rule.name, rule.domain), casesOf(rule)] as const).filter(
  ([, cases]) => cases.length > 0,
);

describe.each(CUT)("Cutting the axes of %s", (_, cases) => {
  it("gives what zeroing them gives", async () => {
    for (const { f, letter } of cases) {
      const masks = maskOf(letter, f.sizes.get(letter) ?? 1, 7);
      const { expected, got } = await bothWays(f, masks);
      for (const [k, want] of expected.entries())
        expect(distance(want, got[k] as TensorData), `${titleOf(f.sample)}: ${letter} of ${f.rule.map}`).toBeLessThan(
          1e-4,
        );
    }
  });
});

/** Operators whose result does not depend on which indices of an axis there are. */
const ALIKE: Readonly<Record<string, string>> = {
  Equal: "drawn numbers are hardly ever equal",
  IsNaN: "no drawn number is NaN",
  Shape: "it gives sizes, which are the same whichever indices stay",
};

const TOLD_APART = CUT.filter(([name]) => ALIKE[name] === undefined);

describe.each(TOLD_APART)("Cutting other indices of %s than are zeroed", (name, cases) => {
  it("is noticed", async () => {
    for (const { f, letter } of cases) {
      const masks = maskOf(letter, f.sizes.get(letter) ?? 1, 7);
      const turned = new Map([...masks].map(([l, keep]) => [l, [...keep.slice(1), keep[0] as boolean]]));
      const { expected, got } = await bothWays(f, masks, { zeroed: turned });
      if (expected.some((want, k) => distance(want, got[k] as TensorData) > 1e-3)) return;
    }
    expect.fail(`no sample of ${name} tells one index from another`);
  });
});

describe("the law itself", () => {
  const caught = async (op: string, wrong: string): Promise<boolean> => {
    const rule = OPS.find((r) => r.name === op && !r.domain);
    for (const sample of rule === undefined ? [] : samplesOf(rule)) {
      const f = rule && follow(rule, sample);
      if (f === undefined) continue;
      const pattern = parseAxes(wrong);
      if (pattern.inputs.length !== f.pattern.inputs.length) continue;
      for (const letter of f.free.keys()) {
        try {
          const { expected, got } = await bothWays(f, maskOf(letter, f.sizes.get(letter) ?? 1, 7), { pattern });
          if (expected.some((want, k) => distance(want, got[k] as TensorData) > 1e-4)) return true;
        } catch {
          return true;
        }
      }
    }
    return false;
  };

  it.each([
    ["MatMul", "...ab,...bc -> ...ca"],
    ["MatMul", "...ab,...cb -> ...ac"],
    ["Gemm", "ab,bc -> ca"],
    ["Conv", "n(gi)[xk][yl],i(go)kl -> n(go)xy"],
  ])("catches %s with the axes %s", async (op, wrong) => expect(await caught(op, wrong)).toBe(true));
});
