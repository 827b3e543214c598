import type { EpochRecord } from "../train/progress.ts";
import type { Untouched } from "../train/trainable.ts";
import { curve } from "./curve.ts";
import { dataTable, type Html, html, page } from "./page.ts";
import { count, percent, plural } from "./words.ts";

/** What a report of a training is made from. */
export interface TrainingReportParts {
  readonly model: string;
  readonly output: string;
  readonly epochs: readonly EpochRecord[];
  /** The epoch that was best, counted from 1. */
  readonly best: number | undefined;
  /** Metrics on the data that judges, before the first epoch and at the end. */
  readonly before: Readonly<Record<string, number>>;
  readonly after: Readonly<Record<string, number>>;
  /** What was used, as label and words: data, preprocessing, optimizer. */
  readonly lines: readonly (readonly [string, string])[];
  readonly untouched: readonly Untouched[];
  readonly command: string;
  readonly machine: string;
  readonly date: string;
}

/** One self-contained page: how good the model became, the curves, every epoch. */
export function trainingReport(parts: TrainingReportParts): string {
  const { model, output, epochs, before, after } = parts;
  const [name = "", value] = Object.entries(after)[0] ?? [];
  const title = value === undefined ? `loss ${digits(epochs.at(-1)?.loss)}` : `${name} ${figure(name, value)}`;
  const was = before[name] === undefined ? "" : ` It was ${figure(name, before[name])} before.`;
  return page(
    `${baseName(model)}: trained`,
    html`<p class="eyebrow">${baseName(model)} → ${baseName(output)}</p>
<h1>${title} after ${plural(epochs.length, "epoch")}</h1>
<p class="soft">Measured on the data that judges.${was}</p>
${curves(parts)}
${table(parts)}
<h2>How it was made</h2>
${dataTable(
  ["", ""],
  parts.lines.map(([label, words]) => ({ cells: [label, words] })),
)}
<pre>${parts.command}</pre>
${parts.untouched.length > 0 && html`<details><summary>${plural(parts.untouched.length, "weight")} left as they were</summary><pre>${parts.untouched.map((u) => `${u.name}: ${u.why}\n`)}</pre></details>`}
<footer>${parts.machine} · ${parts.date} · made by minnow</footer>`,
  );
}

function curves({ epochs }: TrainingReportParts): Html {
  const judged = Object.keys(epochs[0]?.metrics ?? {})[0];
  const validation = { name: "validation", values: epochs.map((e) => e.metrics[judged ?? ""]), second: true };
  const loss = [{ name: "learning", values: epochs.map((e) => e.loss) }, ...(judged === "loss" ? [validation] : [])];
  const learning = { name: "learning", values: epochs.map((e) => e.trainAccuracy) };
  const metric = judged === "accuracy" ? [learning, validation] : [validation];
  return html`<h2>Curves</h2>
${curve(loss, { title: "Loss", format: digits, along: "epoch" })}
${judged !== undefined && judged !== "loss" && curve(metric, { title: judged, format: (v) => percent(v), along: "epoch" })}`;
}

function table({ epochs, best }: TrainingReportParts): Html {
  const names = Object.keys(epochs[0]?.metrics ?? {});
  const head = ["epoch", "loss", ...names, "learning rate", "examples/s"];
  return html`<h2>Epochs</h2>
${dataTable(
  head,
  epochs.map((e) => ({
    chosen: e.epoch === best,
    cells: [
      e.epoch,
      digits(e.loss),
      ...names.map((name) => figure(name, e.metrics[name] ?? Number.NaN)),
      e.lr.toPrecision(3),
      count(e.samplesPerSecond),
    ],
  })),
  head.map((_, i) => i),
)}`;
}

const baseName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path;

/** A loss with four digits. */
const digits = (v: number | undefined): string =>
  v === undefined || !Number.isFinite(v) ? "–" : v === 0 ? "0" : String(Number(v.toPrecision(4)));

const figure = (name: string, value: number): string => (name === "loss" ? digits(value) : percent(value, 2));
