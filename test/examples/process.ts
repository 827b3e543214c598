import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Against the build a script finds the package as users have it; else it is led to the source. */
const hooks = process.env["MINNOW_TEST"] === "dist" ? [] : ["--import", "./test/examples/source.mjs"];

/** Runs a script of the examples in a process of its own, as a user would: `run("spam-filter/use.mjs", ["--made", folder], mail)`. */
export async function run(script: string, args: readonly string[], input = "") {
  const child = spawn(process.execPath, [...hooks, `examples/${script}`, ...args], { cwd: root });
  child.stdin.end(input);
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const [code, out, err] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  return { code, out, err };
}

/** The rows of the table that a script printed, by their names: each cell by the head of its column. */
export function rowsIn(out: string): ReadonlyMap<string, Readonly<Record<string, string>>> {
  const cells = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const [head = "", , ...rows] = out.split("\n").filter((line) => line.startsWith("|"));
  const names = cells(head);
  return new Map(
    rows.map((row) => {
      const values = cells(row);
      return [values[0] ?? "", Object.fromEntries(names.map((name, i) => [name, values[i] ?? ""]))];
    }),
  );
}

/** A row of the table as an example writes it to table.json. */
export interface Row {
  readonly name: string;
  readonly file: string;
  readonly bytes: number;
  readonly figures: Readonly<Record<string, number | string>>;
}
