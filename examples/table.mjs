import { basename } from "node:path";
import { benchmark, costOf, load, randomFeeds, sizeOf, upgrade } from "minnow";

/**
 * What models cost, measured: for each row `{ name, file, figures }` its bytes, bytes after brotli, parameters, multiply-adds of one
 * example and milliseconds of one run (the median, one thread). Models with the same inputs are timed in turns. `figures` say how good
 * it is: numbers are shares from 0 to 1, text is shown as it is. `feeds` are inputs to time with; default random ones. Without
 * `brotli`, which takes seconds a megabyte, that is left out.
 */
export async function measured(rows, { feeds, seconds = 1, brotli = true } = {}) {
  const models = await Promise.all(rows.map(({ file }) => load(file)));
  const given = models.map((model) => feeds ?? randomFeeds(model));
  const shapes = given.map((one) => JSON.stringify(Object.entries(one).map(([name, { shape }]) => [name, shape])));
  const times = new Map();
  for (const alike of new Set(shapes)) {
    const places = shapes.flatMap((shape, i) => (shape === alike ? [i] : []));
    const taken = await benchmark(
      places.map((i) => models[i]),
      given[places[0]],
      { seconds },
    );
    for (const [k, i] of places.entries()) times.set(i, taken[k].medianMs);
  }
  return Promise.all(
    rows.map(async ({ name, file, figures }, i) => {
      const { bytes, brotliBytes } = await sizeOf(models[i], { brotli });
      const { model } = await upgrade().run(models[i]);
      const { parameters, macs } = costOf(model, sizesIn(model, given[i]));
      return { name, file: basename(file), bytes, brotliBytes, parameters, macs, ms: times.get(i), figures };
    }),
  );
}

/** What the sizes that a model leaves open are in these feeds. */
const sizesIn = ({ graph }, feeds) =>
  Object.fromEntries(
    graph.inputs.flatMap(({ name, type }) =>
      type.shape.flatMap((dim, axis) => (typeof dim === "string" ? [[dim, feeds[name].shape[axis]]] : [])),
    ),
  );

const grouped = (n) => String(n ?? "–").replace(/\B(?=(\d{3})+$)/g, " ");
const shown = (figure) => (typeof figure === "number" ? `${(100 * figure).toFixed(2)} %` : String(figure ?? ""));

/** Measured rows as an aligned table in Markdown. */
export function table(rows) {
  const figures = [...new Set(rows.flatMap((row) => Object.keys(row.figures)))];
  const head = ["", "bytes", "brotli", "parameters", "multiply-adds", "ms", ...figures];
  const lines = rows.map((row) => [
    row.name,
    ...[row.bytes, row.brotliBytes, row.parameters, row.macs].map(grouped),
    row.ms.toFixed(row.ms < 1 ? 3 : 2),
    ...figures.map((name) => shown(row.figures[name])),
  ]);
  const widths = head.map((name, c) => Math.max(3, name.length, ...lines.map((line) => line[c].length)));
  const written = (line) =>
    `| ${line.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c]))).join(" | ")} |`;
  const rule = `|${widths.map((width, c) => (c === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [written(head), rule, ...lines.map(written)].join("\n");
}
