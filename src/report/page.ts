/** A piece of HTML that is safe to put into a page. */
export interface Html {
  readonly html: string;
}

type Part = Html | string | number | undefined | false | readonly Part[];

/** HTML from a template: strings that are put in are escaped, {@link Html} goes in as it is, lists are joined. */
export const html = (strings: TemplateStringsArray, ...parts: readonly Part[]): Html => ({
  html: strings.reduce((out, text, i) => out + (i > 0 ? render(parts[i - 1]) : "") + text, ""),
});

function render(part: Part): string {
  if (part === undefined || part === false) return "";
  if (Array.isArray(part)) return (part as readonly Part[]).map(render).join("");
  if (typeof part === "object") return (part as Html).html;
  return String(part).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const STYLE = `
:root{--paper:#fff;--ink:#1b2733;--soft:#5c6b7a;--line:#dfe5ea;--tint:#f4f7f9;--bar:#2b7de0;--bar2:#a9b7c4;--good:#157f4b;--bad:#c0362c;--warn:#a86400}
@media(prefers-color-scheme:dark){:root{--paper:#12181f;--ink:#e6edf3;--soft:#93a1af;--line:#2a3540;--tint:#1a222b;--bar:#5aa2f5;--bar2:#4a5866;--good:#4cc38a;--bad:#f2756b;--warn:#e3a33c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2.5rem 1.5rem 4rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:.2rem 0 .4rem;letter-spacing:-.01em}
h2{font-size:1.15rem;margin:2.6rem 0 .6rem}
p{margin:.4rem 0}.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
.eyebrow{color:var(--soft);font-size:.9rem;margin:0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem;margin:1.4rem 0}
.card{background:var(--tint);border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem}
.card b{display:block;font-size:1.5rem;line-height:1.25;letter-spacing:-.01em}.card span{color:var(--soft);font-size:.86rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--soft);font-size:.86rem}
th,td{padding:.38rem .7rem .38rem 0;border-bottom:1px solid var(--line);vertical-align:middle}
.n{text-align:right;white-space:nowrap}tr.chosen td{font-weight:600}
.scroll{overflow-x:auto}
.bar{height:.7rem;border-radius:.2rem;background:var(--bar);min-width:1px}.bar.two{background:var(--bar2)}
.mono,pre{font:0.86rem/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre{background:var(--tint);border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem;overflow-x:auto;margin:.6rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.2rem,1fr));gap:.8rem}
figure{margin:0;background:var(--tint);border:1px solid var(--line);border-radius:.6rem;overflow:hidden}
figure img{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:var(--line);image-rendering:auto}
figure img.tiny{image-rendering:pixelated}
figure.curve{margin:.8rem 0;max-width:44rem}figure.curve svg{display:block;width:100%}
figcaption{padding:.5rem .6rem;font-size:.82rem;line-height:1.35;overflow-wrap:anywhere}
footer{margin-top:3rem;color:var(--soft);font-size:.86rem}
details summary{cursor:pointer;color:var(--soft)}
`;

/** A whole page that needs nothing from the network. */
export const page = (title: string, body: Html): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${{ html: STYLE }}</style>
</head>
<body>
${body}
</body>
</html>
`.html;

/** A table; cells in the columns `right` are numbers. */
export const dataTable = (
  head: readonly string[],
  rows: readonly { readonly cells: readonly Part[]; readonly chosen?: boolean }[],
  right: readonly number[] = [],
): Html => html`<div class="scroll"><table><thead><tr>${head.map((cell, i) => html`<th class="${right.includes(i) ? "n" : ""}">${cell}</th>`)}</tr></thead>
<tbody>${rows.map(({ cells, chosen }) => html`<tr class="${chosen ? "chosen" : ""}">${cells.map((cell, i) => html`<td class="${right.includes(i) ? "n" : ""}">${cell}</td>`)}</tr>\n`)}</tbody></table></div>`;

/** A bar of a share from 0 to 1; `second` in the quiet colour. */
export const barOf = (share: number, second = false): Html =>
  html`<div class="bar${second ? " two" : ""}" style="width:${(100 * Math.min(1, Math.max(0, share))).toFixed(2)}%"></div>`;
