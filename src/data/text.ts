import { MinnowError } from "../errors.ts";
import type { Source } from "../files/source.ts";
import { type Row, readCsv, readJsonLines } from "../files/table.ts";
import type { TensorData } from "../ir/tensor.ts";
import { matchClasses } from "./classes.ts";
import { type Dataset, dataset, isSkipped, mapExamples, spread } from "./dataset.ts";
import { classNames, describe, type FolderOptions, type Opened } from "./folders.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A text and, where there is one, the name of its class. */
export interface LabelledText {
  readonly text: string;
  readonly label?: string;
}

const TEXT = ["text", "sentence", "content", "message"];
const LABEL = ["label", "class", "category", "target"];

/** The rows of a .csv, .tsv or .jsonl file of texts and labels; the columns are "text" and "label", or go by a usual other name. */
export async function textTable(source: Source): Promise<LabelledText[]> {
  const content = new TextDecoder().decode(await source.read(0, source.size));
  const rows = /\.jsonl$|\.ndjson$/i.test(source.name)
    ? readJsonLines(content, source.name)
    : readCsv(content, source.name, /\.tsv$/i.test(source.name) ? "\t" : ",");
  return rows.map((row, i) => {
    const text = pick(row, TEXT);
    const label = pick(row, LABEL);
    if (text === undefined)
      throw new MinnowError(`Row ${i + 1} has no text, only ${Object.keys(row).join(", ") || "nothing"}.`, {
        code: "data/no-text",
        at: source.name,
        mend: 'Call the columns "text" and "label".',
      });
    return label === undefined ? { text } : { text, label };
  });
}

const pick = (row: Row, names: readonly string[]): string | undefined =>
  names.map((name) => row[name]).find((v) => v !== undefined);

/** Whether a file name says that it is a table {@link textTable} reads. */
export const isTextTable = (path: string): boolean => /\.(?:jsonl|ndjson|csv|tsv)$/i.test(path);

export interface TextOptions extends Pick<FolderOptions, "labels" | "labelOffset" | "seed"> {
  /** The name of the feed. Default "text". */
  readonly input?: string | undefined;
}

/**
 * Texts by index, each a feed of one string. Labels are matched to the model's by name, else they are numbers, else taken in the
 * order of the alphabet; texts without one are left out where others have one. The order is random by the seed, each
 * beginning holding each class in its share.
 */
export function textDataset(rows: readonly LabelledText[], options: TextOptions = {}): Dataset {
  return openTexts(rows, options).data;
}

/** As {@link textDataset}, with how it was understood. */
export function openTexts(rows: readonly LabelledText[], options: TextOptions = {}): Opened {
  const { input = "text", seed = 0 } = options;
  const some = rows.some(({ label }) => label !== undefined);
  const taken = some ? rows.filter(({ label }) => label !== undefined) : rows;
  const names = some ? [...new Set(taken.map(({ label = "" }) => label))].sort() : [];
  const match = matchClasses(names, options.labels, options.labelOffset);
  const labelOf = new Map(names.map((name, i) => [name, match.map[i] as number]));
  const labels = taken.map(({ label = "" }) => labelOf.get(label) ?? 0);
  const order = spread(labels, seed);
  const classes = match.how === "by name" ? options.labels : classNames(labelOf);
  const data = dataset({
    size: taken.length,
    ...(some && { labels: order.map((i) => labels[i] as number), classes }),
    async at(index) {
      const place = order[index] as number;
      const feeds = { [input]: { dtype: "string" as const, shape: [], data: [taken[place]?.text ?? ""] } };
      return { feeds, name: `row ${place + 1}`, ...(some && { label: labels[place] as number }) };
    },
  });
  const left = rows.length - taken.length;
  const stray = left === 0 ? "" : `; ${left} without a label are left out`;
  return { data, parts: new Map(), how: `${describe(data, new Map(), "texts", names.length, match.how)}${stray}` };
}

export interface TokenOptions {
  /** Tokens each text is cut or filled up to. Default 128. */
  readonly length?: number | undefined;
  /** The names of the feeds. Default "input_ids". */
  readonly input?: string | undefined;
}

/**
 * A dataset of texts as token numbers: `input_ids`, `attention_mask` (1, and 0 for what fills the text up) and `token_type_ids`
 * (0), each int64 [length], of which a model takes what it has inputs for. The texts are the examples' one string each.
 */
export function tokenized(data: Dataset, tokenizer: Tokenizer, options: TokenOptions = {}): Dataset {
  const { length = 128, input = "input_ids" } = options;
  return mapExamples(data, (example) => {
    const text = textOf(example.feeds);
    if (text === undefined) return { skipped: "It holds no text.", ...(example.name && { name: example.name }) };
    const ids = tokenizer.encode(text, length);
    const tensor = (of: (place: number) => number): TensorData => ({
      dtype: "int64",
      shape: [length],
      data: BigInt64Array.from({ length }, (_, place) => BigInt(of(place))),
    });
    const feeds = {
      [input]: tensor((place) => ids[place] ?? tokenizer.pad),
      attention_mask: tensor((place) => (place < ids.length ? 1 : 0)),
      token_type_ids: tensor(() => 0),
    };
    return { ...example, feeds };
  });
}

/** The texts of a dataset of them, one after the other. */
export async function textsOf(data: Dataset): Promise<string[]> {
  const texts: string[] = [];
  for (let i = 0; i < data.size; i++) {
    const example = await data.at(i);
    const text = isSkipped(example) ? undefined : textOf(example.feeds);
    if (text !== undefined) texts.push(text);
  }
  return texts;
}

function textOf(feeds: Readonly<Record<string, TensorData>>): string | undefined {
  const only = Object.values(feeds).find(({ dtype }) => dtype === "string");
  const [text] = (only?.data ?? []) as readonly string[];
  return text;
}
