import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";

const source = (path) => new URL(`../../src/${path}`, import.meta.url).href;

export function resolve(specifier, context, next) {
  const [, part] = /^minnow(?:\/(\w+))?$/.exec(specifier) ?? [];
  if (specifier === "#platform") return { url: source("platform.node.ts"), shortCircuit: true };
  if (specifier === "minnow" || part)
    return { url: source(part ? `${part}/index.ts` : "index.ts"), shortCircuit: true };
  return next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith(".ts")) return next(url, context);
  const code = await readFile(fileURLToPath(url), "utf8");
  const { code: made } = await transform(code, { loader: "ts", format: "esm", target: "node20" });
  return { format: "module", source: made, shortCircuit: true };
}
