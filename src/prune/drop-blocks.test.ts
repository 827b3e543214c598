import { describe, expect, it } from "vitest";
import { outputsOf } from "../../test/laws/masking.ts";
import { Net, resnet, transformer, unet } from "../../test/laws/nets.ts";
import { arrays } from "../data/index.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, readFloats } from "../ir/tensor.ts";
import { costOf, randomFeeds } from "../measure/index.ts";
import { type DropBlocksOptions, dropBlocks, planDropBlocks } from "./drop-blocks.ts";
import { planPruning } from "./plan.ts";

const gpt = transformer(17, 4, "before");

function examples(model: Model, count: number) {
  const name = model.graph.inputs[0]!.name;
  const { dtype, shape, data } = randomFeeds(model, { batch: count, seed: 5 })[name]!;
  return arrays({ x: { [name]: { dtype, shape, data } } });
}

/** The model with everything that the branches of one block multiply by made this much smaller. */
async function faint(model: Model, index: number, by: number): Promise<Model> {
  const { model: base, blocks } = await planDropBlocks(model, { every: 2 });
  const weights = new Map(base.graph.weights);
  for (const { nodes } of blocks[index]!.block.branches)
    for (const name of nodes.flatMap(({ inputs }) => inputs)) {
      const writer = base.graph.nodes.find(({ outputs }) => outputs.includes(name));
      for (const weight of [name, writer?.op === "Transpose" ? (writer.inputs[0] as string) : ""]) {
        const tensor = weights.get(weight);
        if (tensor?.dtype === "float32" && tensor.shape.length > 0)
          weights.set(
            weight,
            float32s(
              tensor.shape,
              (await readFloats(tensor)).map((v) => by * v),
            ),
          );
      }
    }
  return { ...base, graph: { ...base.graph, weights } };
}

const goes = async (model: Model, options: DropBlocksOptions): Promise<number[]> =>
  (await planDropBlocks(model, options)).blocks.flatMap((block, i) => (block.goes ? [i] : []));

describe("the block that goes first", () => {
  it.each([
    ["output", gpt, 2],
    ["influence", gpt, 1],
    ["output", resnet(18, 3), 4],
    ["influence", resnet(18, 3), 1],
  ] as const)("by %s is the one that adds next to nothing", async (importance, model, index) => {
    const quiet = await faint(model, index, 1e-3);
    const data = examples(model, 8);
    const plan = await planDropBlocks(quiet, { count: 1, importance, data, reestimate: false });
    expect(plan.blocks.findIndex((block) => block.goes)).toBe(index);
    const [own, ...others] = plan.blocks.map((block) => block.importance!).sort((a, b) => a - b);
    expect(own).toBeLessThan(0.1 * others[0]!);
    const { model: small } = await dropBlocks({ count: 1, importance, data, reestimate: false }).run(quiet);
    expect(costOf(small).macs).toBe(plan.after.macs);
    expect(plan.before.macs - plan.after.macs).toBe(plan.blocks[index]!.macs);
  });

  it("changes what the next is worth: of two that undo each other, one that goes takes the other along", async () => {
    const net = new Net(18, { x: ["N", 8] });
    const a = net.weight(8, 8);
    const b = net.weight(8, 8);
    const step = (x: string, w: string) => net.one("Add", [x, net.one("MatMul", [x, w])]);
    const between = step(step(net.one("Relu", ["x"]), a), b);
    const c = net.weight(8, 8);
    const given = net.model(net.linear(step(between, c), 8, 4));
    // (I + A)(I + B) = I for A = ½·P, B = −⅓·P with P a projection: each alone moves the outputs, both together do not.
    const unit = Float32Array.from({ length: 8 }, () => Math.sqrt(1 / 8));
    const along = (factor: number) =>
      float32s(
        [8, 8],
        Float32Array.from({ length: 64 }, (_, i) => factor * unit[i >> 3]! * unit[i & 7]!),
      );
    const weights = new Map([...given.graph.weights, [a, along(0.5)], [b, along(-1 / 3)]] as const);
    const scale = float32s(
      [8, 8],
      (await readFloats(given.graph.weights.get(c)!)).map((v) => 0.25 * v),
    );
    weights.set(c, scale);
    const model = { ...given, graph: { ...given.graph, weights } };
    const data = examples(model, 16);
    const { blocks } = await planDropBlocks(model, { count: 2, data, distance: "squared" });
    expect(blocks.map((block) => block.goes)).toEqual([true, true, false]);
  });
});

describe("blocks", () => {
  it("go by count, share, what is kept, every so many in a row, and name", async () => {
    const data = examples(gpt, 4);
    expect(await goes(gpt, { count: 1, data })).toHaveLength(1);
    expect(await goes(gpt, { count: "50%", data })).toHaveLength(2);
    expect(await goes(gpt, { keep: 1, data, importance: "influence" })).toHaveLength(3);
    expect(await goes(gpt, { every: 2 })).toEqual([1, 3]);
    expect(await goes(gpt, { every: 3 })).toEqual([1, 2]);
    expect(await goes(resnet(18, 2), { every: 2 })).toEqual([1, 3]);
    const { blocks } = await planDropBlocks(gpt, { every: 2 });
    expect(await goes(gpt, { blocks: [blocks[3]!.block.name] })).toEqual([3]);
    expect(blocks.every(({ importance }) => importance === undefined)).toBe(true);
  });

  it("leave a model that runs, with its inputs and outputs", async () => {
    for (const model of [gpt, transformer(13, 4, "behind"), resnet(18, 2)]) {
      const plan = await planDropBlocks(model, { every: 2 });
      const { model: small, changes } = await dropBlocks({ every: 2 }).run(model);
      expect(changes.length).toBeGreaterThan(0);
      expect(small.graph.inputs).toEqual(model.graph.inputs);
      expect(small.graph.outputs).toEqual(model.graph.outputs);
      expect(costOf(small).macs).toBe(plan.after.macs);
      expect(plan.after.macs).toBeLessThan(0.8 * plan.before.macs);
      expect((await outputsOf(small, randomFeeds(model))).every(Number.isFinite)).toBe(true);
    }
  });

  it("that are asked for wrongly are refused, with what is possible", async () => {
    const refusal = (model: Model, options: DropBlocksOptions) =>
      planDropBlocks(model, options).then(
        () => undefined,
        (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
      );
    const data = examples(gpt, 4);
    expect(await refusal(unet(18), { every: 2 })).toMatch(/prune\/nothing: The model has no residual block/);
    expect(await refusal(gpt, {})).toMatch(/Nothing says which blocks go/);
    expect(await refusal(gpt, { count: 1, every: 2 })).toMatch(/count and every are given together/);
    expect(await refusal(gpt, { count: 4, data })).toMatch(/there are 4 blocks/);
    expect(await refusal(gpt, { keep: 0, data })).toMatch(/from 1 to 3/);
    expect(await refusal(gpt, { count: 1 })).toMatch(/prune\/no-data/);
    expect(await refusal(gpt, { every: 1 })).toMatch(/from 2 on/);
    expect(await refusal(gpt, { blocks: ["nowhere"] })).toMatch(/There is no residual block "nowhere"/);
    expect(await refusal(resnet(18, 1), { every: 2 })).toMatch(/No block would go/);
  });
});

describe("kinds of groups", () => {
  const kept = async (model: Model, only: NonNullable<Parameters<typeof planPruning>[1]>["only"]) => {
    const plan = await planPruning(model, { pruningRatio: 0.5, roundTo: 1, ...(only && { only }) });
    return plan.groups.map(({ kind, group, kept: left }) => `${kind} ${group.size}→${left}`);
  };

  it("are whole heads, and feed-forward widths, in each layer of a transformer", async () => {
    const model = transformer(17, 2, "before");
    expect(await kept(model, ["heads"])).toEqual(["heads 4→2", "heads 4→2"]);
    expect(await kept(model, ["ffn"])).toEqual(["ffn 40→20", "ffn 40→20"]);
    expect(await kept(model, ["width"])).toEqual(["width 24→12"]);
    expect([...new Set((await kept(model, undefined)).map((line) => line.split(" ")[0]))].sort()).toEqual([
      "ffn",
      "head-size",
      "heads",
      "width",
    ]);
  });

  it("are the inner channels of blocks, and the others, in a ResNet", async () => {
    expect(await kept(resnet(18, 1), ["ffn"])).toEqual(["ffn 8→4", "ffn 12→6"]);
    expect(await kept(resnet(18, 1), ["width"])).toEqual(["width 8→4", "width 12→6"]);
    await expect(planPruning(resnet(18, 1), { only: ["heads"] })).rejects.toThrow(/only leave nothing that can be cut/);
    await expect(planPruning(resnet(18, 1), { only: ["head" as "heads"] })).rejects.toThrow(/It can be heads/);
  });
});
