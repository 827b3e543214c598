import { expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { ownNet } from "../../examples/own-net.mjs";
import { type Model, verify } from "../../src/ir/index.ts";
import { costOf, randomFeeds } from "../../src/measure/index.ts";
import { optimize } from "../../src/passes/index.ts";
import { openSession } from "../../src/runtime/index.ts";

it("the net that the documentation composes of blocks runs, before and after BatchNorm is folded", async () => {
  const model = ownNet({ classes: 7 }) as Model;
  verify(model);
  expect(costOf(model).unknownOps).toEqual([]);
  expect(costOf(model).macs).toBeLessThan(5e6);
  const outputs: Float32Array[] = [];
  for (const one of [model, (await optimize().run(model)).model]) {
    const session = await openSession(one);
    const { logits } = await session.run(randomFeeds(one, { batch: 2 }));
    await session.close();
    expect(logits?.shape).toEqual([2, 7]);
    outputs.push(logits?.data as Float32Array);
  }
  const [before, after] = outputs as [Float32Array, Float32Array];
  expect(new Set(before).size).toBe(14);
  for (const [i, value] of before.entries()) expect(after[i]).toBeCloseTo(value, 4);
});
