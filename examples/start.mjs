import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const OPTIONS = {
  quick: { type: "boolean", default: false },
  resume: { type: "boolean", default: false },
  seed: { type: "string", default: "0" },
  out: { type: "string" },
};

/**
 * Runs `make({ data, quick, seed, out, kept })` of an example where `node examples/NAME/make.mjs DATA [--quick] [--seed N] [--out FOLDER]
 * [--resume]` was called: `data` is a path, undefined in a quick run without one, and `out` a folder that exists, `made` beside the script
 * by default. `kept(net)` are the options by which a training keeps its state after each epoch, and with --resume goes on from there.
 * `where` says in words what DATA is and where to get it; undefined for an example that needs none. `more` are further options of its
 * own, in `parseArgs`' words; `make` is given what they are set to.
 */
export async function start(script, where, make, more = {}) {
  const path = fileURLToPath(script);
  if (process.argv[1] !== path) return;
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { ...OPTIONS, ...more } });
  const { quick, resume, out = fileURLToPath(new URL("made", script)) } = values;
  const [data] = positionals;
  if (where !== undefined && (data === undefined ? !quick : !existsSync(data))) {
    const own = relative(process.cwd(), path);
    console.error(data === undefined ? "Which data?" : `There is no ${data}.`);
    console.error(`\n  node ${own} DATA\n  node ${own} --quick     a tiny run on stand-in data\n\nDATA is ${where}`);
    process.exit(2);
  }
  await mkdir(out, { recursive: true });
  const kept = (net) => {
    const checkpoint = join(out, `${net}.checkpoint`);
    return { checkpoint, ...(resume && existsSync(checkpoint) && { resume: checkpoint }) };
  };
  await make({ ...values, data, seed: Number(values.seed), out, kept });
}
