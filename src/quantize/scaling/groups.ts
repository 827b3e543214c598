import type { Model } from "../../ir/graph.ts";
import { elements } from "../../ir/tensor.ts";
import { linked } from "../../ops/factors.ts";
import { channelsOf } from "../channels.ts";
import { type Absorbed, applicationOf, type Bound, type Slot, type Trace, trace } from "./trace.ts";

/** A constant of a group, and which factor each of its elements takes. */
export interface GroupWeight extends Pick<Absorbed, "weight" | "node" | "divided" | "matrix"> {
  readonly classes: Int32Array;
}

/**
 * Channels that can be multiplied without changing what the model computes: what makes them is multiplied by their
 * factors, what reads them divided. Channels that branches join have one factor.
 */
export interface ScalingGroup {
  /** How many factors there are to choose. */
  readonly count: number;
  readonly weights: readonly GroupWeight[];
  /** The values that are multiplied, along which axis, and the factor of each index. */
  readonly values: readonly { readonly name: string; readonly axis: number; readonly classes: Int32Array }[];
  /** Clamps on the way: factors must not bring what they let through up to the bound. */
  readonly bounds: readonly Bound[];
}

export interface GroupOptions {
  /** Whether factors may pass clamps whose bound is not reached; default false. */
  readonly bounds?: boolean;
}

/**
 * Every group of a model, in the order in which they are computed. It follows from the axes of operators and what their
 * rules say of factors; weights that several nodes read, values the model gives out, and what passes through anything
 * that is not homogeneous are in none.
 */
export function groupsOf(model: Model, { bounds = false }: GroupOptions = {}): ScalingGroup[] {
  const groups: ScalingGroup[] = [];
  const taken = new Set<string>();
  for (const { value, axis } of seedsOf(model)) {
    if (taken.has(value)) continue;
    const found = trace(model, value, axis, bounds);
    if (found === undefined) continue;
    const group = grouped(model, found);
    if (group === undefined) continue;
    for (const { name } of group.values) taken.add(name);
    groups.push(group);
  }
  return groups;
}

/** Where factors may begin: at the channels of what a constant weight or gain makes. */
function seedsOf(model: Model): { value: string; axis: number }[] {
  const { weights } = model.graph;
  return model.graph.nodes.flatMap((node) => {
    const { n, rule, places } = applicationOf(model, node);
    const [value = ""] = node.outputs;
    const rank = n.results[0]?.shape?.length ?? 0;
    if (rule?.quant?.kind === "contraction") {
      const weight = weights.get(node.inputs[rule.quant.weight] ?? "");
      const channel = weight && channelsOf(model, node, rule.quant.weight, weight.shape.length);
      return channel === undefined ? [] : [{ value, axis: rank + channel.output }];
    }
    const gains = node.inputs.flatMap((name, i) => (weights.get(name)?.dtype === "float32" ? [i] : []));
    if (rule?.scale === undefined && rule?.factor?.(n) !== "any") return [];
    return gains.slice(0, 1).flatMap((i) => {
      const axes = places?.outputs[0] ?? [];
      const along = places?.inputs[i]?.find((places) => (places?.length ?? 0) > 1);
      const axis = along === undefined ? -1 : axes.findIndex((to) => to !== undefined && linked(along, to).length > 0);
      return axis < 0 ? [] : [{ value, axis }];
    });
  });
}

function grouped(model: Model, found: Trace): ScalingGroup | undefined {
  const { absorbed, slots, bounds } = found;
  if (!absorbed.some((a) => a.divided && a.matrix) || !absorbed.some((a) => !a.divided)) return undefined;
  const numbers = new Map<number, number>();
  const classOf = (position: number): number => {
    const root = found.rootOf(position);
    const number = numbers.get(root) ?? numbers.size;
    numbers.set(root, number);
    return number;
  };
  const classesOf = ({ first, places }: Slot) => Int32Array.from(places, (_, i) => classOf(first + i));
  const values = [...slots.values()].map((slot) => ({
    name: slot.value,
    axis: slot.axis,
    classes: classesOf(slot),
  }));
  const weights = absorbed.map((a) => ({
    weight: a.weight,
    node: a.node,
    divided: a.divided,
    matrix: a.matrix,
    classes: elementClasses(model, a, classesOf(a.slot)),
  }));
  return numbers.size < 2 ? undefined : { count: numbers.size, weights, values, bounds };
}

/** The class of every element of a weight, by the letters that its axes share with the slot. */
function elementClasses(model: Model, { weight, axes, along }: Absorbed, classes: Int32Array): Int32Array {
  const { shape } = model.graph.weights.get(weight)!;
  const letters = [...new Set(along.flatMap((place) => Object.keys(place)))];
  const sizes = letters.map((letter) => 1 + along.reduce((most, place) => Math.max(most, place[letter] ?? 0), 0));
  const strides = sizes.map((_, i) => sizes.slice(i + 1).reduce((a, b) => a * b, 1));
  const codeOf = (place: Readonly<Record<string, number>>) =>
    letters.reduce((code, letter, i) => code + (place[letter] ?? 0) * strides[i]!, 0);
  const table = new Int32Array(sizes.reduce((a, b) => a * b, 1)).fill(-1);
  along.forEach((place, i) => {
    table[codeOf(place)] = classes[i]!;
  });
  let codes = Int32Array.of(0);
  shape.forEach((size, axis) => {
    const own = Array.from({ length: size }, (_, i) => codeOf(axes[axis]?.[i] ?? {}));
    const next = new Int32Array(codes.length * size);
    for (let i = 0; i < codes.length; i++) for (let k = 0; k < size; k++) next[i * size + k] = codes[i]! + own[k]!;
    codes = next;
  });
  return codes.length === elements(shape) ? codes.map((code) => table[code]!) : codes;
}
