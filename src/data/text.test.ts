import { describe, expect, it } from "vitest";
import { bytesSource } from "../files/source.ts";
import { bindInputs } from "./bind.ts";
import { isSkipped } from "./dataset.ts";
import { openTexts, textDataset, textTable, tokenized } from "./text.ts";
import { openTokenizer, vocabularyOf } from "./tokenizer.ts";

const table = (name: string, content: string) => textTable(bytesSource(new TextEncoder().encode(content), name));
const rows = [
  { text: "The mouse ate the cheese.", label: "animal" },
  { text: "A cat, a mouse and a dog!", label: "animal" },
  { text: "The ship and the boat", label: "thing" },
  { text: "No label here" },
];

describe("textTable", () => {
  it("reads the same rows from .jsonl, .csv and .tsv", async () => {
    const expected = [
      { text: 'one, "two"', label: "a" },
      { text: "three", label: "b" },
    ];
    const json = expected.map((row) => JSON.stringify(row)).join("\n");
    expect(await table("x.jsonl", json)).toEqual(expected);
    expect(await table("x.csv", 'text,label\n"one, ""two""",a\nthree,b\n')).toEqual(expected);
    expect(await table("x.tsv", 'label\tcontent\na\t"one, ""two"""\nb\tthree\n')).toEqual(expected);
    await expect(table("x.tsv", "text\tlabel\none\n")).rejects.toMatchObject({ code: "files/csv" });
  });
});

describe("textDataset", () => {
  it("holds each text as a string with its class, and leaves out what has none", async () => {
    const { data, how } = openTexts(rows);
    expect(how).toBe("3 texts in 2 classes (matched alphabetically); 1 without a label are left out");
    const found = [];
    for (let i = 0; i < data.size; i++) {
      const example = await data.at(i);
      if (!isSkipped(example)) found.push([example.feeds["text"]?.data[0], data.classes?.[example.label ?? 9]]);
    }
    expect(found.toSorted()).toEqual(
      rows
        .slice(0, 3)
        .map(({ text, label }) => [text, label])
        .toSorted(),
    );
  });

  it("matches labels to the model's by name, numbers as numbers", () => {
    const labels = (names: readonly string[], known?: readonly string[]) => {
      const data = textDataset(
        names.map((label) => ({ text: label, label })),
        { ...(known && { labels: known }) },
      );
      return Promise.all(names.map(async (_, i) => data.at(i))).then((all) =>
        Object.fromEntries(all.map((e) => (isSkipped(e) ? [] : [e.feeds["text"]?.data[0], e.label]))),
      );
    };
    return Promise.all([
      expect(labels(["spam", "ham"], ["spam", "ham"])).resolves.toEqual({ spam: 0, ham: 1 }),
      expect(labels(["1", "0", "2"])).resolves.toEqual({ 0: 0, 1: 1, 2: 2 }),
    ]);
  });
});

describe("vocabularyOf and openTokenizer", () => {
  it("knows the most frequent words, in any order of the texts, and nothing else", async () => {
    const texts = rows.map(({ text }) => text);
    const json = await vocabularyOf(texts, { size: 9 });
    expect(await vocabularyOf(texts.toReversed(), { size: 9 })).toEqual(json);
    expect(Object.keys(json.model.vocab as object)).toEqual([
      "[PAD]",
      "[UNK]",
      "[CLS]",
      "[SEP]",
      "the",
      "a",
      "and",
      "mouse",
    ]);
    const tokenizer = await openTokenizer(json);
    expect(tokenizer).toMatchObject({ pad: 0, size: 8 });
    expect(tokenizer.encode("The MÖUSE, the dog", 16)).toEqual([2, 4, 7, 1, 4, 1, 3]);
  });

  it("cuts a text but never what begins and ends it", async () => {
    const tokenizer = await openTokenizer(await vocabularyOf(["a b c d", "a b c d"]));
    const whole = tokenizer.encode("a b c d", 99);
    expect(whole.length).toBe(6);
    expect(tokenizer.encode("a b c d", 4)).toEqual([...whole.slice(0, 3), whole[5]]);
  });

  it("splits words at punctuation as BERT does, and refuses what is no tokenizer", async () => {
    const json = await vocabularyOf(["don't stop", "don't stop"]);
    expect(
      Object.keys(json.model.vocab as object)
        .slice(4)
        .toSorted(),
    ).toEqual(["'", "don", "stop", "t"]);
    await expect(openTokenizer({ model: { vocab: 3 } } as never, "x.json")).rejects.toMatchObject({
      code: "data/tokenizer",
      at: "x.json",
    });
  });
});

describe("tokenized", () => {
  it("gives ids, a mask and types of one length, and a model takes those it has inputs for", async () => {
    const tokenizer = await openTokenizer(await vocabularyOf(rows.map(({ text }) => text)));
    const data = tokenized(textDataset(rows), tokenizer, { length: 12 });
    const input = (name: string) => ({
      name,
      type: { kind: "tensor" as const, dtype: "int64" as const, shape: ["N", 12] },
    });
    const graph = {
      name: "net",
      inputs: [input("input_ids"), input("attention_mask")],
      outputs: [],
      weights: new Map(),
      valueInfo: new Map(),
      nodes: [],
    };
    const example = await bindInputs(data, graph).at(0);
    if (isSkipped(example)) throw new Error(example.skipped);
    expect(Object.keys(example.feeds)).toEqual(["input_ids", "attention_mask"]);
    const [ids, mask] = Object.values(example.feeds).map(({ data }) => Array.from(data as BigInt64Array, Number));
    expect(ids?.length).toBe(12);
    const length = mask?.reduce((a, b) => a + b, 0) ?? 0;
    expect(mask).toEqual(ids?.map((_, i) => (i < length ? 1 : 0)));
    expect(ids?.[0]).toBe(2);
    expect(ids?.[length - 1]).toBe(3);
    expect(ids?.slice(length).every((id) => id === 0)).toBe(true);
    expect(data.labels).toEqual(textDataset(rows).labels);
  });
});
