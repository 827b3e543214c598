/** Checks that imports in src only run downwards, that Node's modules stay where they may, and that no import goes astray. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const src = fileURLToPath(new URL("../src/", import.meta.url));

/** From the bottom up; what shares a line never imports its neighbours. */
const ORDER = [
  ["errors"],
  ["numeric", "files", "platform"],
  ["ir"],
  ["onnx", "ops"],
  ["runtime"],
  ["passes"],
  ["data"],
  ["measure"],
  ["train"],
  ["quantize", "prune"],
  ["distill", "architectures"],
  ["compress"],
  ["report"],
  ["index", "testing"],
  ["cli"],
];

const level = new Map(ORDER.flatMap((layers, i) => layers.map((layer) => [layer, i])));
const layerOf = (path) => path.split("/")[0].replace(/(\.node)?\.ts$/, "");
const faults = [];

for (const entry of readdirSync(src, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !entry.name.endsWith(".ts") || /\.(test|samples)\.ts$/.test(entry.name)) continue;
  const file = join(entry.parentPath, entry.name);
  const own = relative(src, file);
  const text = readFileSync(file, "utf8");
  for (const [, target] of text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) check(own, file, target, text);
}

function check(own, file, target, text) {
  const layer = layerOf(own);
  if (target.startsWith("node:")) {
    if (!/\.node\.ts$/.test(own) && layer !== "cli")
      faults.push(`${own} imports ${target}; only *.node.ts and cli/ may`);
    return;
  }
  const path =
    target === "#platform"
      ? "platform.ts"
      : target.startsWith(".")
        ? relative(src, resolve(dirname(file), target))
        : undefined;
  if (path === undefined) return;
  if (/\.node\.ts$/.test(path) && !/\.node\.ts$/.test(own) && layer !== "cli")
    faults.push(`${own} imports ${path}, which a page cannot load`);
  const typeOnly = new RegExp(`import type [^;]*"${target.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}"`).test(text);
  const [from, to] = [level.get(layer), level.get(layerOf(path))];
  if (from === undefined || to === undefined)
    faults.push(`${own}: ${from === undefined ? layer : layerOf(path)} stands in no layer`);
  else if (
    layer !== layerOf(path) &&
    to >= from &&
    !(layer === "platform" && layerOf(path) === "files") &&
    !(layer === "files" && layerOf(path) === "platform" && !typeOnly)
  )
    faults.push(`${own} imports ${path}: ${layerOf(path)} stands ${to === from ? "beside" : "above"} ${layer}`);
}

for (const fault of faults) console.error(fault);
console.log(faults.length === 0 ? "Imports run downwards." : `${faults.length} imports that must not be.`);
process.exit(faults.length === 0 ? 0 : 1);
