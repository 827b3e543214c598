import { z } from "zod";
import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { type Change, optimize, type Pass, sequence } from "../passes/index.ts";
import { calibrate, quantizeStatic, type Statistics, storeWeights } from "../quantize/index.ts";
import { CUTTING_STEPS, type CuttingStep, cuttingPass, isCutting } from "./cutting.ts";

const optimizeStep = z.strictObject({ name: z.literal("optimize") });

const quantizeStep = z.strictObject({
  name: z.literal("quantizeStatic"),
  method: z.enum(["minmax", "movingAverage", "percentile", "entropy", "mse"]),
  perChannel: z.boolean().exactOptional(),
  biasCorrection: z.boolean().exactOptional(),
  nodesToExclude: z.array(z.string()).readonly().exactOptional(),
});

const storeStep = z.strictObject({
  name: z.literal("storeWeights"),
  to: z.enum(["int8", "fp16"]),
  biasCorrection: z.boolean().exactOptional(),
});

const schema = z
  .array(z.discriminatedUnion("name", [optimizeStep, ...CUTTING_STEPS, quantizeStep, storeStep]))
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
  const passOf = async ({
    name,
    ...step
  }: Exclude<Recipe[number], CuttingStep | { name: "optimize" }>): Promise<Pass> => {
    if ("to" in step) return storeWeights({ ...step, ...(step.biasCorrection && { data: examples() }), ...options });
    statistics ??= base.then((start) => calibrate(start.model, examples(), options));
    return quantizeStatic({ ...step, ...options, data: examples(), statistics: await statistics });
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
