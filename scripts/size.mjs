/** Checks what a page downloads when it imports one function: brotli bytes of the bundle, ONNX Runtime apart. */

import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../", import.meta.url));

const BUDGETS = [
  ["load and inspect", 'export { load, inspect } from "./dist/index.js"', 25_000],
  ["quantizeStatic", 'export { load, quantizeStatic, toBytes } from "./dist/index.js"', 80_000],
];

let over = false;
for (const [name, contents, budget] of BUDGETS) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root, loader: "js" },
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "browser",
    conditions: ["browser"],
    external: ["onnxruntime-web"],
    logLevel: "error",
  });
  const size = brotliCompressSync(outputFiles[0].contents).byteLength;
  over ||= size > budget;
  console.log(`${size > budget ? "OVER" : "ok"}  ${name}: ${size} of ${budget} bytes`);
}
process.exit(over ? 1 : 0);
