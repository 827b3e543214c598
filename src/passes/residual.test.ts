import { describe, expect, it } from "vitest";
import { apart, outputsOf } from "../../test/laws/masking.ts";
import { bert, inception, Net, resnet, transformer, unet } from "../../test/laws/nets.ts";
import type { Model } from "../ir/graph.ts";
import { elements, float32s } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { randomFeeds } from "../measure/index.ts";
import { prepared } from "../prune/prepare.ts";
import { removeDeadCode } from "./dead-code.ts";
import { type ResidualBlock, residualBlocks, withoutBlocks } from "./residual.ts";

const found = async (given: Model) => {
  const { model } = await prepared(given);
  return { model, blocks: residualBlocks(model) };
};

const without = async (model: Model, blocks: readonly ResidualBlock[]) =>
  (await removeDeadCode().run(withoutBlocks(model, blocks))).model;

/** The model with every weight in the branches of a block at 0, so that they add nothing. */
function silenced(model: Model, { branches }: ResidualBlock): Model {
  const weights = new Map(model.graph.weights);
  for (const { nodes } of branches)
    for (const node of nodes)
      for (const name of node.inputs) {
        const tensor = weights.get(name);
        if (tensor?.dtype === "float32" && tensor.shape.length > 0)
          weights.set(name, float32s(tensor.shape, new Float32Array(elements(tensor.shape))));
      }
  return { ...model, graph: { ...model.graph, weights } };
}

const NETS: readonly (readonly [string, Model, string])[] = [
  ["a ResNet", resnet(18, 3), "1 1 1, 1 1 1"],
  ["a ResNet with one plain block", resnet(13, 1), "1, 1"],
  ["a transformer that normalizes before", transformer(18, 3, "before"), "2 2 2"],
  ["one of an old opset, written out", transformer(13, 4, "before"), "2 2 2 2"],
  ["a transformer that normalizes behind", transformer(17, 3, "behind"), "2 2 2"],
  ["one layer, which shows no repetition", bert(17, true), "1 1"],
];

describe("the residual blocks", () => {
  it.each(NETS)("of %s are whole layers, in rows", async (_, model, branches) => {
    const { blocks } = await found(model);
    const rows = [...new Set(blocks.map(({ row }) => row))].map((row) => blocks.filter((block) => block.row === row));
    expect(rows.map((row) => row.map((block) => block.branches.length).join(" ")).join(", ")).toBe(branches);
  });

  it.each(NETS.slice(0, 4))("of %s, silenced, change nothing when they go", async (_, model) => {
    const { model: base, blocks } = await found(model);
    const feeds = randomFeeds(model, { batch: 2, seed: 4 });
    const whole = await outputsOf(base, feeds);
    for (const block of blocks) {
      const quiet = silenced(base, block);
      const small = await without(quiet, [block]);
      verify(small);
      const want = await outputsOf(quiet, feeds);
      const { difference, largest } = apart(want, await outputsOf(small, feeds));
      expect(difference).toBeLessThan(1e-6 * largest);
      expect(apart(whole, await outputsOf(await without(base, [block]), feeds)).difference).toBeGreaterThan(1e-4);
    }
  });

  it.each([
    ["before", 18],
    ["behind", 17],
  ] as const)("taken out leave the nodes of a net that was built without them, normalized %s", async (norm, opset) => {
    const ops = ({ graph }: Model) => graph.nodes.map(({ op }) => op).sort();
    const shorter = await found(transformer(opset, 1, norm));
    const { model, blocks } = await found(transformer(opset, 3, norm));
    for (const pair of [blocks.slice(0, 2), blocks.slice(1), [blocks[0]!, blocks[2]!]])
      expect(ops(await without(model, pair))).toEqual(ops(shorter.model));
  });

  it("are none where nothing is added to what it reads, or others read what is inside", async () => {
    expect((await found(unet(18))).blocks).toEqual([]);
    expect((await found(inception(18))).blocks).toEqual([]);
    const net = new Net(18, { x: ["N", 8] });
    const x = net.one("Relu", ["x"]);
    const inside = net.linear(x, 8, 8);
    const sum = net.one("Add", [net.linear(net.one("Relu", [inside]), 8, 8), x]);
    expect((await found(net.model(net.linear(sum, 8, 2), inside))).blocks).toEqual([]);
  });

  it("may be read at their ends by others, and those around others are none", async () => {
    const net = new Net(18, { x: ["N", 8] });
    const first = net.one("Relu", ["x"]);
    const step = (x: string) => net.one("Add", [x, net.one("Tanh", [net.linear(x, 8, 8)])]);
    const middle = step(first);
    const last = step(middle);
    const around = net.one("Add", [net.linear(last, 8, 8), first]);
    const { model, blocks } = await found(net.model(net.linear(around, 8, 3), net.linear(middle, 8, 2)));
    expect(blocks.map(({ from, to }) => [from, to])).toEqual([
      [first, middle],
      [middle, last],
    ]);
    const small = await without(model, blocks);
    verify(small);
    expect(small.graph.nodes.filter(({ op }) => op === "Tanh")).toEqual([]);
  });

  it("stay where an input of the model would have to be its output", async () => {
    const net = new Net(18, { x: ["N", 8] });
    const { model, blocks } = await found(net.model(net.one("Add", [net.linear("x", 8, 8), "x"])));
    expect(blocks).toHaveLength(1);
    expect(() => withoutBlocks(model, blocks)).toThrow(/Leave this block/);
  });
});
