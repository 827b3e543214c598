import { describe, expect, it } from "vitest";
import { outputsOf } from "../../test/laws/masking.ts";
import { resnet } from "../../test/laws/nets.ts";
import { arrays } from "../data/index.ts";
import { costOf, randomFeeds } from "../measure/index.ts";
import { kitchen, parseRecipe, type Recipe } from "./recipe.ts";

const model = resnet(18, 2);
const feed = randomFeeds(model, { batch: 16, seed: 2 })[model.graph.inputs[0]!.name]!;
const data = arrays({ x: { x: feed } });

const CUTS: readonly (readonly [string, Recipe[number]])[] = [
  ["channels cut", { name: "structuredPruning", macs: "60%", roundTo: 1 }],
  ["a block dropped", { name: "dropBlocks", count: 1 }],
  ["layers factored", { name: "lowRank", macs: "70%", roundTo: 1 }],
];

describe("a recipe", () => {
  it.each(CUTS)(
    "with %s comes out smaller, in int8, the same from its JSON, wherever the step stands",
    async (_, cut) => {
      const quantize = { name: "quantizeStatic", method: "minmax" } as const;
      const recipe = parseRecipe(JSON.parse(JSON.stringify([{ name: "optimize" }, cut, quantize])));
      const cook = kitchen(model, data);
      const { model: made, changes } = await cook.make(recipe);
      const before = costOf(await cook.base).macs;
      expect(costOf(made).macs).toBeLessThan(0.95 * before);
      expect(made.graph.nodes.some(({ op }) => op === "QuantizeLinear")).toBe(true);
      expect(changes.length).toBeGreaterThan(1);
      const feeds = randomFeeds(model, { batch: 2 });
      const outputs = await outputsOf(made, feeds);
      expect(outputs.every(Number.isFinite)).toBe(true);
      const again = await kitchen(model, data).make([quantize, cut, { name: "optimize" }]);
      expect(await outputsOf(again.model, feeds)).toEqual(outputs);
    },
  );

  it("with a step that makes no sense is refused", () => {
    expect(() => parseRecipe([{ name: "dropBlocks", count: "half" }])).toThrow(/It is no recipe/);
    expect(() => parseRecipe([{ name: "structuredPruning", score: "taylor" }])).toThrow(/It is no recipe/);
  });
});
