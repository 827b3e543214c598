import type { Backward, Gradients } from "./gradient.ts";
import { alongAxis } from "./scattered.ts";
import { cutOf } from "./slice.ts";

/** Numbers a matrix of places may have. */
const SMALL_MATRIX = 65_536;

/** A run of positions of one axis, every `step`-th, back in an axis of `size`: zeros between and around. */
function placed(g: Backward, dy: string, axis: number, size: number, start: number, step: number): string {
  const shape = g.shape(dy);
  const [count, stride] = [shape[axis] as number, Math.abs(step)];
  if (count === 0)
    return g.expand(
      g.scalar(0, g.dtype(dy)),
      shape.map((d, i) => (i === axis ? size : d)),
    );
  const forward = step > 0 ? dy : g.slice(dy, [count - 1], [-(count + 1)], [axis], [-1]);
  const first = step > 0 ? start : start + (count - 1) * step;
  if (stride === 1) return around(g, forward, axis, first, size - first - count);
  // Along the last axis a product with ones where positions go is quicker than zeros put between single numbers (0.3 ms against 5).
  if (axis === shape.length - 1 && count * size <= SMALL_MATRIX) {
    const places = Array.from({ length: count * size }, (_, at) =>
      Number(at % size === first + Math.floor(at / size) * stride),
    );
    return g.op("MatMul", [forward, g.constant(g.dtype(dy), [count, size], places)]);
  }
  // Zeros between: each position becomes a step of its own, beginning where the cut does if all steps are whole.
  const whole = count * stride === size && first < stride;
  const before = whole ? first : 0;
  const split = g.reshape(forward, [...shape.slice(0, axis), count, 1, ...shape.slice(axis + 1)]);
  const spread = g.reshape(
    around(g, split, axis + 1, before, stride - 1 - before),
    shape.map((d, i) => (i === axis ? d * stride : d)),
  );
  if (whole) return spread;
  return around(g, spread, axis, first, size - first - count * stride);
}

/** Zeros before and after along one axis; negative numbers cut positions off. */
function around(g: Backward, a: string, axis: number, before: number, after: number): string {
  const rank = g.rank(a);
  const pads = Array.from({ length: 2 * rank }, (_, i) => (i === axis ? before : i === rank + axis ? after : 0));
  return g.pad(a, pads);
}

/** dx is dy at the positions that were taken, and zero elsewhere. */
function slice(g: Backward): readonly string[] {
  const [x] = g.x as [string];
  const [starts, ends] = [g.known(1), g.known(2)];
  const axes = g.x[3] ? g.known(3) : [...starts.keys()];
  const steps = g.x[4] ? g.known(4) : starts.map(() => 1);
  let dx = g.dy;
  axes.forEach((given, i) => {
    const axis = g.axis(given, x);
    const size = g.shape(x)[axis] as number;
    const step = steps[i] as number;
    const { start } = cutOf(size, starts[i] as number, ends[i] as number, step);
    dx = placed(g, dx, axis, size, start as number, step);
  });
  return [dx];
}

/** What each position of a padded axis is read from, −1 for the constant. */
function sources(mode: string, size: number, before: number, after: number): readonly number[] {
  return Array.from({ length: size + before + after }, (_, i) => {
    const at = i - before;
    if (at >= 0 && at < size) return at;
    if (mode === "edge") return at < 0 ? 0 : size - 1;
    if (mode === "wrap") return ((at % size) + size) % size;
    return at < 0 ? -at : 2 * (size - 1) - at;
  });
}

/** What was read several times gets the sum of all of it: along each padded axis, a product with the matrix of what was read. */
function folded(g: Backward, mode: string, pads: readonly (readonly [number, number])[]): string {
  let dx = g.dy;
  pads.forEach(([before, after], axis) => {
    if (before === 0 && after === 0) return;
    const size = g.shape(g.x[0] as string)[axis] as number;
    const rows = sources(mode, size, before, after);
    const matrix = new Float32Array(rows.length * size);
    for (const [i, source] of rows.entries()) matrix[i * size + source] = 1;
    dx = alongAxis(g, dx, axis, g.constant(g.dtype(dx), [rows.length, size], matrix));
  });
  return dx;
}

function pad(g: Backward): readonly (string | undefined)[] {
  const [x] = g.x as [string];
  const mode = g.text("mode", "constant");
  const given = g.known(1);
  const axes = (g.x[3] ? g.known(3) : g.shape(x).map((_, i) => i)).map((axis) => g.axis(axis, x));
  const pads = g.shape(x).map((_, axis): readonly [number, number] => {
    const i = axes.indexOf(axis);
    return i < 0 ? [0, 0] : [given[i] as number, given[i + axes.length] as number];
  });
  if (mode !== "constant") return [folded(g, mode, pads)];
  const kept = g.pad(g.dy, [...pads.map(([before]) => -before), ...pads.map(([, after]) => -after)]);
  const all = (a: string) => g.sum(a, [...Array(g.rank(a)).keys()], false);
  const value = g.x[2] && g.wants(2) ? g.sub(all(g.dy), all(kept)) : undefined;
  return [kept, undefined, value && g.reshape(value, g.shape(g.x[2] as string))];
}

/** Cut or padded about the middle: the same about the other way. */
function centerCropPad(g: Backward): readonly string[] {
  const [from, to] = [g.shape(g.x[0] as string), g.shape(g.y)];
  const before = from.map((size, i) => {
    const added = (to[i] as number) - size;
    return added > 0 ? Math.floor(added / 2) : -Math.floor(-added / 2);
  });
  const after = from.map((size, i) => (to[i] as number) - size - (before[i] as number));
  return [g.pad(g.dy, [...before.map((p) => -p), ...after.map((p) => -p)])];
}

export const sliceGradients: Gradients = {
  // y[i] = x[start + i·step]: dx is dy there, zero elsewhere
  Slice: slice,
  // y[i] = x[i − before], or the constant; reflected, repeated or wrapped around beyond the ends: dx sums what read it
  Pad: pad,
  // y[i] = x[i − before], cut or with zeros around
  CenterCropPad: centerCropPad,
};
