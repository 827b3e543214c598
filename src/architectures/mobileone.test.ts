import { describe, expect, it } from "vitest";
import { trained } from "../../test/trained.ts";
import type { Model } from "../ir/graph.ts";
import { costOf, randomFeeds } from "../measure/index.ts";
import { reparameterize } from "../passes/index.ts";
import { openSession } from "../runtime/index.ts";
import { create } from "./index.ts";

async function logitsOf(model: Model): Promise<Float32Array> {
  const session = await openSession(model);
  const { logits } = await session.run(randomFeeds(model, { batch: 2 }));
  await session.close();
  return logits?.data as Float32Array;
}

/** The plain net, which must compute what the given one does. */
async function plainOf(model: Model): Promise<Model> {
  const { model: plain } = await reparameterize().run(model);
  const ops = new Set(plain.graph.nodes.map((node) => node.op));
  expect(ops.has("BatchNormalization") || ops.has("Add")).toBe(false);
  const [wanted, got] = await Promise.all([logitsOf(model), logitsOf(plain)]);
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (const [i, value] of wanted.entries())
    expect(Math.abs(value - (got[i] as number))).toBeLessThanOrEqual(1e-4 * largest);
  return plain;
}

describe("MobileOne is re-parameterized into a plain net that computes the same", () => {
  it.each([
    ["mobileone_s0", 5_293_272, 2_078_504],
    ["mobileone_s1", 4_825_192, 4_764_840],
  ])("%s", async (name, training, inference) => {
    const model = await trained(create(name, { resolution: 64 }));
    expect([model, await plainOf(model)].map((m) => costOf(m).parameters)).toEqual([training, inference]);
  });

  it("with squeeze-and-excite", async () => {
    await plainOf(await trained(create("mobileone_s4", { resolution: 64, width: 0.25 })));
  });
});
