import { int } from "../../src/ir/attrs.ts";
import type { Attr } from "../../src/ir/graph.ts";
import { elements, type TensorData, type TypedArray } from "../../src/ir/tensor.ts";
import { type Random, random } from "../../src/numeric/random.ts";
import { type AxisPattern, type AxisTerm, axesOf, lettersOf, sizeOf, sizesOf, spread } from "../../src/ops/axes.ts";
import type { AxesRule, Mapped, OpRule } from "../../src/ops/define.ts";
import { applied } from "../../src/ops/infer.ts";
import type { Sample, SampleInput } from "../../src/ops/sample.ts";
import { feedsOf } from "../../src/testing/single.ts";
import { TOLD } from "./facts.ts";

/** Which indices of each letter stay. */
export type Masks = ReadonlyMap<string, readonly boolean[]>;

/** A sample whose axes can be followed, with what its letters are. */
export interface Followed {
  readonly sample: Sample;
  readonly pattern: AxisPattern;
  readonly rule: AxesRule;
  readonly sizes: ReadonlyMap<string, number>;
  /** The shapes of its inputs, then of its outputs. */
  readonly shapes: readonly (readonly number[] | undefined)[];
  /** Letters that may be cut, each with how it is read where an output has it not. */
  readonly free: ReadonlyMap<string, "+" | "~" | "^" | undefined>;
}

/** How the axes of a sample flow, or would by another pattern; undefined where they are frozen as a whole. */
export function follow(rule: OpRule, sample: Sample, other?: AxisPattern): Followed | undefined {
  const { model, facts } = TOLD["all sizes"](sample);
  const node = model.graph.nodes[0];
  if (node === undefined) return undefined;
  const n = applied(node, model.opsets, facts);
  const mapped: Mapped = { ...n, results: rule.infer(n) };
  const axes = axesOf(mapped);
  if ("frozen" in axes) return undefined;
  const pattern = other ?? axes.pattern;
  const sizes = new Map([...sizesOf(pattern, axes.rule, mapped)].map(([letter, size]) => [letter, Number(size)]));
  const shapes = [...n.inputs, ...mapped.results].map((f) => f?.shape?.map(Number));
  return { sample, pattern, rule: axes.rule, sizes, shapes, free: freeLetters(pattern, sizes, mapped) };
}

/** Whether all numbers the rule makes anew are the node's: what it is fed with is not its to change. */
export const holdsConstants = ({ rule, sample }: Followed): boolean =>
  Object.keys(rule.holds ?? {}).every((at) => !/^\d+$/.test(at) || sample.inputs[Number(at)]?.constant === true);

/** Where the sizes that a map gives the axes of operands are not their sizes, so far as they are known: one sentence each. */
export function misfits({ pattern, sizes, shapes }: Followed): string[] {
  return [...pattern.inputs, ...pattern.outputs].flatMap((terms, i) => {
    const [shape, isInput] = [shapes[i], i < pattern.inputs.length];
    if (shape === undefined || terms.some((t) => t.kind === "all") || (isInput && terms.length === 0)) return [];
    const axes = spread(terms, shape);
    if (axes.length !== shape.length) return [`operand ${i} has ${shape.length} axes`];
    return axes.flatMap(({ term, size }, axis) => {
      if (Number.isNaN(size)) return [];
      const broadcast = isInput && size === 1 && term.kind === "letter" && term.letter.startsWith(".");
      const open = lettersOf(term).filter((letter) => !sizes.has(letter));
      if (open.length > 0) return [`the size of ${open} is not known`];
      const given = sizeOf(term, sizes);
      return given === undefined || Number.isNaN(given) || given === size || broadcast
        ? []
        : [`axis ${axis} of operand ${i} is ${size}, its map says ${given}`];
    });
  });
}

function freeLetters(pattern: AxisPattern, sizes: ReadonlyMap<string, number>, n: Mapped): Followed["free"] {
  const frozen = new Set<string>();
  const marks = new Map<string, "~" | "^">();
  const look = (term: AxisTerm, inherited?: AxisTerm["mark"]): void => {
    const mark = term.mark ?? inherited;
    if (term.kind === "window") for (const letter of lettersOf(term)) frozen.add(letter);
    if (term.kind === "product" || term.kind === "sum") for (const part of term.of) look(part, mark);
    else if (mark === "!") for (const letter of lettersOf(term)) frozen.add(letter);
    else if (mark !== undefined) for (const letter of lettersOf(term)) marks.set(letter, mark);
  };
  const operands = [...pattern.inputs, ...pattern.outputs].map((terms, i) =>
    spread(terms, [...n.inputs, ...n.results][i]?.shape),
  );
  for (const axes of operands) for (const { term } of axes) look(term);
  const lettersIn = (axes: (typeof operands)[number]) => new Set(axes.flatMap(({ term }) => lettersOf(term)));
  const left = new Set(operands.slice(0, pattern.inputs.length).flatMap((axes) => [...lettersIn(axes)]));
  const rights = operands.slice(pattern.inputs.length).map(lettersIn);
  const free = new Map<string, "+" | "~" | "^" | undefined>();
  for (const letter of left) {
    const size = sizes.get(letter) ?? 0;
    if (size < 2 || frozen.has(letter)) continue;
    free.set(letter, rights.every((letters) => letters.has(letter)) ? marks.get(letter) : (marks.get(letter) ?? "+"));
  }
  return free;
}

/** Keeps a seeded part of one letter: at least one index, and not all. */
export function maskOf(letter: string, size: number, seed: number): Masks {
  const next = random(seed);
  const keep = Array.from({ length: size }, () => next() < 0.5);
  if (keep.every(Boolean)) keep[pick(next, size)] = false;
  if (!keep.some(Boolean)) keep[pick(next, size)] = true;
  return new Map([[letter, keep]]);
}

const pick = (next: Random, size: number): number => Math.floor(next() * size);

/** Which positions of an axis stay: AXES §1, on one pattern. */
function keep(term: AxisTerm, size: number, masks: Masks, sizes: ReadonlyMap<string, number>): boolean[] {
  const all = (length: number): boolean[] => new Array<boolean>(length).fill(true);
  if (term.kind === "letter") return [...(size === 1 ? all(1) : (masks.get(term.letter) ?? all(size)))];
  if (term.kind === "product")
    return term.of
      .map((part) => keep(part, sizeIn(part, sizes), masks, sizes))
      .reduce((outer, inner) => outer.flatMap((o) => inner.map((i) => o && i)), [true]);
  if (term.kind === "sum") return term.of.flatMap((part) => keep(part, sizeIn(part, sizes), masks, sizes));
  return all(size);
}

function sizeIn(term: AxisTerm, sizes: ReadonlyMap<string, number>): number {
  if (term.kind === "letter") return sizes.get(term.letter) ?? 1;
  if (term.kind === "number") return term.size;
  if (term.kind === "product") return term.of.reduce((a, part) => a * sizeIn(part, sizes), 1);
  return term.kind === "sum" ? term.of.reduce((a, part) => a + sizeIn(part, sizes), 0) : 1;
}

/** Which positions of every axis of an operand stay. */
export function keepsOf(
  terms: readonly AxisTerm[],
  shape: readonly number[],
  masks: Masks,
  sizes: ReadonlyMap<string, number>,
): boolean[][] {
  const axes = spread(terms, shape);
  return shape.map((size, axis) => {
    const term = axes[axis]?.term;
    return term === undefined ? new Array<boolean>(size).fill(true) : keep(term, size, masks, sizes);
  });
}

/** The elements that stay. */
export function cutTensor(tensor: TensorData, keeps: readonly (readonly boolean[])[]): TensorData {
  const shape = keeps.map((k) => k.filter(Boolean).length);
  const kept = stays(tensor.shape, keeps);
  return { dtype: tensor.dtype, shape, data: (tensor.data as TypedArray).filter((_, i) => kept(i)) as TypedArray };
}

/** The axis on which an operand has a letter for the second time: a recurrence sums over it. */
export function secondAxis(terms: readonly AxisTerm[], shape: readonly number[], letter: string): number | undefined {
  const axes = spread(terms, shape).flatMap(({ term }, axis) => (lettersOf(term).includes(letter) ? [axis] : []));
  return axes[1];
}

/** Puts a number where something was cut. */
export function fillTensor(tensor: TensorData, keeps: readonly (readonly boolean[])[], value: number): TensorData {
  const kept = stays(tensor.shape, keeps);
  const data = (tensor.data as Float32Array).map((v, i) => (kept(i) ? v : (value as never)));
  return { ...tensor, data };
}

function stays(shape: readonly number[], keeps: readonly (readonly boolean[])[]): (index: number) => boolean {
  const strides = shape.map((_, axis) => elements(shape.slice(axis + 1)));
  return (index) =>
    shape.every((size, axis) => keeps[axis]?.[Math.floor(index / (strides[axis] as number)) % size] === true);
}

/** The sample after the cut: inputs cut, the numbers it holds made anew. */
export function cutSample(f: Followed, masks: Masks, results: readonly TensorData[], seed: number): Sample {
  const feeds = feedsOf(constantsFed(f.sample), seed);
  const sizes = new Map(f.sizes);
  for (const [letter, mask] of masks) sizes.set(letter, mask.filter(Boolean).length);
  const product = (term: string): number =>
    /^-?\d+$/.test(term) ? Number(term) : [...term].reduce((size, letter) => size * (sizes.get(letter) ?? 1), 1);
  const held = (expression: string): number[] => {
    const at = /^@(\d+)$/.exec(expression);
    if (at === null) return [expression.split("+").reduce((sum, term) => sum + product(term), 0)];
    const k = Number(at[1]);
    return keepsOf(f.pattern.outputs[k] ?? [], results[k]?.shape ?? [], masks, f.sizes).map(
      (axis) => axis.filter(Boolean).length,
    );
  };
  const attrs: Record<string, Attr> = { ...f.sample.attrs };
  const inputs = f.sample.inputs.map((input, i): SampleInput | undefined => {
    const feed = feeds[`x${i}`];
    if (input === undefined || feed === undefined) return undefined;
    const cut = cutTensor(feed, keepsOf(f.pattern.inputs[i] ?? [], feed.shape, masks, f.sizes));
    return { ...input, shape: cut.shape, values: Array.from(cut.data as ArrayLike<number>, Number) };
  });
  for (const [name, said] of Object.entries(f.rule.holds ?? {})) {
    const numbers = (typeof said === "string" ? [said] : said).flatMap(held);
    const index = Number(name);
    const input = inputs[index];
    if (said === "#" && input !== undefined) {
      inputs[index] = countedAnew(f, masks, input, f.sample.inputs[index]?.values as readonly number[], results);
      continue;
    }
    if (Number.isInteger(index) && input !== undefined)
      inputs[index] = { ...input, shape: [numbers.length].slice(0, input.shape.length), values: numbers };
    else if (!Number.isInteger(index)) {
      const before = f.sample.attrs?.[name];
      if (before !== undefined)
        attrs[name] = before.type === "ints" ? { ...before, value: numbers } : int(numbers[0] ?? 0);
    }
  }
  return { ...f.sample, attrs, inputs };
}

/** Indices into an axis that was cut: those of what stays, counted without what went. */
function countedAnew(
  f: Followed,
  masks: Masks,
  input: SampleInput,
  before: readonly number[],
  results: readonly TensorData[],
): SampleInput {
  const attr = f.sample.attrs?.axis;
  const shape = f.sample.inputs[0]?.shape ?? [];
  const axis = ((attr?.type === "int" ? Number(attr.value) : 0) + shape.length) % shape.length;
  const stays = keepsOf(f.pattern.inputs[0] ?? [], shape, masks, f.sizes)[axis] ?? [];
  const read =
    input.shape.length === 0
      ? [true]
      : (keepsOf(f.pattern.outputs[0] ?? [], results[0]?.shape ?? [], masks, f.sizes)[axis] ?? []);
  const place = (index: number): number =>
    stays.slice(0, index < 0 ? index + stays.length : index).filter(Boolean).length;
  const values = before.filter((_, i) => read[i] === true).map(place);
  return { ...input, shape: input.shape.length === 0 ? [] : [values.length], values };
}

/** The sample with its constants fed, so that they have numbers a law can cut. */
export const constantsFed = (sample: Sample): Sample => ({
  ...sample,
  inputs: sample.inputs.map((input) => input && { ...input, constant: false }),
});
