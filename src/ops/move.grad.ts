import { int } from "../ir/attrs.ts";
import type { Backward, Gradients } from "./gradient.ts";
import { addedAt } from "./scattered.ts";

/** The permutation that undoes another. */
export const inverse = (perm: readonly number[]): readonly number[] => perm.map((_, axis) => perm.indexOf(axis));

const reversed = (rank: number): readonly number[] => Array.from({ length: rank }, (_, i) => rank - 1 - i);

/** Each joined part gets its stretch of the axis. */
function parted(g: Backward): readonly (string | undefined)[] {
  const axis = g.axis(g.int("axis", 0), g.y);
  const sizes = g.x.map((name) => g.shape(name)[axis] as number);
  const wanted = g.x.flatMap((_, i) => (g.wants(i) ? [i] : []));
  if (wanted.length > 1) return g.ops("Split", [g.dy, g.ints(sizes)], sizes.length, { axis: int(axis) });
  const before = (i: number) => sizes.slice(0, i).reduce((a, b) => a + b, 0);
  return g.x.map((_, i) => (g.wants(i) ? g.slice(g.dy, [before(i)], [before(i + 1)], [axis]) : undefined));
}

/** The parts joined again; zeros where the loss does not depend on one. */
function joined(g: Backward): readonly string[] {
  const [x] = g.x as [string];
  const axis = g.axis(g.int("axis", 0), x);
  const size = g.shape(x)[axis] as number;
  const each = Math.ceil(size / g.int("num_outputs", g.ys.length));
  const sizes = g.x[1] ? g.known(1) : g.ys.map((_, i) => Math.min(each, size - i * each));
  const zeros = (length: number) => {
    const shape = g.shape(x).map((d, i) => (i === axis ? length : d));
    return g.expand(g.scalar(0, g.dtype(x)), shape);
  };
  const parts = sizes.map((length, i) => g.dys[i] ?? zeros(length));
  const rest = size - sizes.reduce((a, b) => a + b, 0);
  return [g.concat(rest > 0 ? [...parts, zeros(rest)] : parts, axis)];
}

export const moveGradients: Gradients = {
  // y = x with its axes in another order: dx = dy with them put back
  Transpose: (g) => [g.transpose(g.dy, inverse(g.list("perm") ?? reversed(g.rank(g.y))))],
  // y = [x₀ x₁ …]: dx₀ is the first stretch of dy, dx₁ the next
  Concat: parted,
  // [y₀ y₁ …] = x: dx = [dy₀ dy₁ …]
  Split: joined,
  // y[n] = x[iₙ]: dx[v] = Σ over all n with iₙ = v of dy[n]
  Gather: (g) => {
    const [x, indices] = g.x as [string, string];
    return [addedAt(g, { shape: g.shape(x), axis: g.axis(g.int("axis", 0), x), indices, values: g.dy })];
  },
};
