import type { Block, Inspection, Port } from "../measure/inspection.ts";
import { bar, bytes, clip, count, table } from "./words.ts";

/** Styles a terminal may add; the words are the same without. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
}

/** An inspection for a terminal of 80 columns. */
export function inspectionText(it: Inspection, path: string, { bold, dim }: Style): string[] {
  const download = it.brotliBytes === undefined ? "" : ` · ~${bytes(it.brotliBytes)} to download`;
  return [
    `${bold(path)}  ${bytes(it.bytes)}${download}`,
    "",
    ...table([
      ...it.inputs.map((p, i) => [i === 0 ? "inputs" : "", port(p)]),
      ...it.outputs.map((p, i) => [i === 0 ? "outputs" : "", port(p)]),
      [
        "operators",
        `${it.nodes} nodes · ${Object.entries(it.opsets)
          .map(([d, v]) => `${d} ${v}`)
          .join(", ")}`,
      ],
      ["parameters", count(it.parameters)],
      ["MACs", `${count(it.macs)}${sizesOf(it)}`],
      [
        "weights",
        Object.entries(it.dtypes)
          .map(([dtype, size]) => `${dtype} ${bytes(size)}`)
          .join(" · ") || "none",
      ],
      ["activations", `${bytes(it.peakActivationBytes)} at the peak`],
    ]),
    ...unknown(it),
    "",
    ...blockLines(it, dim),
    "",
    ...layerLines(it, dim),
    ...suggestionLines(it, path, bold),
  ];
}

const port = ({ name, dtype, shape }: Port): string =>
  `${clip(name, 30)}  ${dtype ?? "?"}${shape === undefined ? "" : ` [${shape.map((dim) => clip(String(dim), 14)).join(", ")}]`}`;

function sizesOf({ sizes }: Inspection): string {
  const said = Object.entries(sizes).map(([name, size]) => `${clip(name, 12)} = ${size}`);
  return said.length === 0 ? "" : ` (${said.slice(0, 3).join(", ")})`;
}

const unknown = ({ unknownOps }: Inspection): string[] =>
  unknownOps.length === 0
    ? []
    : [`  not counted  ${unknownOps.slice(0, 6).join(", ")}: Minnow has no rule for them yet`];

function blockLines(it: Inspection, dim: Style["dim"]): string[] {
  if (it.blocks.length < 2) return [];
  const rows = it.blocks.map((b: Block) => cells(clip(b.name, 24), b.bytes, b.macs, it));
  return [dim(heading("blocks")), ...rows.map(line)];
}

function layerLines(it: Inspection, dim: Style["dim"]): string[] {
  const heavy = [...it.layers].sort((a, b) => weight(b, it) - weight(a, it)).slice(0, 6);
  return [
    dim(heading("heaviest layers")),
    ...heavy.map((l) => line(cells(clip(`${l.op} ${l.name}`, 24), l.bytes, l.macs, it))),
  ];
}

const weight = (l: { bytes: number; macs: number }, it: Inspection): number =>
  l.bytes / Math.max(1, it.bytes) + l.macs / Math.max(1, it.macs);

const heading = (what: string): string =>
  `  ${what.padEnd(24)}  ${"bytes".padStart(8)}${" ".repeat(15)}${"MACs".padStart(8)}`;

const cells = (name: string, size: number, macs: number, it: Inspection) => ({
  name,
  size: bytes(size),
  sizeBar: bar(size / Math.max(1, it.bytes), 12),
  macs: macs === 0 ? "" : count(macs),
  macBar: bar(macs / Math.max(1, it.macs), 12),
});

const line = (c: ReturnType<typeof cells>): string =>
  `  ${c.name.padEnd(24)}  ${c.size.padStart(8)} ${c.sizeBar.padEnd(12)}  ${c.macs.padStart(8)} ${c.macBar}`.trimEnd();

function suggestionLines({ suggestions }: Inspection, path: string, bold: Style["bold"]): string[] {
  if (suggestions.length === 0) return [];
  return [
    "",
    bold("Worth trying"),
    ...suggestions.flatMap(({ why, command }) => [`  ${why}`, `    minnow ${command.replace("MODEL", path)}`]),
  ];
}
