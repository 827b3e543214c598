import { edit } from "../../ir/edit.ts";
import type { Model, Node } from "../../ir/graph.ts";
import { elements, float32s, viewOf } from "../../ir/tensor.ts";
import { titleOf, usesOf } from "../../ir/walk.ts";
import { hadamard, signsOf } from "../../numeric/hadamard.ts";
import { factorOf, linked, type Place } from "../../ops/factors.ts";
import { optimize, type Pass, type PassResult } from "../../passes/index.ts";
import { finiteFloats } from "../weights.ts";
import { groupsOf } from "./groups.ts";
import { applicationOf } from "./trace.ts";
import { WorkingWeights } from "./working.ts";

export interface RotateOptions {
  /** Of the random signs; default 0. */
  readonly seed?: number;
}

/** Smaller streams are not worth it: there is little to mix. */
const LEAST_SIZE = 16;

/**
 * Rotates the stream that the blocks of a transformer add to by a Hadamard matrix with random signs, which spreads
 * outliers over all its channels. Where every norm on the way depends on the length alone (RMSNorm), its gains are
 * computed into the matrices behind it and the rotation folds into the table of tokens and the matrices that write and
 * read the stream: nothing is added to the graph, and what it computes stays the same up to float rounding. A model
 * where it does not fold (LayerNorm takes a mean off) stays as it is. Optimizes the model first.
 * Source: Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs", arXiv 2404.00456.
 *
 * @example
 * const { model: rotated } = await rotate().run(llama);
 * const { model: small } = await quantizeWeights({ bits: 4 }).run(rotated);
 */
export const rotate = (options: RotateOptions = {}): Pass => ({
  name: "rotate",
  options: { ...options },
  run: (model) => rotated(model, options.seed ?? 0),
});

async function rotated(given: Model, seed: number): Promise<PassResult> {
  const { model: base, changes } = await optimize().run(given);
  const model = await withoutGains(base);
  const streams = streamsOf(model);
  if (streams.length === 0) return { model: given, changes: [] };
  const e = edit(model.graph);
  for (const { turned, size } of streams) {
    const signs = signsOf(size, seed);
    for (const [name, axis] of turned) {
      const weight = model.graph.weights.get(name)!;
      const values = (await finiteFloats(name, weight)).slice();
      turn(values, weight.shape, axis, signs);
      e.setWeight(name, float32s(weight.shape, values));
    }
  }
  const told = streams.map(({ at }) => ({ what: "Rotated the stream that blocks add to.", at: titleOf(at) }));
  return { model: { ...model, graph: e.done() }, changes: [...changes, ...told] };
}

/** Rotates every line of a tensor along an axis. */
function turn(values: Float32Array, shape: readonly number[], axis: number, signs: Float64Array): void {
  const [size, inner] = [shape[axis]!, elements(shape.slice(axis + 1))];
  const line = new Float64Array(size);
  for (let at = 0; at < values.length / size; at++) {
    const from = Math.floor(at / inner) * inner * size + (at % inner);
    for (let i = 0; i < size; i++) line[i] = values[from + i * inner]!;
    hadamard(line, signs);
    for (let i = 0; i < size; i++) values[from + i * inner] = line[i]!;
  }
}

/** The gains behind norms computed into the matrices that read them, so that they are 1. */
async function withoutGains(model: Model): Promise<Model> {
  const groups = groupsOf(model).filter(({ weights }) => {
    const makers = weights.filter((w) => !w.divided);
    return makers.length === 1 && !makers[0]!.matrix;
  });
  const weights = await WorkingWeights.of(model, groups);
  for (const group of groups) {
    const { weight, classes } = group.weights.find((w) => !w.divided)!;
    const factors = new Float64Array(group.count).fill(1);
    weights.get(weight).forEach((gain, i) => {
      if (Math.abs(gain) > 1e-6) factors[classes[i]!] = 1 / gain;
    });
    weights.move(group, factors);
  }
  return weights.done();
}

/** A stream: the constants that are rotated with it, each along one axis. */
interface Stream {
  readonly at: Node;
  readonly size: number;
  readonly turned: ReadonlyMap<string, number>;
}

function streamsOf(model: Model): Stream[] {
  const streams: Stream[] = [];
  const taken = new Set<string>();
  for (const node of model.graph.nodes) {
    const { n, rule } = applicationOf(model, node);
    const [value = ""] = node.outputs;
    // A stream begins where two values are added.
    if (rule?.linear !== true || factorOf(n) !== "all" || taken.has(value)) continue;
    const rank = n.results[0]?.shape?.length ?? 0;
    const size = n.results[0]?.shape?.at(-1);
    if (rank < 2 || typeof size !== "number" || size < LEAST_SIZE) continue;
    const found = new Follower(model, size);
    const holds = found.run(value, rank - 1);
    for (const name of found.values.keys()) taken.add(name);
    if (holds) streams.push({ at: node, size, turned: found.turned });
  }
  return streams;
}

/** Follows a rotation along an axis to all constants it can be folded into. */
class Follower {
  readonly values = new Map<string, number>();
  readonly turned = new Map<string, number>();
  readonly #model: Model;
  readonly #size: number;
  readonly #queue: string[] = [];
  readonly #uses = new Map<string, number>();

  constructor(model: Model, size: number) {
    this.#model = model;
    this.#size = size;
  }

  run(value: string, axis: number): boolean {
    if (!this.#reach(value, axis)) return false;
    for (let name = this.#queue.shift(); name !== undefined; name = this.#queue.shift())
      if (!this.#visit(name, this.values.get(name)!)) return false;
    const { readers, outputs } = usesOf(this.#model.graph);
    return [...this.turned.keys()].every(
      (name) => readers.get(name)?.length === this.#uses.get(name) && !outputs.has(name),
    );
  }

  #visit(value: string, axis: number): boolean {
    const { writer, readers, outputs } = usesOf(this.#model.graph);
    const source = writer.get(value);
    if (source === undefined || outputs.has(value)) return false;
    if (!this.#written(source, axis)) return false;
    return [...new Set(readers.get(value))].every((node) => this.#read(node, value, axis));
  }

  /** What makes a value: a matrix, a table that rows are picked from, or something linear in what is rotated too. */
  #written(node: Node, axis: number): boolean {
    const { n, rule, places } = applicationOf(this.#model, node);
    const along = places?.outputs[0]?.[axis];
    if (along === undefined || places === undefined) return false;
    const quant = rule?.quant;
    if (quant?.kind === "contraction") {
      const bias = quant.bias === undefined ? "" : (node.inputs[quant.bias] ?? "");
      return (
        this.#turn(node, quant.weight, places.inputs[quant.weight], along) &&
        (bias === "" || this.#turn(node, quant.bias!, places.inputs[quant.bias!], along))
      );
    }
    if (quant?.kind === "transparent" && this.#isConstant(node.inputs[0] ?? ""))
      return this.#turn(node, 0, places.inputs[0], along);
    if (rule?.isotropic === true) return this.#hasUnitGain(node, rule.scale) && this.#operand(node, 0, places, along);
    if (rule?.linear !== true) return false;
    if (factorOf(n) === "all") return node.inputs.every((_, i) => this.#operand(node, i, places, along));
    return this.#carrier(node, along) !== undefined && this.#operand(node, this.#carrier(node, along)!, places, along);
  }

  #read(node: Node, value: string, axis: number): boolean {
    const { n, rule, places } = applicationOf(this.#model, node);
    const at = node.inputs.indexOf(value);
    const along = places?.inputs[at]?.[axis];
    if (along === undefined || places === undefined) return false;
    const quant = rule?.quant;
    if (rule?.square?.(n) === true) return at === 0 && this.#isSummed(node);
    if (node.inputs.filter((name) => name === value).length > 1) return false;
    if (quant?.kind === "contraction" && at === 0 && this.#isConstant(node.inputs[quant.weight] ?? ""))
      return this.#turn(node, quant.weight, places.inputs[quant.weight], along);
    const passes =
      rule?.isotropic === true ||
      (rule?.linear === true && (factorOf(n) === "all" || this.#carrier(node, along) === at));
    // What it makes is followed back to all that it reads.
    return passes && this.#operand(node, "output", places, along);
  }

  /** Whether all that reads squares adds them up along the axis: a length does not change. */
  #isSummed(node: Node): boolean {
    const readers = usesOf(this.#model.graph).readers.get(node.outputs[0] ?? "") ?? [];
    return (
      readers.length > 0 &&
      readers.every((reader) => {
        const { rule, n } = applicationOf(this.#model, reader);
        return rule?.linear === true && factorOf(n) === "first" && n.results[0]?.shape?.at(-1) === 1;
      })
    );
  }

  /** The one operand of a product that has the axis, the others being the same along it. */
  #carrier(node: Node, along: readonly Place[]): number | undefined {
    const { places } = applicationOf(this.#model, node);
    const carriers = node.inputs.flatMap((name, i) => {
      const axes = places?.inputs[i] ?? [];
      const has = axes.some((axis) => axis !== undefined && linked(along, axis).length > 0);
      return has && !this.#isOnes(name) ? [i] : [];
    });
    return carriers.length === 1 ? carriers[0] : undefined;
  }

  #operand(
    node: Node,
    index: number | "output",
    places: NonNullable<ReturnType<typeof applicationOf>["places"]>,
    along: readonly Place[],
  ): boolean {
    const name = (index === "output" ? node.outputs[0] : node.inputs[index]) ?? "";
    const axes = index === "output" ? places.outputs[0] : places.inputs[index];
    if (this.#isConstant(name) && index !== "output") return this.#turn(node, index, axes, along);
    const axis = this.#axisOf(axes, along);
    return axis !== undefined && this.#reach(name, axis);
  }

  #axisOf(axes: readonly (readonly Place[] | undefined)[] = [], along: readonly Place[]): number | undefined {
    const axis = axes.findIndex((places) => places?.length === along.length && linked(along, places).length > 0);
    const same = axis >= 0 && linked(along, axes[axis]!).every(([p, q]) => p === q);
    return same && along.length === this.#size ? axis : undefined;
  }

  #reach(name: string, axis: number): boolean {
    const known = this.values.get(name);
    if (known !== undefined) return known === axis;
    this.values.set(name, axis);
    this.#queue.push(name);
    return true;
  }

  /** Notes a constant to be rotated, once for each of its readers. */
  #turn(
    node: Node,
    index: number,
    axes: readonly (readonly Place[] | undefined)[] | undefined,
    along: readonly Place[],
  ): boolean {
    const name = node.inputs[index] ?? "";
    const axis = this.#axisOf(axes, along);
    if (axis === undefined || !this.#isConstant(name) || (this.turned.get(name) ?? axis) !== axis) return false;
    this.turned.set(name, axis);
    this.#uses.set(name, (this.#uses.get(name) ?? 0) + 1);
    return true;
  }

  #hasUnitGain = (node: Node, scale: number | undefined): boolean =>
    scale !== undefined && this.#isOnes(node.inputs[scale] ?? "");

  #isOnes(name: string): boolean {
    const bytes = this.#model.graph.weights.get(name)?.bytes;
    if (!this.#isConstant(name) || bytes === undefined) return false;
    return (viewOf("float32", bytes) as Float32Array).every((value) => Math.abs(value - 1) < 1e-6);
  }

  #isConstant(name: string): boolean {
    const { weights, inputs } = this.#model.graph;
    return weights.get(name)?.dtype === "float32" && !inputs.some((input) => input.name === name);
  }
}
