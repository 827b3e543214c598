import { describe, expect, it } from "vitest";
import { create } from "../architectures/index.ts";
import { type Dataset, dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { costOf } from "../measure/cost.ts";
import { random } from "../numeric/random.ts";
import { constant } from "../train/schedules.ts";
import { distill } from "./distill.ts";
import { attentionDivergence, hiddenSquared, layerMap, valueRelation } from "./layers.ts";
import { softTargets } from "./logits.ts";
import { studentOf } from "./students.ts";

const bert = (dimension: number, layers: number): Model =>
  create("bert_tiny", { classes: 3, vocabulary: 40, length: 8, layers, dimension, heads: 2, inner: 2 * dimension });

/** Rows of random tokens, without labels. */
function texts(count: number): Dataset {
  const next = random(4);
  const rows = Array.from({ length: count }, () => Array.from({ length: 8 }, () => Math.floor(next() * 40)));
  const row = (data: readonly number[]): TensorData => ({
    dtype: "int64",
    shape: [8],
    data: BigInt64Array.from(data, BigInt),
  });
  return dataset({
    size: count,
    at: async (i) => ({
      feeds: {
        input_ids: row(rows[i] as number[]),
        attention_mask: row(Array(8).fill(1)),
        token_type_ids: row(Array(8).fill(0)),
      },
    }),
  });
}

const layers = (name: string, ...numbers: number[]) => numbers.map((i) => `bert.encoder.layer.${i}.${name}`);

describe("studentOf", () => {
  it("leaves out every second layer of a transformer or block of a ResNet, and keeps the weights of the others", async () => {
    const teacher = bert(16, 4);
    const student = await studentOf(teacher, { every: 2 });
    const weights = [...student.graph.weights.keys()].filter((name) => /layer\.\d/.test(name));
    expect([...new Set(weights.map((name) => /layer\.(\d)/.exec(name)?.[1]))]).toEqual(["0", "2"]);
    for (const name of weights) expect(student.graph.weights.get(name)).toBe(teacher.graph.weights.get(name));
    const resnet = create("resnet20");
    const shallow = await studentOf(resnet, { every: 2 });
    expect(costOf(shallow).macs).toBeLessThan(0.8 * costOf(resnet).macs);
    await expect(studentOf(resnet, {})).rejects.toThrow("Nothing is said of how the student differs from its teacher.");
  });

  it("cuts widths to a share of the multiply-adds", async () => {
    const resnet = create("resnet20");
    const narrow = await studentOf(resnet, { macs: "50%", roundTo: 4 });
    expect(costOf(narrow).macs).toBeLessThanOrEqual(0.5 * costOf(resnet).macs);
    expect(narrow.graph.nodes.length).toBe(resnet.graph.nodes.length);
  });
});

describe("distill", () => {
  it("teaches a transformer its teacher's layers, of other widths, by a layer map", async () => {
    const teacher = bert(24, 4);
    const student = bert(16, 2);
    const map = (name: string) => layerMap(layers(name, 0, 1), layers(name, 0, 1, 2, 3));
    const losses = [
      softTargets({ temperature: 1 }),
      hiddenSquared({ pairs: map("output.LayerNorm") }),
      attentionDivergence({ pairs: map("weights") }),
      valueRelation({ pairs: layerMap(layers("value_heads_1", 1), layers("value_heads_1", 3), "last") }),
    ];
    const options = { teacher, losses, data: texts(64), epochs: 6, batch: 16, schedule: constant(0.02), clipNorm: 1 };
    const { model, history, weights } = await distill(student, options);
    expect(Object.keys(weights)).toEqual(["softTargets", "hiddenSquared", "attentionDivergence", "valueRelation"]);
    expect(history.at(-1)?.loss).toBeLessThan(0.9 * (history[0]?.loss as number));
    expect(model.graph.outputs.map(({ name }) => name)).toEqual(["logits"]);
    expect([...model.graph.weights.keys()].some((name) => name.includes("projection"))).toBe(false);
  });

  it("says so where teacher and student read texts of other lengths", async () => {
    const long = create("bert_tiny", { classes: 3, vocabulary: 40, length: 12, layers: 1, dimension: 16, heads: 2 });
    const options = { teacher: long, data: texts(32), epochs: 1, batch: 16 };
    await expect(distill(bert(16, 1), options)).rejects.toThrow("takes int64 [12] for one example");
  });
});
