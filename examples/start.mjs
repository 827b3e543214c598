import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/**
 * Runs `make({ data, quick, seed, out })` of an example where `node examples/NAME/make.mjs DATA [--quick] [--seed N] [--out FOLDER]` was
 * called: `data` is a path, undefined in a quick run without one, and `out` a folder that exists, `made` beside the script by default.
 * `where` says in words what DATA is and where to get it.
 */
export async function start(script, where, make) {
  const path = fileURLToPath(script);
  if (process.argv[1] !== path) return;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: "boolean" }, seed: { type: "string", default: "0" }, out: { type: "string" } },
  });
  const { quick = false, out = fileURLToPath(new URL("made", script)) } = values;
  const [data] = positionals;
  if (data === undefined ? !quick : !existsSync(data)) {
    const own = relative(process.cwd(), path);
    console.error(data === undefined ? "Which data?" : `There is no ${data}.`);
    console.error(`\n  node ${own} DATA\n  node ${own} --quick     a tiny run on stand-in data\n\nDATA is ${where}`);
    process.exit(2);
  }
  await mkdir(out, { recursive: true });
  await make({ data, quick, seed: Number(values.seed), out });
}
