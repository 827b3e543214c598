import { matcher } from "../train/globs.ts";
import type { Place } from "./activations.ts";
import type { Contraction, Derivation, Flow } from "./derive.ts";

/** A weight as a matrix: outputs by what is summed over. Element (r, c) stands at `rowAt[r] + columnAt[c]`. */
export interface WeightMatrix {
  readonly weight: string;
  readonly rowAt: Int32Array;
  readonly columnAt: Int32Array;
  /** What the columns are summed against, where an axis of the weight is the same as one of a computed value. */
  readonly input?: Place;
  /** Of each column, the index along that axis: taps of a kernel share it. */
  readonly featureOf: Int32Array;
}

/** The float32 weights of two axes or more that something sums over, each once, in the order of the nodes. */
export function matricesOf(d: Derivation, ignoredLayers: readonly string[] = []): WeightMatrix[] {
  const isIgnored = matcher(ignoredLayers);
  const found = new Map<string, WeightMatrix>();
  for (const flow of d.flows)
    for (const name of new Set(flow.node.inputs)) {
      const tensor = d.model.graph.weights.get(name);
      if (tensor?.dtype !== "float32" || found.has(name) || isIgnored(name) || isIgnored(flow.node.name)) continue;
      const matrix = matrixOf(d, flow, name, tensor.shape);
      if (matrix !== undefined) found.set(name, matrix);
    }
  return [...found.values()];
}

function matrixOf(d: Derivation, flow: Flow, weight: string, shape: readonly number[]): WeightMatrix | undefined {
  const { node, contractions } = flow;
  const own = contractions.filter(({ input, kind }) => node.inputs[input] === weight && kind === "+");
  const all = own.map(({ axis }) => axis);
  const input = inputOf(d, flow, own);
  // Channels of one tap stand one after the other, as the kernels for N:M want them.
  const summed = input === undefined ? all : [...all.filter((axis) => axis !== input.along), input.along];
  const rows = shape.flatMap((_, axis) => (summed.includes(axis) ? [] : [axis]));
  const [rowAt, columnAt] = [offsets(shape, rows), offsets(shape, summed)];
  if (rowAt.length < 2 || columnAt.length < 2) return undefined;
  const featureOf = input === undefined ? new Int32Array(columnAt.length) : coordinates(shape, summed, input.along);
  return { weight, rowAt, columnAt, featureOf, ...(input && { input: input.place }) };
}

/** The axis of a computed value that one of these axes of a weight is summed against. */
function inputOf(d: Derivation, { node, contractions }: Flow, own: readonly Contraction[]) {
  for (const { input, axis, kind, letters } of contractions) {
    const value = node.inputs[input] ?? "";
    if (kind !== "+" || d.model.graph.weights.has(value) || d.facts.get(value)?.dtype !== "float32") continue;
    const along = own.find((other) => letters !== "" && other.letters === letters)?.axis;
    if (along !== undefined) return { place: { value, axis }, along };
  }
  return undefined;
}

/** The places of all combinations of positions along some axes. */
function offsets(shape: readonly number[], axes: readonly number[]): Int32Array {
  let out = Int32Array.of(0);
  for (const axis of axes) {
    const stride = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const size = shape[axis] as number;
    const next = new Int32Array(out.length * size);
    for (let i = 0; i < next.length; i++) next[i] = (out[Math.floor(i / size)] as number) + stride * (i % size);
    out = next;
  }
  return out;
}

/** Of each combination the position along one of the axes. */
function coordinates(shape: readonly number[], axes: readonly number[], along: number): Int32Array {
  const count = axes.reduce((product, axis) => product * (shape[axis] as number), 1);
  const inner = axes.slice(axes.indexOf(along) + 1).reduce((product, axis) => product * (shape[axis] as number), 1);
  return Int32Array.from({ length: count }, (_, i) => Math.floor(i / inner) % (shape[along] as number));
}
