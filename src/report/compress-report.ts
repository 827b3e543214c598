import type { Budget, Check, Figures } from "../compress/budget.ts";
import type { CompressResult } from "../compress/compress.ts";
import type { Trial } from "../compress/trials.ts";
import type { LayerCost } from "../measure/cost.ts";
import { barOf, dataTable, type Html, html, page } from "./page.ts";
import { bytes, count, decibel, duration, milliseconds, percent, plural, points, speed } from "./words.ts";

/** What a report of a search is made from, besides its result. */
export interface ReportParts {
  readonly result: CompressResult;
  readonly budget: Budget;
  readonly model: string;
  /** Absent where nothing was written. */
  readonly output: string | undefined;
  /** What was used, as label and words: data, preprocessing. */
  readonly lines: readonly (readonly [string, string])[];
  readonly layers: { readonly before: readonly LayerCost[]; readonly after: readonly LayerCost[] };
  /** Names of classes by number. */
  readonly classes: readonly string[] | undefined;
  readonly changed: readonly ChangedAnswer[];
  /** The command that makes the result again. */
  readonly command: string;
  /** Processor, runtime and versions: what the times hold for. */
  readonly machine: string;
  readonly date: string;
}

/** An example the small model answers otherwise. */
export interface ChangedAnswer {
  readonly name: string;
  readonly label: number;
  readonly before: number;
  readonly after: number;
  /** A `data:` address of the picture, and whether it is so small that its pixels should show. */
  readonly picture?: { readonly address: string; readonly tiny: boolean };
}

/** One self-contained page: the verdict first, then what it rests on. */
export function compressReport(parts: ReportParts): string {
  const { result, model } = parts;
  return page(
    `${baseName(model)}: ${result.met ? "compressed" : "not within the budget"}`,
    html`${verdict(parts)}${cards(parts)}${beforeAfter(parts)}${trials(parts)}${sensitivity(result)}${sizes(parts)}${answers(parts)}${again(parts)}
<footer>${parts.machine} · ${parts.date} · made by minnow</footer>`,
  );
}

const baseName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path;

/** One sentence that says whether the budget was met. */
export function verdictWords({ result, budget }: Pick<ReportParts, "result" | "budget">): string {
  if (result.model === undefined) return "Nothing smaller was found.";
  if (!result.met)
    return `The budget is not met: ${result.checks
      .filter((c) => !c.met)
      .map(checkWords)
      .join("; ")}.`;
  const by =
    result.change === undefined || budget.maxDrop === undefined ? "" : ` (${points(result.change.value)} points)`;
  return result.uncertain ? `The budget is met${by}, but not for certain.` : `The budget is met${by}.`;
}

/** A bound that was checked, in words. */
export function checkWords({ what, value, limit }: Check): string {
  if (what === "maxDrop")
    return `the metric fell by ${percent(Math.max(0, value))}, at most ${percent(limit)} is allowed`;
  if (what === "maxSize") return `the file has ${bytes(value)}, at most ${bytes(limit)} are allowed`;
  if (what === "maxMacs") return `it takes ${count(value)} MACs, at most ${count(limit)} are allowed`;
  return `it takes ${milliseconds(value)}, at most ${milliseconds(limit)} are allowed`;
}

function verdict(parts: ReportParts): Html {
  const { result } = parts;
  const tone = result.met ? (result.uncertain ? "warn" : "good") : "bad";
  const mark = result.met ? "✔" : "✗";
  const interval =
    result.change === undefined
      ? ""
      : `Measured on ${plural(result.verdicts.before.samples, "example")} that had no part in choosing: ${points(result.change.value)} points, 95 % interval ${points(result.change.low)} to ${points(result.change.high)}.`;
  return html`<p class="eyebrow">${baseName(parts.model)} → ${parts.output === undefined ? "nothing written" : baseName(parts.output)}</p>
<h1><span class="${tone}">${mark}</span> ${verdictWords(parts)}</h1>
<p class="soft">${interval}</p>
${result.interrupted && html`<p class="warn">The search was interrupted; this is the best it had found.</p>`}`;
}

function cards({ result }: ReportParts): Html {
  const { before, after } = result;
  if (after === undefined) return html``;
  const card = (big: string, small: string) => html`<div class="card"><b>${big}</b><span>${small}</span></div>`;
  return html`<div class="cards">
${card(percent(after.bytes / before.bytes, 0), `of the file: ${bytes(before.bytes)} → ${bytes(after.bytes)}`)}
${after.brotliBytes !== undefined && card(bytes(after.brotliBytes), `to download (brotli), before ${bytes(before.brotliBytes ?? before.bytes)}`)}
${before.latencyMs !== undefined && after.latencyMs !== undefined && card(speed(before.latencyMs, after.latencyMs), `in ${runtimeName(result.runtime)}: ${milliseconds(before.latencyMs)} → ${milliseconds(after.latencyMs)}`)}
${card(percent(after.quality), `${qualityName(result.quality)}, before ${percent(before.quality)}`)}
</div>`;
}

/** What a search goes by, in a word. Closeness of outputs is 1 − noise / signal: 99 % is 20 dB. */
export const qualityName = (quality: string): string => (quality === "sqnr" ? "closeness" : quality);

export const runtimeName = (runtime: string): string =>
  runtime === "node" ? "Node" : runtime === "wasm" ? "WebAssembly" : "WebGPU";

function beforeAfter({ result, lines }: ReportParts): Html {
  const { before, after, verdicts } = result;
  const row = (name: string, of: (f: Figures) => string | undefined) => ({
    cells: [name, of(before) ?? "–", after === undefined ? "–" : (of(after) ?? "–")],
  });
  const metrics = Object.keys(verdicts.before.metrics).map((name) => ({
    cells: [name, metric(name, verdicts.before.metrics[name]), metric(name, verdicts.after?.metrics[name])],
  }));
  return html`<h2>Before and after</h2>
${dataTable(
  ["", "before", "after"],
  [
    ...metrics,
    row("file", (f) => bytes(f.bytes)),
    row("download (brotli)", (f) => (f.brotliBytes === undefined ? undefined : bytes(f.brotliBytes))),
    row("parameters", (f) => count(f.parameters)),
    row("multiply-adds", (f) => count(f.macs)),
    row(`latency in ${runtimeName(result.runtime)} (median)`, (f) =>
      f.latencyMs === undefined ? undefined : milliseconds(f.latencyMs),
    ),
  ],
  [1, 2],
)}
<p class="soft">${lines.map(([label, text]) => html`${label}: ${text}<br>`)}</p>`;
}

const metric = (name: string, value: number | undefined): string =>
  value === undefined ? "–" : name === "sqnr" ? decibel(value) : percent(value, 2);

function trials({ result, budget }: ReportParts): Html {
  const rows = result.trials.map((trial: Trial) => ({
    chosen: trial === result.chosen,
    cells: [
      html`<span class="${trial.met ? "good" : "bad"}">${trial.met ? "✔" : "✗"}</span> ${trial.name}`,
      trial.figures === undefined ? "–" : percent(trial.figures.quality),
      trial.figures === undefined ? "–" : bytes(trial.figures.bytes),
      trial.figures?.brotliBytes === undefined ? "–" : bytes(trial.figures.brotliBytes),
      trial.figures?.latencyMs === undefined ? "–" : milliseconds(trial.figures.latencyMs),
      trial.note ?? duration(trial.seconds),
    ],
  }));
  const bound =
    budget.maxDrop === undefined
      ? ""
      : ` The metric may fall by ${percent(budget.maxDrop.value)}${budget.maxDrop.relative ? " of itself" : ""}.`;
  return html`<h2>What was tried</h2>
<p class="soft">On the part of the data that chooses.${bound} The chosen one is set in bold.</p>
${dataTable(["candidate", qualityName(result.quality), "file", "download", "latency", ""], rows, [1, 2, 3, 4])}`;
}

function sensitivity({ sensitivity: layers, quality }: CompressResult): Html {
  if (layers.length === 0) return html``;
  const worst = layers.slice(0, 20);
  const loudest = Math.max(...worst.map((l) => noise(l.sqnr)));
  return html`<h2>Where quantization hurts</h2>
<p class="soft">The noise one layer alone brings to the output when it is quantized, the loudest first. The search leaves such layers in float when the ${qualityName(quality)} needs it.</p>
${dataTable(
  ["layer", "output SQNR", "noise"],
  worst.map((l) => ({
    cells: [
      html`<span class="mono">${l.node}</span>`,
      decibel(l.sqnr),
      html`<div style="width:16rem;max-width:40vw">${barOf(noise(l.sqnr) / loudest)}</div>`,
    ],
  })),
  [1],
)}`;
}

const noise = (sqnr: number): number => 10 ** (-sqnr / 20);

function sizes({ layers }: ReportParts): Html {
  const after = new Map(layers.after.map((l) => [l.name, l.bytes]));
  const heavy = [...layers.before]
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 15)
    .filter((l) => l.bytes > 0);
  if (heavy.length === 0) return html``;
  const most = heavy[0]?.bytes ?? 1;
  return html`<h2>Bytes by layer</h2>
<p class="soft">Weights of the heaviest layers, before and after.</p>
${dataTable(
  ["layer", "before", "after", ""],
  heavy.map((l) => {
    const small = after.get(l.name);
    return {
      cells: [
        html`<span class="mono">${l.name}</span>`,
        bytes(l.bytes),
        small === undefined ? "–" : bytes(small),
        html`<div style="width:14rem;max-width:36vw">${barOf(l.bytes / most, true)}<div style="height:2px"></div>${small !== undefined && barOf(small / most)}</div>`,
      ],
    };
  }),
  [1, 2],
)}`;
}

function answers({ changed, classes, result }: ReportParts): Html {
  const before = result.verdicts.before.judgement;
  const after = result.verdicts.after?.judgement;
  if (before === undefined || after === undefined) return html``;
  const total = before.predictions.filter((p, i) => p !== after.predictions[i]).length;
  const name = (c: number) => (c < 0 ? "?" : (classes?.[c] ?? `class ${c}`));
  const figure = ({ name: file, label, before: was, after: is, picture }: ChangedAnswer) => html`<figure>
${picture !== undefined && html`<img class="${picture.tiny ? "tiny" : ""}" src="${picture.address}" alt="${file}">`}
<figcaption>${name(was)} → <span class="${label < 0 ? "" : is === label ? "good" : was === label ? "bad" : ""}">${name(is)}</span>${label >= 0 && html`<br><span class="soft">is ${name(label)}</span>`}</figcaption></figure>`;
  return html`<h2>Answers that changed</h2>
<p class="soft">${total} of ${before.predictions.length} answers (${percent(total / Math.max(1, before.predictions.length))}) are different${changed.length < total && changed.length > 0 ? `; ${changed.length} of them:` : changed.length > 0 ? ":" : "."}</p>
<div class="pictures">${changed.map(figure)}</div>`;
}

function again({ result, command }: ReportParts): Html {
  return html`<h2>How it was made</h2>
<pre>${command}</pre>
${result.chosen !== undefined && html`<p class="soft">The recipe of the chosen model; give it to --recipe to make it again without a search.</p><pre>${JSON.stringify(result.chosen.recipe, null, 2)}</pre>`}
${result.changes.length > 0 && html`<details><summary>What was done to the graph</summary><pre>${result.changes.map(({ at, what, times }) => `${at}: ${what}${times === undefined ? "" : ` (${times} times)`}\n`)}</pre></details>`}`;
}
