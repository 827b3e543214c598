import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { elements, float32s, readFloats } from "../ir/tensor.ts";
import { usesOf } from "../ir/walk.ts";
import { solveDefinite } from "../numeric/cholesky.ts";
import { averagesOf, examplesOf, type MeasureData, observing, productsAlong } from "./activations.ts";
import { type Axis, keep, type Masks, sizeOf } from "./axis.ts";
import type { Derivation, Flow } from "./derive.ts";
import { gathered } from "./gather.ts";

/** A weight that sums over what was cut, and the value it is summed against. */
interface Reader {
  readonly weight: string;
  /** The axis of the weight that is summed over. */
  readonly along: number;
  readonly value: string;
  readonly axis: number;
}

/** Axes longer than this are left: their products would not fit. */
const LONGEST = 2048;
/** Numbers of the matrices that are measured in one run over the data. */
const AT_ONCE = 2 ** 24;

/**
 * Fits the weights that read what was cut, so that they give what they gave before: where x_R goes and x_S stays, x_R ≈ A·x_S by
 * least squares over the data, and W_S + W_R·A takes the place of W_S, at every tap of a kernel. Source: He et al., "Channel
 * Pruning for Accelerating Very Deep Neural Networks", arXiv 1707.06168, section 3.1, in closed form on the whole model's
 * activations. `small` is what `cut` gave; gives it with those weights changed, and how many there are.
 */
export async function reconstruct(
  d: Derivation,
  masks: Masks,
  small: Model,
  options: MeasureData,
): Promise<{ model: Model; weights: number }> {
  const readers = readersOf(d, masks).filter(({ weight }) => small.graph.weights.has(weight));
  const byPlace = new Map<string, Reader[]>();
  for (const reader of readers) {
    const key = `${reader.axis} ${reader.value}`;
    byPlace.set(key, [...(byPlace.get(key) ?? []), reader]);
  }
  const e = edit(small.graph);
  for (const places of portions(d, [...byPlace.values()])) {
    const measured = edit(d.model.graph);
    const names = places.map(([first]) => productsAlong(d, measured, first as Reader));
    const products = await averagesOf(observing(d.model, measured, names), names, examplesOf(options.data), options);
    for (const [i, sharing] of places.entries()) {
      const { value, axis } = sharing[0] as Reader;
      const mask = keep(d.axes.get(value)?.[axis] as Axis, masks) as Uint8Array;
      const map = mapOf(products[i] as Float64Array, mask);
      for (const reader of sharing) e.setWeight(reader.weight, await refitted(d, masks, reader, mask, map));
    }
  }
  return { model: { ...small, graph: e.done() }, weights: readers.length };
}

/** Weights, read by one node alone, whose summed axis is that of a computed value, position by position. */
function readersOf(d: Derivation, masks: Masks): Reader[] {
  const { readers } = usesOf(d.model.graph);
  return d.flows.flatMap((flow): Reader[] => {
    const places = summed(d, flow, masks);
    const [weight, ...others] = places.filter(({ name }) => d.model.graph.weights.has(name));
    const [value, ...more] = places.filter(({ name }) => !d.model.graph.weights.has(name));
    if (weight === undefined || value === undefined || others.length + more.length > 0) return [];
    const alone = readers.get(weight.name)?.length === 1 && d.model.graph.weights.get(weight.name)?.dtype === "float32";
    const size = sizeOf(d.axes.get(weight.name)?.[weight.axis] as Axis);
    if (!alone || weight.letters !== value.letters || size > LONGEST) return [];
    return [{ weight: weight.name, along: weight.axis, value: value.name, axis: value.axis }];
  });
}

function summed(d: Derivation, { node, contractions }: Flow, masks: Masks) {
  return contractions.flatMap(({ input, axis, kind, letters }) => {
    const name = node.inputs[input] ?? "";
    const own = d.axes.get(name)?.[axis];
    return kind === "+" && own !== undefined && keep(own, masks) !== undefined ? [{ name, axis, letters }] : [];
  });
}

function* portions(d: Derivation, places: readonly Reader[][]): Generator<Reader[][]> {
  let [portion, count]: [Reader[][], number] = [[], 0];
  for (const place of places) {
    const { value, axis } = place[0] as Reader;
    const size = sizeOf(d.axes.get(value)?.[axis] as Axis) ** 2;
    if (count + size > AT_ONCE && portion.length > 0) {
      yield portion;
      [portion, count] = [[], 0];
    }
    portion.push(place);
    count += size;
  }
  if (portion.length > 0) yield portion;
}

/** A [gone, kept] of x_R ≈ A·x_S, row-major. */
function mapOf(products: Float64Array, mask: Uint8Array): Float64Array {
  const n = mask.length;
  const [kept, gone] = [1, 0].map((stays) => [...mask.keys()].filter((i) => mask[i] === stays)) as [number[], number[]];
  const among = (rows: readonly number[]) =>
    Float64Array.from(rows.flatMap((r) => kept.map((c) => products[r * n + c] as number)));
  const a = among(kept);
  const trace = kept.reduce((sum, _, i) => sum + (a[i * kept.length + i] as number), 0);
  for (let i = 0; i < kept.length; i++) a[i * kept.length + i]! += 1e-4 * (trace / kept.length) + 1e-12;
  return solveDefinite(a, among(gone), kept.length);
}

/** W_S + W_R·A along the summed axis, cut along the others. */
async function refitted(d: Derivation, masks: Masks, { weight, along }: Reader, mask: Uint8Array, map: Float64Array) {
  const axes = d.axes.get(weight) as readonly Axis[];
  const keeps = axes.map((axis, i) => (i === along ? undefined : keep(axis, masks)));
  const whole = await gathered(d.model.graph.weights.get(weight)!, keeps);
  const from = await readFloats(whole);
  const [kept, gone] = [1, 0].map((stays) => [...mask.keys()].filter((i) => mask[i] === stays)) as [number[], number[]];
  const outer = elements(whole.shape.slice(0, along));
  const inner = elements(whole.shape.slice(along + 1));
  const shape = whole.shape.map((size, i) => (i === along ? kept.length : size));
  const to = new Float32Array(elements(shape));
  for (let o = 0; o < outer; o++) {
    const base = o * mask.length * inner;
    for (let t = 0; t < inner; t++)
      for (const [s, own] of kept.entries()) {
        let sum = from[base + own * inner + t]!;
        for (let r = 0; r < gone.length; r++) sum += map[r * kept.length + s]! * from[base + gone[r]! * inner + t]!;
        to[(o * kept.length + s) * inner + t] = sum;
      }
  }
  return float32s(shape, to);
}
