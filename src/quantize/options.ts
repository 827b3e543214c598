import { MinnowError } from "../errors.ts";

/** Throws where an option is given and is none of the choices. */
export function oneOf(option: string, value: unknown, choices: readonly unknown[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw new MinnowError(`It is ${JSON.stringify(value)}; it can be ${choices.join(", ")}.`, {
    code: "quantize/option",
    at: option,
  });
}
