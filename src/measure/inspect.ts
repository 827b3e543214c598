import type { Model } from "../ir/graph.ts";
import type { Inspection } from "./inspection.ts";

/**
 * Looks into a model without running it, reading no more of its weights than a sample. `bytes` is the size of its files.
 * The operator rules are loaded when it is first called, so that a page that imports it starts without them.
 *
 * @example
 * const { parameters, macs, layers } = await inspect(await load(file), file.size);
 */
export async function inspect(model: Model, bytes: number): Promise<Inspection> {
  const { inspectWithRules } = await import("./inspection.ts");
  return inspectWithRules(model, bytes);
}
