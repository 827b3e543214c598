import { MinnowError } from "../errors.ts";
import { floatAttr, intAttr, intsAttr, stringAttr } from "../ir/attrs.ts";
import type { Node } from "../ir/graph.ts";
import { titleOf } from "../ir/walk.ts";
import { Emitter } from "./emit.ts";

/** One application of an operator, seen from behind: its inputs and outputs are at hand, and what the loss gains by each output. */
export class Backward extends Emitter {
  readonly node: Node;
  /** Names of the inputs; "" where left out. */
  readonly x: readonly string[];
  /** Names of the outputs. */
  readonly ys: readonly string[];
  /** The gradient of each output; undefined where the loss does not depend on it. */
  readonly dys: readonly (string | undefined)[];
  readonly #wanted: readonly boolean[];
  readonly #asked: readonly boolean[];

  constructor(
    node: Node,
    dys: readonly (string | undefined)[],
    wanted: readonly boolean[],
    from: Emitter,
    facts: ConstructorParameters<typeof Emitter>[1],
    asked: readonly boolean[] = [],
  ) {
    super(from.edit, facts, from.opsets, from);
    this.node = node;
    this.near = `grad/${node.name || node.op}`;
    this.x = node.inputs;
    this.ys = node.outputs;
    this.dys = dys;
    this.#wanted = wanted;
    this.#asked = asked;
  }

  /** The first output. */
  get y(): string {
    return this.ys[0] as string;
  }

  /** The gradient of the first output; zeros where the loss depends on another output only. */
  get dy(): string {
    return this.gradient(0);
  }

  /** The gradient of an output; zeros where the loss does not depend on it. */
  gradient(output: number): string {
    return this.dys[output] ?? this.zerosLike(this.ys[output] as string);
  }

  /** Whether somebody asks for the gradient of this input. */
  wants(input: number): boolean {
    return this.#wanted[input] === true;
  }

  /** Whether this input's gradient is asked for as such, not only to go on from it. */
  asks(input: number): boolean {
    return this.#asked[input] === true;
  }

  int(name: string, fallback: number): number {
    return intAttr(this.node, name, fallback);
  }

  float(name: string, fallback: number): number {
    return floatAttr(this.node, name, fallback);
  }

  text(name: string, fallback: string): string {
    return stringAttr(this.node, name, fallback);
  }

  list(name: string): readonly number[] | undefined {
    return intsAttr(this.node, name);
  }

  /** An axis that may count from the end, as an index from 0. */
  axis(axis: number, of: string): number {
    return axis < 0 ? axis + this.rank(of) : axis;
  }

  /** The numbers of an input that is a small constant; undefined where they are not known. */
  numbers(input: number): readonly number[] | undefined {
    const name = this.x[input];
    const value = name ? this.fact(name).value : undefined;
    return value?.every((v) => typeof v === "number") ? (value as readonly number[]) : undefined;
  }

  /** The numbers of an input that decides sizes or places; throws where they are computed while the model runs. */
  known(input: number): readonly number[] {
    const found = this.numbers(input);
    if (found !== undefined) return found;
    throw new MinnowError(`Input ${input}, "${this.x[input]}", is not a small constant.`, {
      code: "train/open-shape",
      at: titleOf(this.node),
      mend: "A training graph has fixed sizes and places: fold constants first, or give the numbers as a weight.",
    });
  }
}

/** What the loss gains by each input, in their order; undefined where nothing flows. An input nobody wants may be given anyway. */
export type Gradient = (g: Backward) => readonly (string | undefined)[];

/**
 * The gradient of an operator, or why none flows through it: `{ none: "piecewise constant" }` where it is zero or the
 * output is an integer (the path just ends there), `{ missing: … }` where one exists and Minnow does not have it (an error).
 * `{ as }` says the operator in simpler ones, whose gradients then serve: it emits nodes that compute the same outputs.
 */
export type GradientRule =
  | Gradient
  | { readonly as: (g: Backward) => readonly string[] }
  | { readonly none: string }
  | { readonly missing: string };

/** Gradients by key of the operator (`keyOf`). */
export type Gradients = Readonly<Record<string, GradientRule>>;
