import { type Html, html } from "./page.ts";

/** Numbers at 1, 2, 3 … */
export interface Series {
  readonly name: string;
  readonly values: readonly (number | undefined)[];
  /** In the other colour. */
  readonly second?: boolean;
}

export interface CurveOptions {
  readonly title: string;
  /** How a value is written at the axis. */
  readonly format: (value: number) => string;
  /** What is counted along the bottom. */
  readonly along: string;
}

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [640, 220, 58, 26, 10, 12];
const colourOf = ({ second }: Series): string => (second ? "var(--warn)" : "var(--bar)");

/** A drawing of one or two series as lines, with its axes; what is missing or not finite leaves a gap. */
export function curve(series: readonly Series[], { title, format, along }: CurveOptions): Html {
  const known = series.flatMap(({ values }) => values.filter((v): v is number => Number.isFinite(v)));
  const count = Math.max(0, ...series.map(({ values }) => values.length));
  if (known.length === 0 || count === 0) return html``;
  const ticks = ticksOf(Math.min(...known), Math.max(...known));
  const [low, high] = [ticks[0] as number, ticks.at(-1) as number];
  const x = (i: number) => LEFT + (count === 1 ? 0.5 : i / (count - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (v: number) => TOP + (1 - (v - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const at = (n: number) => n.toFixed(1);
  const path = (values: Series["values"]) =>
    values
      .map((v, i) =>
        v === undefined || !Number.isFinite(v)
          ? ""
          : `${i > 0 && Number.isFinite(values[i - 1]) ? "L" : "M"}${at(x(i))} ${at(y(v))}`,
      )
      .join("");
  return html`<figure class="curve"><figcaption>${title}: ${series.map((s) => html`<span style="color:${colourOf(s)}">● ${s.name}</span> `)}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}" font-size="11" fill="var(--soft)">
${ticks.map((v) => html`<path d="M${LEFT} ${at(y(v))}H${WIDTH - RIGHT}" stroke="var(--line)"/><text x="${LEFT - 6}" y="${at(y(v) + 4)}" text-anchor="end">${format(v)}</text>`)}
<text x="${LEFT}" y="${HEIGHT - 8}">${along} 1</text><text x="${WIDTH - RIGHT}" y="${HEIGHT - 8}" text-anchor="end">${count}</text>
${series.map((s) => html`<path d="${path(s.values)}" fill="none" stroke="${colourOf(s)}" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"/>${count === 1 && Number.isFinite(s.values[0]) && html`<circle cx="${at(x(0))}" cy="${at(y(s.values[0] as number))}" r="3" fill="${colourOf(s)}"/>`}`)}
</svg></figure>`;
}

/** Three to six round numbers that span a range. */
export function ticksOf(low: number, high: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((m) => m * power >= rough) as number);
  const [first, last] = [
    Math.floor(low / step + 1e-9),
    Math.max(Math.ceil(high / step - 1e-9), Math.floor(low / step + 1e-9) + 1),
  ];
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}
