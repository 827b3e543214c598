import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";

/** Which label each class folder stands for. */
export interface ClassMatch {
  /** The label of folder i. */
  readonly map: readonly number[];
  readonly how: "by name" | "by number" | "alphabetically";
}

/**
 * Gives each class folder its label: that of the model's label of the same name ("tabby_cat" is "tabby, tabby cat" and
 * "n02123045 tabby"; case and punctuation do not count), else its number where all are numbers, else its place in the
 * alphabet. `offset` is added to the latter two: 1 where the model's class 0 is background.
 */
export function matchClasses(folders: readonly string[], labels: readonly string[] = [], offset = 0): ClassMatch {
  const byName = new Map<string, number>();
  for (const [label, name] of labels.entries())
    for (const called of namesOf(name)) if (!byName.has(called)) byName.set(called, label);
  const found = folders.map((folder) => byName.get(plain(folder)));
  const strangers = folders.filter((_, i) => found[i] === undefined);
  if (strangers.length === 0) return { map: found as number[], how: "by name" };
  if (strangers.length < folders.length)
    throw new MinnowError(
      `${strangers.length} of the ${folders.length} classes are not among the model's labels: ${strangers.slice(0, 5).join(", ")}${strangers.length > 5 ? ", …" : ""}.`,
      { code: "data/unknown-class", mend: "Rename or remove their folders, or give other labels (--labels FILE)." },
    );
  if (labels.length > 0 && folders.length + offset > labels.length)
    throw new MinnowError(`There are ${folders.length} classes, and the model has ${labels.length - offset} labels.`, {
      code: "data/too-many-classes",
      mend: "Give data with the model's classes, or other labels (--labels FILE).",
    });
  if (folders.every((folder) => /^\d{1,6}$/.test(folder))) {
    const numbers = folders.map(Number);
    const first = Math.min(...numbers);
    const gapless = new Set(numbers).size === numbers.length && Math.max(...numbers) - first + 1 === numbers.length;
    const start = gapless ? first : 0;
    return { map: numbers.map((n) => n - start + offset), how: "by number" };
  }
  const order = folders.toSorted();
  return { map: folders.map((folder) => order.indexOf(folder) + offset), how: "alphabetically" };
}

const plain = (name: string): string =>
  name
    .toLowerCase()
    .normalize("NFC")
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .trim();

/** What a line of a labels file is called: the line, each of its synonyms, and both without a WordNet number. */
function namesOf(line: string): string[] {
  const wordNet = /^(n\d{8})\W+(.*)$/.exec(line);
  const rest = wordNet?.[2] ?? line;
  return [line, wordNet?.[1] ?? line, rest, ...rest.split(",")].map(plain).filter((name) => name !== "");
}

/** Class names that the model carries in its metadata, a JSON list or lines under "labels" or "classes". */
export function classNamesIn(model: Model): string[] | undefined {
  const said = model.metadata?.get("labels") ?? model.metadata?.get("classes");
  if (said === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(said);
    return Array.isArray(parsed) ? parsed.map(String) : undefined;
  } catch {
    return said.split(/\r?\n/).filter((line) => line !== "");
  }
}
