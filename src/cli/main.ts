import { parseArgs } from "node:util";
import { MinnowError } from "../errors.ts";
import { bold, log, print, red } from "./console.ts";
import { commandHelp, overview } from "./help.ts";
import { COMMON } from "./options.ts";
import { parseable, type Verb } from "./verb.ts";
import { loadVerb, nearestTo, VERBS } from "./verbs.ts";

/** Runs one command line and gives the exit code: 0 done, 1 model, data or budget at fault, 2 the command line. */
export async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    const wanted = name === "help" ? rest[0] : undefined;
    print(wanted !== undefined && wanted in VERBS ? commandHelp(await loadVerb(wanted)) : await overview());
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-v") {
    print((await import("./version.ts")).VERSION);
    return 0;
  }
  if (!(name in VERBS)) {
    const near = nearestTo(name);
    log(`${red("✗")} There is no command "${name}".${near ? ` Did you mean ${bold(near)}?` : ""} See minnow --help.`);
    return 2;
  }
  return runVerb(await loadVerb(name), rest);
}

async function runVerb(verb: Verb, argv: readonly string[]): Promise<number> {
  const interrupt = new AbortController();
  const stop = () => {
    if (interrupt.signal.aborted) process.exit(130);
    log("Stopping; once more ends it at once.");
    interrupt.abort(new MinnowError("Interrupted; nothing was written.", { code: "cli/interrupted" }));
  };
  process.on("SIGINT", stop);
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: parseable({ ...verb.options, ...COMMON }),
      allowPositionals: true,
    });
    if (values.help === true) {
      print(commandHelp(verb));
      return 0;
    }
    return await verb.run({ paths: positionals, options: values, signal: interrupt.signal });
  } catch (error) {
    return explain(error, verb);
  } finally {
    process.off("SIGINT", stop);
  }
}

/** Says what went wrong in the user's words; only an error of our own making shows a stack. */
function explain(error: unknown, verb: Verb): number {
  if (error instanceof MinnowError) {
    log(`${red("✗")} ${error.at === undefined ? "" : `${bold(error.at)}: `}${error.what}`);
    if (error.mend !== undefined) log(`  ${error.mend}`);
    return error.code === "cli/usage" ? 2 : error.code === "cli/interrupted" ? 130 : 1;
  }
  const code = (error as { code?: unknown } | undefined)?.code;
  if (typeof code === "string" && code.startsWith("ERR_PARSE_ARGS")) {
    log(`${red("✗")} ${(error as Error).message.split(". To specify")[0]}`);
    log(`  See minnow ${verb.name} --help.`);
    return 2;
  }
  log(`${red("✗")} This is a fault in minnow, not in your model. Please report it with what follows.`);
  log(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return 1;
}
