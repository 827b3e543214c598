/** Words and figures for people: in the terminal and in the HTML report alike. */

const THIN = 1000;

/** Bytes as people say them, decimal: `1.88 MB`, `412 kB`. */
export function bytes(n: number): string {
  if (n < THIN) return `${Math.round(n)} B`;
  for (const unit of ["kB", "MB", "GB"]) {
    n /= THIN;
    if (n < THIN || unit === "GB") return `${digits(n)} ${unit}`;
  }
  return "";
}

/** A count: `470 k`, `41.0 M`, `4.09 G`. */
export function count(n: number): string {
  if (n < 10_000) return String(Math.round(n));
  for (const unit of ["k", "M", "G"]) {
    n /= THIN;
    if (n < THIN || unit === "G") return `${digits(n)} ${unit}`;
  }
  return "";
}

/** A share as percent with one decimal: `70.9 %`;  */
export const percent = (share: number, decimals = 1): string =>
  Number.isFinite(share) ? `${(share * 100).toFixed(decimals)} %` : "–";

/** A difference of shares in points with its sign: `−0.6`, `+0.1`, `±0.0`. */
export const points = (difference: number, decimals = 1): string => {
  const text = Math.abs(difference * 100).toFixed(decimals);
  return Number(text) === 0 ? `±${text}` : `${difference < 0 ? "−" : "+"}${text}`;
};

export const milliseconds = (ms: number): string =>
  `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;

/** A duration: `41 s`, `3 min 20 s`. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How a time compares with the one before: `2.21× faster`, `1.30× slower`, `as fast`. */
export function speed(before: number, after: number): string {
  const ratio = before / after;
  if (!Number.isFinite(ratio)) return "";
  if (Math.abs(ratio - 1) < 0.03) return "as fast";
  return ratio > 1 ? `${ratio.toFixed(2)}× faster` : `${(1 / ratio).toFixed(2)}× slower`;
}

/** A signal-to-noise ratio in dB; exact equality has none. */
export const decibel = (db: number): string => (db === Infinity ? "exact" : `${db.toFixed(1)} dB`);

/** `1 image`, `2 images`, `3 branches`, `4 epochs`. */
export const plural = (n: number, word: string): string =>
  `${n} ${word}${n === 1 ? "" : /(s|x|[^o]ch|sh)$/.test(word) ? "es" : "s"}`;

/** A bar of up to `width` cells, in eighths. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const rest = eighths % 8;
  return "█".repeat(Math.floor(eighths / 8)) + (rest > 0 ? (" ▏▎▍▌▋▊▉"[rest] ?? "") : "");
}

/** Lines of a table: columns as wide as their widest cell, numbers (columns named in `right`) flush right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = [], indent = "  "): string[] {
  const columns = Math.max(0, ...rows.map((r) => r.length));
  const widths = Array.from({ length: columns }, (_, c) => Math.max(0, ...rows.map((r) => width(r[c] ?? ""))));
  return rows.map((row) =>
    (indent + row.map((cell, c) => pad(cell, widths[c] ?? 0, right.includes(c))).join("  ")).trimEnd(),
  );
}

/** The text in at most `width` cells, the middle left out where it is longer. */
export function clip(text: string, cells: number): string {
  if (width(text) <= cells) return text;
  const tail = Math.floor((cells - 1) / 2);
  return `${text.slice(0, cells - 1 - tail)}…${text.slice(text.length - tail)}`;
}

const pad = (text: string, cells: number, right: boolean): string => {
  const space = " ".repeat(Math.max(0, cells - width(text)));
  return right ? space + text : text + space;
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: terminal colours start with the escape character
const COLOURS = /\u001b\[\d+m/g;

/** Cells a text takes; colours take none. */
const width = (text: string): number => [...text.replace(COLOURS, "")].length;

const digits = (n: number): string => (n < 10 ? n.toFixed(2) : n < 100 ? n.toFixed(1) : n.toFixed(0));
