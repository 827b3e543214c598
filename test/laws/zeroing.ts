import type { TensorData } from "../../src/ir/tensor.ts";
import type { Sample } from "../../src/ops/sample.ts";
import { openSession } from "../../src/runtime/index.ts";
import { feedsOf, modelOf, outputName } from "../../src/testing/single.ts";
import {
  constantsFed,
  cutSample,
  cutTensor,
  type Followed,
  fillTensor,
  holdsConstants,
  keepsOf,
  type Masks,
  maskOf,
  secondAxis,
} from "./cut.ts";

/** Operators where the size of a counted axis is more than a factor of the result: the law is for the rest of their axes. */
const NORMALIZES = /Normalization$|Attention$/;

/** How far two tensors are apart, by the largest value of the first; Infinity where their shapes differ. */
export function distance(a: TensorData, b: TensorData): number {
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
export async function bothWays(f: Followed, masks: Masks, zeros: Masks = masks) {
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
    cutTensor(out, keepsOf(f.pattern.outputs[k] ?? [], out.shape, zeros, f.sizes)),
  );
  const cut = cutSample(f, masks, results, 1);
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

/** Letters of a sample that a law of cutting is for; sums of integers are shifted by zero points, so theirs are left out. */
export function lettersCut(f: Followed): string[] {
  const { op, inputs } = f.sample;
  const whole = inputs[0]?.dtype !== undefined && inputs[0].dtype !== "float32";
  return holdsConstants(f)
    ? [...f.free].flatMap(([letter, kind]) =>
        (kind !== undefined && whole) || (kind === "~" && NORMALIZES.test(op)) ? [] : [letter],
      )
    : [];
}

/** Whether cutting a seeded part of a letter gives what zeroing it gives. */
export async function equalsZeroing(f: Followed, letter: string, seed = 7): Promise<boolean> {
  const { expected, got } = await bothWays(f, maskOf(letter, f.sizes.get(letter) ?? 1, seed));
  return expected.every((want, k) => distance(want, got[k] as TensorData) < 1e-4);
}
