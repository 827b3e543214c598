import { int } from "../ir/attrs.ts";
import type { GraphEdit } from "../ir/edit.ts";
import { float32s, int64s } from "../ir/tensor.ts";
import { LEAST_SCALE, roundEven } from "./affine.ts";
import type { Parts } from "./weights.ts";

/** The name of the weight that holds all learned step sizes. */
export const STEPS = "quantization.steps";

/** Step sizes, one or one for each channel, that are to be learned. */
export interface LearnedSteps {
  readonly first: ArrayLike<number>;
  /** Numbers that share one step: weights of a channel, or activations of an example. */
  readonly sharing: number;
  /** The largest level above the zero point. */
  readonly top: number;
  /** Bounds of each step. */
  readonly least?: ArrayLike<number>;
  readonly most?: number;
}

const LARGEST = 3e38;

/**
 * Step sizes that learn (LSQ: Esser et al. 2020, arXiv:1902.08153), all in one weight p, so that they are one tensor to an
 * optimizer. The steps are |p|·√g, held within their bounds, with g = 1/√(numbers that share a step · top level): descent on p
 * is then descent on the steps with LSQ's gradient scale g, and a step stays positive.
 */
export class StepSizes {
  readonly #edit: GraphEdit;
  readonly #all: { readonly steps: LearnedSteps; readonly name: string }[] = [];

  constructor(edit: GraphEdit) {
    this.#edit = edit;
  }

  /** The name of the value that will hold these steps, [how many]. */
  add(steps: LearnedSteps): string {
    const name = this.#edit.fresh(`s${this.#all.length}`);
    this.#all.push({ steps, name });
    return name;
  }

  /** Writes the weight and what makes steps of it. */
  done(): void {
    if (this.#all.length === 0) return;
    const each = (of: (steps: LearnedSteps, i: number) => number) =>
      this.#all.flatMap(({ steps }) => Array.from({ length: steps.first.length }, (_, i) => of(steps, i)));
    const roots = each(({ sharing, top }) => (Math.max(1, sharing) * top) ** -0.25).map(Math.fround);
    const vector = (name: string, values: readonly number[]) =>
      this.#edit.weight(name, float32s([values.length], values));
    const first = each(({ first: values }, i) => values[i] as number);
    const parameters = vector(
      STEPS,
      first.map((step, i) => step / (roots[i] as number)),
    );
    const apply = (op: string, ...inputs: string[]) => this.#edit.add({ op, name: "", inputs })[0] as string;
    const steps = apply("Mul", apply("Abs", parameters), vector("quantization.roots", roots));
    const least = each(({ least: bound }, i) => Math.max(LEAST_SCALE, bound?.[i] ?? 0));
    const most = each(({ most: bound = LARGEST }) => bound);
    const held = apply(
      "Min",
      apply("Max", steps, vector("quantization.least", least)),
      vector("quantization.most", most),
    );
    const sizes = int64s(this.#all.map(({ steps: { first: values } }) => values.length));
    this.#edit.add({
      op: "Split",
      name: "",
      inputs: [held, this.#edit.weight("quantization.sizes", sizes)],
      outputs: this.#all.map(({ name }) => name),
      attrs: { axis: int(0) },
    });
  }
}

/** Shares of the largest magnitude that are tried as what the top level stands for. */
const SHARES = Array.from({ length: 33 }, (_, i) => 1 - i / 50);

/**
 * The symmetric steps with the least squared error, among those that put the top level at or below the largest magnitude of the
 * channel; the latter itself where `top` is large. Channels of zeros get 1. Source: Choukroun et al., arXiv 1902.06822.
 */
export function bestSteps(values: Float32Array, { channels, channelOf }: Parts, top: number): Float32Array {
  const members = Array.from({ length: channels }, (): number[] => []);
  for (const [i, value] of values.entries()) members[channelOf(i)]?.push(value);
  return Float32Array.from(members, (channel) => {
    const largest = channel.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (largest === 0) return 1;
    const error = (step: number) =>
      channel.reduce((sum, v) => sum + (v - step * Math.max(-top - 1, Math.min(top, roundEven(v / step)))) ** 2, 0);
    const tried = SHARES.map((share) => (share * largest) / top).map((step) => ({ step, error: error(step) }));
    return tried.reduce((best, next) => (next.error < best.error ? next : best)).step;
  });
}
