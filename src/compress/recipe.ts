import { z } from "zod";
import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { type Change, optimize, type Pass, sequence } from "../passes/index.ts";
import {
  calibrate,
  type LayerFormat,
  quantizeDynamic,
  quantizeMixed,
  quantizeStatic,
  quantizeWeights,
  type Statistics,
  storeWeights,
} from "../quantize/index.ts";
import { LAYER_FORMATS } from "../quantize/mixed.ts";
import { CUTTING_STEPS, type CuttingStep, cuttingPass, isCutting } from "./cutting.ts";

const optimizeStep = z.strictObject({ name: z.literal("optimize") });

const method = z.enum(["minmax", "movingAverage", "percentile", "entropy", "mse"]);

const quantizeStep = z.strictObject({
  name: z.literal("quantizeStatic"),
  method,
  perChannel: z.boolean().exactOptional(),
  biasCorrection: z.boolean().exactOptional(),
  nodesToExclude: z.array(z.string()).readonly().exactOptional(),
});

const mixedStep = z.strictObject({
  name: z.literal("quantizeMixed"),
  plan: z.record(z.string(), z.enum(LAYER_FORMATS as [LayerFormat, ...LayerFormat[]])).readonly(),
  method: method.exactOptional(),
  biasCorrection: z.boolean().exactOptional(),
});

const dynamicStep = z.strictObject({ name: z.literal("quantizeDynamic") });

const weightsStep = z.strictObject({
  name: z.literal("quantizeWeights"),
  bits: z.union([z.literal(8), z.literal(4)]),
  symmetric: z.boolean().exactOptional(),
  gptq: z.boolean().exactOptional(),
});

const storeStep = z.strictObject({
  name: z.literal("storeWeights"),
  to: z.enum(["int8", "int4", "int3", "int2", "fp16"]),
  biasCorrection: z.boolean().exactOptional(),
});

const schema = z
  .array(
    z.discriminatedUnion("name", [
      optimizeStep,
      ...CUTTING_STEPS,
      quantizeStep,
      mixedStep,
      dynamicStep,
      weightsStep,
      storeStep,
    ]),
  )
  .min(1)
  .readonly();

/** The passes that make a result, with their options: plain JSON, enough to make it again from the same model and data. */
export type Recipe = z.infer<typeof schema>;

/** Reads a recipe; a MinnowError `recipe/invalid` says what is wrong where. */
export function parseRecipe(value: unknown, at?: string): Recipe {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new MinnowError(`It is no recipe: ${z.prettifyError(parsed.error)}.`, {
    code: "recipe/invalid",
    at,
    mend: "A recipe is a list such as the one a report shows.",
  });
}

/** What a recipe gave, and what was done. */
export interface Made {
  readonly model: Model;
  readonly changes: readonly Change[];
}

/** Carries out recipes on one model with one set of calibration data; what several recipes need is computed once. */
export interface Kitchen {
  make(recipe: Recipe): Promise<Made>;
  /** The float model after `optimize`: what everything starts from. */
  readonly base: Promise<Model>;
}

/** A kitchen for a model; `data` may be left out where no recipe calibrates. */
export function kitchen(
  model: Model,
  data: Dataset | undefined,
  options: { readonly signal?: AbortSignal; readonly onProgress?: (done: number, total: number) => void } = {},
): Kitchen {
  const base = optimize().run(model);
  base.catch(() => {});
  const examples = (): Dataset => {
    if (data !== undefined) return data;
    throw new MinnowError("This recipe calibrates, and there is no data.", {
      code: "recipe/no-data",
      mend: "Give --data.",
    });
  };
  let statistics: Promise<Statistics> | undefined;
  const statisticsOnce = () => (statistics ??= base.then((start) => calibrate(start.model, examples(), options)));
  const passOf = async (step: Exclude<Recipe[number], CuttingStep | { name: "optimize" }>): Promise<Pass> => {
    switch (step.name) {
      case "storeWeights":
        return storeWeights({ ...step, ...(step.biasCorrection && { data: examples() }), ...options });
      case "quantizeDynamic":
        return quantizeDynamic();
      case "quantizeWeights":
        return quantizeWeights({ ...step, ...(step.gptq && { data: examples() }), method: "mse", ...options });
      case "quantizeMixed":
        if (!Object.values(step.plan).includes("int8")) return quantizeMixed({ ...step, ...options });
        return quantizeMixed({ ...step, ...options, data: examples(), statistics: await statisticsOnce() });
      case "quantizeStatic":
        return quantizeStatic({ ...step, ...options, data: examples(), statistics: await statisticsOnce() });
    }
  };
  return {
    base: base.then((result) => result.model),
    async make(recipe) {
      const optimized = recipe.some(({ name }) => name === "optimize");
      let { model: made, changes }: Made = optimized ? await base : { model, changes: [] };
      const cuts = recipe.filter(isCutting);
      if (cuts.length > 0) {
        // What follows starts from the cut model: statistics of the whole one say nothing of it.
        const cut = await sequence(cuts.map((step) => cuttingPass(step, { ...options, ...(data && { data }) }))).run(
          made,
        );
        const rest = await kitchen(cut.model, data, options).make([
          { name: "optimize" },
          ...recipe.filter((step) => !isCutting(step)),
        ]);
        return { model: rest.model, changes: [...changes, ...cut.changes, ...rest.changes] };
      }
      for (const step of recipe) {
        if (step.name === "optimize" || isCutting(step)) continue;
        const result = await (await passOf(step)).run(made);
        made = result.model;
        changes = [...changes, ...result.changes];
      }
      return { model: made, changes };
    },
  };
}
