import { appendFileSync } from "node:fs";
import { appendFile, readFile, rm } from "node:fs/promises";
import type { TrialLog } from "./trials.ts";

/**
 * A log in a file of one JSON object a line; `close` removes it once the work it guards is done. What is under way when
 * `signal` aborts was stopped by its user, and killed nothing.
 */
export async function fileLog(path: string, signal?: AbortSignal): Promise<TrialLog & { close(): Promise<void> }> {
  const open = new Set<string>();
  const before = await readFile(path, "utf8").catch(() => "");
  for (const line of before.split("\n")) {
    const entry = parse(line);
    if (entry?.started !== undefined) open.add(JSON.stringify(entry.started));
    if (entry?.ended !== undefined) open.delete(JSON.stringify(entry.ended));
    if (entry?.stopped === true) open.clear();
  }
  signal?.addEventListener("abort", () => appendFileSync(path, `${JSON.stringify({ stopped: true })}\n`), {
    once: true,
  });
  const write = (entry: unknown) => appendFile(path, `${JSON.stringify(entry)}\n`, { flush: true } as object);
  return {
    killed: (recipe) => open.has(JSON.stringify(recipe)),
    started: (recipe) => write({ started: recipe }),
    ended: (recipe, trial) => write({ ended: recipe, trial }),
    close: () => rm(path, { force: true }),
  };
}

function parse(line: string): { started?: unknown; ended?: unknown; stopped?: unknown } | undefined {
  try {
    return JSON.parse(line) as { started?: unknown; ended?: unknown; stopped?: unknown };
  } catch {
    return undefined;
  }
}
