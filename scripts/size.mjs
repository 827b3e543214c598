/**
 * Checks what a page downloads when it imports one function: brotli bytes of the bundle, ONNX Runtime apart. What a function
 * loads only when it is called is told beside it.
 */

import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../", import.meta.url));

const BUDGETS = [
  [
    "load and inspect",
    'export { load } from "./dist/onnx/index.js"; export { inspect } from "./dist/measure/inspect.js"',
    25_000,
  ],
  ["quantizeStatic", 'export { load, quantizeStatic, toBytes } from "./dist/index.js"', 80_000],
];

let over = false;
for (const [name, contents, budget] of BUDGETS) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root, loader: "js" },
    bundle: true,
    splitting: true,
    outdir: "size",
    minify: true,
    write: false,
    format: "esm",
    platform: "browser",
    conditions: ["browser"],
    external: ["onnxruntime-web"],
    logLevel: "error",
  });
  const sizes = new Map(outputFiles.map(({ path, contents }) => [path, brotliCompressSync(contents).byteLength]));
  const entry = outputFiles.find(({ path }) => path.endsWith("stdin.js"));
  const atOnce = startsWith(entry, outputFiles);
  const size = [...atOnce].reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0);
  const later = [...sizes.values()].reduce((a, b) => a + b, 0) - size;
  over ||= size > budget;
  console.log(
    `${size > budget ? "OVER" : "ok"}  ${name}: ${size} of ${budget} bytes${later > 0 ? `, and ${later} when it is called` : ""}`,
  );
}
process.exit(over ? 1 : 0);

/** The files that an entry imports statically, itself among them. */
function startsWith(entry, files, seen = new Set()) {
  if (entry === undefined || seen.has(entry.path)) return seen;
  seen.add(entry.path);
  for (const [, name] of entry.text.matchAll(/(?:import|from)\s*"\.\/([^"]+)"/g))
    startsWith(
      files.find(({ path }) => path.endsWith(`/${name}`)),
      files,
      seen,
    );
  return seen;
}
