import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import { type LayerCosts, type LayerCostsOptions, layerCosts } from "./layer-costs.ts";
import type { LayerSensitivity } from "./types.ts";

/** Options of {@link sensitivity}. */
export type SensitivityOptions = Omit<LayerCostsOptions, "formats" | "noise">;

/**
 * How much each layer costs: quantizes one contraction at a time, runs the model on `data` (a few dozen examples are
 * enough) and compares its outputs with the float model's. The layer that hurts most stands first; leave those of the
 * beginning in float with `nodesToExclude`. Takes one session and one run over the data for each layer.
 *
 * @example
 * const [worst] = await sensitivity(model, photos.take(32));
 * await quantizeStatic({ data, nodesToExclude: [worst.node] }).run(model);
 */
export async function sensitivity(
  model: Model,
  data: Dataset,
  options: SensitivityOptions = {},
): Promise<LayerSensitivity[]> {
  return sensitivityIn(await layerCosts(model, data, { ...options, formats: ["int8"] }));
}

/** The same from costs that were measured already, by `sqnr`, int8 among the formats. */
export const sensitivityIn = (costs: readonly LayerCosts[]): LayerSensitivity[] =>
  costs
    .flatMap(({ nodes, choices }) => {
      const noise = choices.find(({ format }) => format === "int8")?.noise;
      return noise === undefined ? [] : nodes.map((node) => ({ node, sqnr: -10 * Math.log10(noise) }));
    })
    .sort((a, b) => a.sqnr - b.sqnr);
