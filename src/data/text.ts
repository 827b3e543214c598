import { MinnowError } from "../errors.ts";
import type { Source } from "../files/source.ts";
import { type Row, readCsv, readJsonLines } from "../files/table.ts";

/** A text and, where there is one, the name of its class. */
export interface LabelledText {
  readonly text: string;
  readonly label?: string;
}

const TEXT = ["text", "sentence", "content", "message"];
const LABEL = ["label", "class", "category", "target"];

/** The rows of a .csv or .jsonl file of texts and labels; the columns are "text" and "label", or go by a usual other name. */
export async function textTable(source: Source): Promise<LabelledText[]> {
  const content = new TextDecoder().decode(await source.read(0, source.size));
  const rows = /\.jsonl$|\.ndjson$/i.test(source.name)
    ? readJsonLines(content, source.name)
    : readCsv(content, source.name);
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
