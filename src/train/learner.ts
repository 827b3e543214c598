import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { type StepOptions, type TrainStep, trainingStep } from "./step.ts";
import { openStepper, type StepAt, type StepperOptions, type StepResult } from "./stepper.ts";

/** Updates weights by one batch, or by several whose gradients are added up first. */
export interface Learner {
  readonly step: TrainStep;
  /** One update; a result for each of the batches. */
  update(
    batches: readonly Readonly<Record<string, TensorData>>[],
    at: StepAt,
    outputs: readonly string[],
  ): Promise<StepResult[]>;
  /** All that is carried from one update to the next, by key: copies. */
  state(): Map<string, TensorData>;
  restore(state: ReadonlyMap<string, TensorData>): void;
  close(): Promise<void>;
}

/** A learner for a model of fixed sizes; an update takes `parts` batches. */
export async function openLearner(
  model: Model,
  options: Omit<StepOptions, "accumulate">,
  { parts, ...running }: StepperOptions & { readonly parts: number },
): Promise<Learner> {
  if (parts === 1) {
    const step = trainingStep(model, options);
    const stepper = await openStepper(step, running);
    return {
      ...stepper,
      step,
      update: async (batches, at, outputs) => {
        const results: StepResult[] = [];
        for (const feeds of batches) results.push(await stepper.run(feeds, at, outputs));
        return results;
      },
    };
  }
  const step = trainingStep(model, { ...options, accumulate: { parts, phase: "apply" } });
  const apply = await openStepper(step, running);
  const gather = await openStepper(
    trainingStep(model, { ...options, accumulate: { parts, phase: "gather" } }),
    running,
  );
  const sums = new Map(
    [...apply.state()].filter(([key]) => step.carried.some((c) => c.key === key && c.kind === "sum")),
  );
  return {
    step,
    async update(batches, at, outputs) {
      const results: StepResult[] = [];
      for (const [part, feeds] of batches.slice(0, -1).entries())
        results.push(await gather.run(feeds, { ...at, part }, outputs));
      apply.restore(gather.state());
      results.push(
        await apply.run(batches.at(-1) as Record<string, TensorData>, { ...at, part: batches.length - 1 }, outputs),
      );
      gather.restore(apply.state());
      gather.restore(sums);
      apply.restore(sums);
      return results;
    },
    state: () => apply.state(),
    restore(state) {
      apply.restore(state);
      gather.restore(state);
    },
    async close() {
      await apply.close();
      await gather.close();
    },
  };
}
