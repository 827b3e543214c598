import { describe, expect, it } from "vitest";
import type { Model } from "../../src/ir/graph.ts";
import { verify } from "../../src/ir/verify.ts";
import { randomFeeds } from "../../src/measure/index.ts";
import { cut } from "../../src/prune/apply.ts";
import { derive } from "../../src/prune/derive.ts";
import { groupsOf } from "../../src/prune/groups.ts";
import { prepared } from "../../src/prune/prepare.ts";
import { apart, masked, outputsOf, randomMasks } from "./masking.ts";
import { bert, groupNorm, gru, inception, lstm, mixed, unet } from "./nets.ts";

const NETS: readonly [name: string, make: (opset: number) => Model, opsets: readonly number[]][] = [
  ["an LSTM in both directions", lstm, [9, 14, 22]],
  ["a GRU with an initial state", gru, [9, 14, 22]],
  ["GroupNorm", groupNorm, [9, 18, 21]],
  ["a U-Net", unet, [9, 11, 18, 22]],
  ["branches as in Inception", inception, [9, 10, 11, 13, 18, 25]],
  ["a BERT, queries apart", (opset) => bert(opset, false), [9, 12, 17, 21]],
  ["a BERT, queries packed", (opset) => bert(opset, true), [9, 13, 18, 23]],
  ["shuffles, tiles and lists of indices", mixed, [9, 13, 18, 25]],
];

const FUSED = /Normalization averages/;

const cases = NETS.flatMap(([name, make, opsets]) => opsets.map((opset) => ({ name, opset, make })));

describe.each(cases)("$name, opset $opset", ({ make, opset }) => {
  it("cut equals masked for any indices of any groups", async () => {
    const model = make(opset);
    const feeds = randomFeeds(model, { batch: 2, seed: 3 });
    const whole = await outputsOf(model, feeds);
    const d = derive((await prepared(model)).model);
    const groups = groupsOf(d).groups.filter(({ counted }) => !counted.some((reason) => FUSED.test(reason)));
    expect(groups.length).toBeGreaterThan(1);
    expect(apart(whole, await outputsOf(await cut(d, new Map()), feeds)).difference).toBeLessThan(1e-5);
    const chosen = [...groups.map((group) => [group]), groups, groups, groups];
    for (const [seed, some] of chosen.entries()) {
      const masks = randomMasks(some, seed, 0.8, 1);
      const small = await cut(d, masks);
      verify(small);
      const [want, got] = [await outputsOf(masked(d, masks), feeds), await outputsOf(small, feeds)];
      const { difference, largest } = apart(want, got);
      expect(difference, `seed ${seed}`).toBeLessThan(1e-4 * largest);
      // One group alone may be read by nothing that reaches the output: a part that a Slice leaves out.
      if (some === groups) expect(apart(whole, want).difference, `seed ${seed}`).toBeGreaterThan(10 * difference);
    }
  });

  it("runs with groups cut whose count matters", async () => {
    const model = make(opset);
    const d = derive((await prepared(model)).model);
    const { groups } = groupsOf(d);
    const small = await cut(d, randomMasks(groups, 9, 0.6, 1));
    verify(small);
    expect((await outputsOf(small, randomFeeds(model, { batch: 1 }))).every(Number.isFinite)).toBe(true);
  });
});
