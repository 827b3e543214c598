import { MinnowError } from "../errors.ts";

/** One row of a table: its values by the names of the columns. */
export type Row = Readonly<Record<string, string>>;

/** The rows of a CSV text, or one of another separator (RFC 4180: quotes double themselves, quoted values may hold line ends); the first names the columns. */
export function readCsv(text: string, at?: string, separator: "," | "\t" = ","): Row[] {
  const [columns = [], ...rows] = [...csvLines(text.replace(/^\ufeff/, ""), separator)];
  return rows.map((values, i) => {
    if (values.length !== columns.length)
      throw new MinnowError(`Row ${i + 2} has ${values.length} values, and there are ${columns.length} columns.`, {
        code: "files/csv",
        at,
        mend: `Put quotes around values that hold a ${separator === "," ? "comma" : "tab"} or a line end.`,
      });
    return Object.fromEntries(columns.map((column, c) => [column.trim(), values[c] as string]));
  });
}

function* csvLines(text: string, separator: "," | "\t"): Generator<string[]> {
  let row: string[] = [];
  const value = separator === "," ? /"((?:[^"]|"")*)"[^,\r\n]*|[^,\r\n]*/y : /"((?:[^"]|"")*)"[^\t\r\n]*|[^\t\r\n]*/y;
  for (let at = 0; at < text.length; ) {
    value.lastIndex = at;
    const found = value.exec(text);
    row.push(found?.[1]?.replaceAll('""', '"') ?? found?.[0] ?? "");
    at += found?.[0].length ?? 0;
    if (text[at] === separator) {
      at++;
      if (at < text.length) continue;
      row.push("");
    }
    if (row.length > 1 || row[0] !== "") yield row;
    row = [];
    at += text.startsWith("\r\n", at) ? 2 : 1;
  }
}

/** The rows of a text with one JSON object on each line; values that are no text come as their JSON. */
export function readJsonLines(text: string, at?: string): Row[] {
  const rows: Row[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      value = undefined;
    }
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new MinnowError(`Line ${i + 1} is no JSON object.`, {
        code: "files/jsonl",
        at,
        mend: 'Write one object on each line, for example {"text": "…", "label": "…"}.',
      });
    const entries = Object.entries(value as Record<string, unknown>);
    rows.push(Object.fromEntries(entries.map(([k, v]) => [k, typeof v === "string" ? v : JSON.stringify(v)])));
  }
  return rows;
}
