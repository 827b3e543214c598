import { int } from "../ir/attrs.ts";
import type { GraphEdit } from "../ir/edit.ts";
import { float32s, int64s } from "../ir/tensor.ts";
import { LEAST_SCALE } from "./affine.ts";
import type { Parts } from "./weights.ts";

/** The name of the weight that holds all learned step sizes. */
export const STEPS = "quantization.steps";

/** Step sizes, one (a scalar) or one for each channel (a vector), that are to be learned. */
export interface LearnedSteps {
  readonly first: number | ArrayLike<number>;
  /** Numbers that share one step: weights of a channel, or activations of an example. */
  readonly sharing: number;
  /** The largest level above the zero point. */
  readonly top: number;
  /** Bounds of the steps. */
  readonly least?: number;
  readonly most?: number;
}

interface Named {
  readonly steps: LearnedSteps;
  readonly name: string;
}

/**
 * Step sizes that learn (LSQ: Esser et al. 2020, arXiv:1902.08153), all in one weight p, so that they are one tensor to an
 * optimizer, and a tensor to the trainer. The steps are |p|·√g, held within their bounds, with g = 1/√(numbers that share a step ·
 * top level): descent on p is then descent on the steps with LSQ's gradient scale g, and a step stays positive.
 */
export class StepSizes {
  readonly #edit: GraphEdit;
  readonly #all: Named[] = [];

  constructor(edit: GraphEdit) {
    this.#edit = edit;
  }

  /** The name of the value that will hold these steps. */
  add(steps: LearnedSteps): string {
    const name = this.#edit.fresh(`s${this.#all.length}`);
    this.#all.push({ steps, name });
    return name;
  }

  /** Writes the weight and what makes steps of it. */
  done(): void {
    if (this.#all.length === 0) return;
    const first = this.#all.flatMap(({ steps }) => listOf(steps).map((step) => step / rootOf(steps)));
    const parameters = this.#edit.weight(STEPS, float32s([first.length], first));
    const [positive = ""] = this.#edit.add({ op: "Abs", name: "", inputs: [parameters] });
    const sizes = this.#all.map(({ steps }) => listOf(steps).length);
    const pieces = this.#edit.add({
      op: "Split",
      name: "",
      inputs: [positive, this.#edit.weight("sizes", int64s(sizes))],
      outputs: this.#all.length,
      attrs: { axis: int(0) },
    });
    for (const [i, piece] of pieces.entries()) this.#write(piece, this.#all[i] as Named);
  }

  #write(piece: string, { steps, name }: Named): void {
    const { least = 0, most } = steps;
    const apply = (op: string, inputs: readonly string[], outputs?: readonly string[]) =>
      this.#edit.add({ op, name: "", inputs, ...(outputs && { outputs }) })[0] as string;
    const number = (value: number) => this.#edit.weight("c", float32s([], [value]));
    const shaped = typeof steps.first === "number" ? apply("Squeeze", [piece]) : piece;
    const scaled = apply("Mul", [shaped, number(rootOf(steps))]);
    const held = [scaled, number(Math.max(LEAST_SCALE, least))];
    if (most === undefined) apply("Max", held, [name]);
    else apply("Min", [apply("Max", held), number(most)], [name]);
  }
}

/** √g. */
const rootOf = ({ sharing, top }: LearnedSteps): number => Math.fround((Math.max(1, sharing) * top) ** -0.25);

const listOf = ({ first }: LearnedSteps): number[] => (typeof first === "number" ? [first] : Array.from(first));

/**
 * The steps that put the top level at the largest magnitude of each channel; 1 for a channel of zeros. Steps of least squared
 * error, which cut large weights off, shrink what every layer puts out a little, and in a deep net that adds up.
 */
export function widestSteps(values: Float32Array, { channels, channelOf }: Parts, top: number): Float32Array {
  const largest = new Float32Array(channels);
  for (const [i, value] of values.entries()) {
    const c = channelOf(i);
    largest[c] = Math.max(largest[c] as number, Math.abs(value));
  }
  return largest.map((value) => (value === 0 ? 1 : value / top));
}
