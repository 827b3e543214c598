import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A row of an example's table, as it is written beside the models. */
export interface Row {
  readonly name: string;
  readonly file: string;
  readonly bytes: number;
  readonly brotliBytes: number;
  readonly parameters: number;
  readonly macs: number;
  readonly ms: number;
  readonly figures: Readonly<Record<string, number | string>>;
}

/** What a run of an example left. */
export interface Made {
  /** The path of a file it wrote. */
  at(name: string): string;
  readonly rows: readonly Row[];
  readonly printed: string;
  remove(): Promise<void>;
}

/** Runs `node examples/NAME/make.mjs --quick`, here in this process, where what it imports from the package is the source. */
export async function quickly(name: string): Promise<Made> {
  const out = await mkdtemp(join(tmpdir(), `minnow-${name}-`));
  const script = fileURLToPath(new URL(`../../examples/${name}/make.mjs`, import.meta.url));
  const [argv, log, printed] = [process.argv, console.log, [] as string[]];
  process.argv = [process.execPath, script, "--quick", "--out", out];
  console.log = (...words: unknown[]) => printed.push(words.join(" "));
  try {
    await import(script);
  } finally {
    [process.argv, console.log] = [argv, log];
  }
  const at = (file: string) => join(out, file);
  return {
    at,
    rows: JSON.parse(await readFile(at("table.json"), "utf8")),
    printed: printed.join("\n"),
    remove: () => rm(out, { recursive: true, force: true }),
  };
}
