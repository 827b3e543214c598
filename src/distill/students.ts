import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { dropBlocks, structuredPruning, type Target } from "../prune/index.ts";

export interface StudentOptions {
  /** Every n-th residual block goes: layers of a transformer, blocks of a ResNet (DistilBERT: Sanh et al. 2019, arXiv:1910.01108). */
  readonly every?: number;
  /** The multiply-adds that are left, by cutting the channels, heads and hidden units that count least. */
  readonly macs?: Target;
  /** Widths are cut to multiples of it; default what kernels want, which may be too coarse for nets of few channels. */
  readonly roundTo?: number;
  /** What importance is measured on; without it weights decide. */
  readonly data?: Dataset;
}

/**
 * A student made of its teacher: blocks left out, then widths cut. What stays has the teacher's weights, which is a better start
 * than first values. It is an ordinary model, to be taught by {@link distill}.
 *
 * @example
 * const student = await studentOf(teacher, { every: 2 });
 * const { model } = await distill(student, { teacher, data, epochs: 5 });
 */
export async function studentOf(teacher: Model, { every, macs, roundTo, data }: StudentOptions): Promise<Model> {
  if (every === undefined && macs === undefined)
    throw new MinnowError("Nothing is said of how the student differs from its teacher.", {
      code: "distill/student",
      mend: 'Leave out every n-th block (every: 2), or cut widths to a share of the multiply-adds (macs: "50%").',
    });
  const shallow = every === undefined ? teacher : (await dropBlocks({ every }).run(teacher)).model;
  if (macs === undefined) return shallow;
  const options = { macs, ...(roundTo && { roundTo }), ...(data && { data }) };
  return (await structuredPruning(options).run(shallow)).model;
}
