import type { Comparison, LayerDifference } from "../measure/compare.ts";
import type { Distribution } from "../measure/distributions.ts";
import { diagnose } from "./diagnose.ts";
import { barOf, dataTable, type Html, html, page } from "./page.ts";
import { decibel, percent, plural } from "./words.ts";

/** What a report of a comparison is made from. */
export interface CompareReportParts {
  readonly reference: string;
  readonly candidate: string;
  readonly comparison: Comparison;
  /** The layers where error is born, the worst first. */
  readonly born: readonly LayerDifference[];
  readonly distributions: readonly Distribution[];
  readonly lines: readonly (readonly [string, string])[];
  /** What to try, as words and a command. */
  readonly suggestions: readonly { readonly why: string; readonly command: string }[];
  readonly command: string;
  readonly machine: string;
  readonly date: string;
}

/** One self-contained page: how far apart, where the error is born and of what kind, ranges and histograms, what to try. */
export function compareReport(parts: CompareReportParts): string {
  const { comparison, reference, candidate, lines } = parts;
  const worst = Math.min(...comparison.outputs.map(({ sqnr }) => sqnr));
  const same = Number.isFinite(comparison.agreement) ? `, the same answer on ${percent(comparison.agreement, 2)}` : "";
  return page(
    `${baseName(reference)} and ${baseName(candidate)}`,
    html`<p class="eyebrow">${baseName(reference)} → ${baseName(candidate)}</p>
<h1>${decibel(worst)}${same}</h1>
<p class="soft">Signal to noise of the output that is furthest off, on ${plural(comparison.samples, "example")}.</p>
${dataTable(
  ["output", "SQNR", "cosine", "largest difference", "mean error"],
  comparison.outputs.map((o) => ({
    cells: [o.name, decibel(o.sqnr), o.cosine.toFixed(6), figure(o.maxAbs), figure(o.meanError)],
  })),
  [1, 2, 3, 4],
)}
${birthplaces(parts)}
${histograms(parts)}
${suggestions(parts)}
<h2>How it was made</h2>
${
  lines.length > 0 &&
  dataTable(
    ["", ""],
    lines.map(([label, words]) => ({ cells: [label, words] })),
  )
}
<pre>${parts.command}</pre>
<footer>${parts.machine} · ${parts.date} · made by minnow</footer>`,
  );
}

const baseName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path;
const figure = (value: number): string => value.toPrecision(3);

function birthplaces({ born, distributions }: CompareReportParts): Html {
  if (born.length === 0) return html`<p>No error is born in a layer that both models have.</p>`;
  const ranges = new Map(distributions.map((d) => [d.name, d.candidateRange]));
  const most = Math.max(...born.map((layer) => layer.born));
  return html`<h2>Where the error is born</h2>
<p class="soft">Layers that lose more than they were given to lose, by the names of the first model.</p>
${dataTable(
  ["layer", "SQNR in", "out", "dB lost", "range", "range after", "kind", ""],
  born.map((layer) => ({
    cells: [
      html`${layer.op} <span class="mono">${layer.node}</span>`,
      ...[decibel(layer.sqnrIn), decibel(layer.sqnr), layer.born.toFixed(1)],
      ...[rangeWords(layer.range), rangeWords(ranges.get(layer.name)), diagnose(layer).kind],
      html`<div style="width:6rem">${barOf(layer.born / most)}</div>`,
    ],
  })),
  [1, 2, 3, 4, 5],
)}`;
}

const rangeWords = (range: readonly [number, number] | undefined): string =>
  range === undefined ? "–" : `${figure(range[0])} … ${figure(range[1])}`;

function histograms({ distributions }: CompareReportParts): Html {
  if (distributions.length === 0) return html``;
  return html`<h2>Histograms</h2>
<p class="soft">How often each number occurs in the first model (grey) and in the second (blue), the height by the logarithm.</p>
${distributions.map(histogram)}`;
}

const [WIDTH, HEIGHT] = [640, 120];

function histogram({ name, range, reference, candidate }: Distribution): Html {
  const most = Math.log1p(Math.max(...reference, ...candidate));
  const width = WIDTH / reference.length;
  const bars = (counts: Float64Array, offset: number) =>
    [...counts]
      .map((count, i) => {
        const height = most === 0 ? 0 : (HEIGHT * Math.log1p(count)) / most;
        return `M${(i * width + offset).toFixed(1)} ${HEIGHT}v${(-height).toFixed(1)}h${(width / 2).toFixed(1)}V${HEIGHT}z`;
      })
      .join("");
  return html`<figure class="curve"><figcaption><span class="mono">${name}</span></figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT + 18}" role="img" aria-label="${name}" font-size="11" fill="var(--soft)">
<path d="${bars(reference, 0)}" fill="var(--bar2)"/><path d="${bars(candidate, width / 2)}" fill="var(--bar)"/>
<text x="0" y="${HEIGHT + 14}">${figure(range[0])}</text><text x="${WIDTH}" y="${HEIGHT + 14}" text-anchor="end">${figure(range[1])}</text>
</svg></figure>`;
}

function suggestions({ suggestions: tries }: CompareReportParts): Html {
  if (tries.length === 0) return html``;
  return html`<h2>What to try</h2>${tries.map(({ why, command }) => html`<p>${why}:</p><pre>${command}</pre>`)}`;
}
