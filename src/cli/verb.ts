import type { ParseArgsConfig } from "node:util";

/** One option of a verb: how it is written, and the sentence help shows. */
export interface OptionSpec {
  readonly type: "string" | "boolean";
  readonly short?: string;
  /** What stands for its value in help: `PATH`. */
  readonly value?: string;
  readonly multiple?: boolean;
  readonly help: string;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

/** What was given: positional arguments, and options by name. */
export interface Given {
  readonly paths: readonly string[];
  readonly options: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
  /** Aborted by the first interrupt; a second one ends the process. */
  readonly signal: AbortSignal;
}

/** A command: `minnow <name> …`. Its file is loaded only when it is called. */
export interface Verb {
  readonly name: string;
  /** What stands behind the name: `MODEL [options]`. */
  readonly usage: string;
  /** One sentence, from the user's side. */
  readonly summary: string;
  /** A few lines more for `--help`. */
  readonly detail?: string;
  readonly options: OptionSpecs;
  /** Lines to paste, each with what it does. */
  readonly examples: readonly (readonly [command: string, meaning: string])[];
  /** Resolves to the exit code: 0 done, 1 the model, the data or a budget is at fault. */
  run(given: Given): Promise<number>;
}

/** The options of a verb as `node:util` wants them. */
export const parseable = (specs: OptionSpecs): NonNullable<ParseArgsConfig["options"]> =>
  Object.fromEntries(
    Object.entries(specs).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short && { short }), ...(multiple && { multiple }) },
    ]),
  );
