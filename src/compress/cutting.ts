import { z } from "zod";
import type { Dataset } from "../data/dataset.ts";
import type { Pass } from "../passes/index.ts";
import { dropBlocks, KINDS, lowRank, structuredPruning } from "../prune/index.ts";

const share = z.custom<`${number}%`>(
  (value) => typeof value === "string" && /^\d+(\.\d+)?%$/.test(value),
  "a share such as 50%",
);
const target = z.union([z.number().positive(), share]).exactOptional();
const names = z.array(z.string()).readonly().exactOptional();

const pruneStep = z.strictObject({
  name: z.literal("structuredPruning"),
  macs: target,
  parameters: target,
  size: target,
  pruningRatio: z.number().exactOptional(),
  score: z.enum(["l1", "l2", "bn", "fpgm", "activation"]).exactOptional(),
  only: z.array(z.enum(KINDS)).readonly().exactOptional(),
  globalPruning: z.boolean().exactOptional(),
  perCost: z.boolean().exactOptional(),
  roundTo: z.number().exactOptional(),
  maxPruningRatio: z.number().exactOptional(),
  layers: names,
  ignoredLayers: names,
});

const dropStep = z.strictObject({
  name: z.literal("dropBlocks"),
  count: z.union([z.number(), share]).exactOptional(),
  keep: z.number().exactOptional(),
  every: z.number().exactOptional(),
  blocks: names,
  importance: z.enum(["output", "influence"]).exactOptional(),
});

const rankStep = z.strictObject({
  name: z.literal("lowRank"),
  macs: target,
  ratio: z.number().exactOptional(),
  energy: z.number().exactOptional(),
  kernels: z.enum(["outputs", "spatial"]).exactOptional(),
  roundTo: z.number().exactOptional(),
  layers: names,
  ignoredLayers: names,
});

/** Steps of a recipe that make a model of fewer multiply-adds; they come before those that quantize. */
export const CUTTING_STEPS = [pruneStep, dropStep, rankStep] as const;

/** One of {@link CUTTING_STEPS}, read. */
export type CuttingStep = z.infer<(typeof CUTTING_STEPS)[number]>;

export const isCutting = (step: { readonly name: string }): step is CuttingStep =>
  step.name === "structuredPruning" || step.name === "dropBlocks" || step.name === "lowRank";

/** The pass of a step. With data, what is left is fitted to what it gave before; labels are not looked at. */
export function cuttingPass(
  step: CuttingStep,
  options: {
    readonly data?: Dataset;
    readonly signal?: AbortSignal;
    readonly onProgress?: (done: number, total: number) => void;
  },
): Pass {
  switch (step.name) {
    case "structuredPruning":
      return structuredPruning({ ...without(step), ...options });
    case "dropBlocks":
      return dropBlocks({ ...without(step), ...options });
    case "lowRank":
      return lowRank({ ...without(step), ...options });
  }
}

const without = <T extends { name: string }>({ name: _, ...rest }: T): Omit<T, "name"> => rest;
