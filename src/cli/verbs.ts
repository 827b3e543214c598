import type { Verb } from "./verb.ts";

/** Every command, in the order of help, with what loads its file. */
export const VERBS: Readonly<Record<string, () => Promise<{ readonly verb: Verb }>>> = {
  inspect: () => import("./verbs/inspect.ts"),
  compress: () => import("./verbs/compress.ts"),
  quantize: () => import("./verbs/quantize.ts"),
  optimize: () => import("./verbs/optimize.ts"),
  evaluate: () => import("./verbs/evaluate.ts"),
  compare: () => import("./verbs/compare.ts"),
  bench: () => import("./verbs/bench.ts"),
};

export async function loadVerb(name: string): Promise<Verb> {
  const load = VERBS[name];
  if (load === undefined) throw new TypeError(`There is no verb ${name}.`);
  return (await load()).verb;
}

/** The command a mistyped one is closest to, if any is close. */
export function nearestTo(name: string): string | undefined {
  const scored = Object.keys(VERBS).map((verb) => ({ verb, distance: editDistance(name, verb) }));
  const best = scored.sort((a, b) => a.distance - b.distance)[0];
  return best !== undefined && best.distance <= 3 ? best.verb : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length] ?? 0;
}
