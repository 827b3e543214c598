import { int } from "../ir/attrs.ts";
import type { Backward } from "./gradient.ts";

/** A position along one axis that is read, with its weight; both [batch, points]. */
interface Tap {
  readonly index: string;
  readonly weight: string | undefined;
}

/** How sharply cubic interpolation bends, as ONNX has it. */
const A = -0.75;

const near = (g: Backward, f: string): string => g.add(g.mul(g.mul(f, f), g.sub(g.mul(f, A + 2), A + 3)), 1);

const far = (g: Backward, f: string): string =>
  g.sub(g.mul(g.add(g.mul(g.sub(g.mul(f, A), 5 * A), f), 8 * A), f), 4 * A);

/** What is read along an axis about a position that is no integer. */
function tapsAt(g: Backward, position: string): readonly Tap[] {
  const mode = g.text("mode", "linear");
  if (mode === "nearest") return [{ index: g.op("Round", [position]), weight: undefined }];
  const base = g.op("Floor", [position]);
  const f = g.sub(position, base);
  const rest = g.sub(1, f);
  const at = (step: number, weight: string): Tap => ({ index: g.add(base, step), weight });
  if (mode === "linear" || mode === "bilinear") return [at(0, rest), at(1, f)];
  return [at(-1, far(g, g.add(f, 1))), at(0, near(g, f)), at(1, near(g, rest)), at(2, far(g, g.add(rest, 1)))];
}

/** Bounced off both ends as often as it takes. */
function reflected(g: Backward, position: string, size: number): string {
  const [low, range] = g.int("align_corners", 0) === 1 ? [0, size - 1] : [-0.5, size];
  const way = g.sub(position, low);
  const within = g.sub(way, g.mul(g.op("Floor", [g.div(way, 2 * range)]), 2 * range));
  return g.sub(low + range, g.op("Abs", [g.sub(within, range)]));
}

/** Positions of pixels from −1 … 1, inside the image as `padding_mode` has it. */
function positionOf(g: Backward, grid: string, size: number): string {
  const corners = g.int("align_corners", 0) === 1;
  const scaled = corners ? g.mul(g.add(grid, 1), (size - 1) / 2) : g.div(g.sub(g.mul(g.add(grid, 1), size), 1), 2);
  const padding = g.text("padding_mode", "zeros");
  if (padding === "reflection") return reflected(g, scaled, size);
  // Cubic interpolation keeps the position, and holds each pixel it reads inside.
  return padding === "border" && !g.text("mode", "linear").includes("cubic") ? held(g, scaled, size) : scaled;
}

const held = (g: Backward, a: string, size: number): string =>
  g.op("Clip", [a, g.scalar(0, g.dtype(a)), g.scalar(size - 1, g.dtype(a))]);

/** Index and weight inside the axis: what lies outside weighs nothing, or is read from within. */
function inside(g: Backward, { index, weight }: Tap, size: number): Tap {
  const padding = g.text("padding_mode", "zeros");
  const place = padding === "reflection" ? reflected(g, index, size) : index;
  const own = held(g, place, size);
  if (padding !== "zeros") return { index: own, weight };
  const mask = g.mask(g.is("Equal", own, index), index);
  return { index: own, weight: weight === undefined ? mask : g.mul(weight, mask) };
}

/** The image read at each point of the grid, as lookups and weighted sums. */
export function gridSampled(g: Backward): readonly string[] {
  const [x, grid] = g.x as [string, string];
  const [batch, channels, ...spatial] = g.shape(x) as [number, number, ...number[]];
  const points = g.size(grid) / batch / spatial.length;
  const size = g.size(x) / batch / channels;
  const coordinates = g.ops(
    "Split",
    [g.reshape(grid, [batch, points, spatial.length]), g.ints(spatial.map(() => 1))],
    spatial.length,
    { axis: int(2) },
  );
  let taps: Tap[] = [];
  spatial.forEach((length, axis) => {
    // A grid names the last axis first.
    const along = g.reshape(coordinates[spatial.length - 1 - axis] as string, [batch, points]);
    const own = tapsAt(g, positionOf(g, along, length)).map((tap) => inside(g, tap, length));
    const join = (a: Tap, b: Tap): Tap => ({
      index: g.add(g.mul(a.index, length), b.index),
      weight: a.weight && b.weight ? g.mul(a.weight, b.weight) : (a.weight ?? b.weight),
    });
    taps = axis === 0 ? own : taps.flatMap((a) => own.map((b) => join(a, b)));
  });
  const pixels = g.transpose(g.reshape(x, [batch, channels, size]), [0, 2, 1]);
  const read = taps.map(({ index, weight }) => {
    const rows = g.reshape(g.cast(index, "int64"), [batch, points, 1]);
    const values = g.op("GatherND", [pixels, rows], { batch_dims: int(1) });
    return weight === undefined ? values : g.mul(values, g.reshape(weight, [batch, points, 1]));
  });
  const sum = read.length === 1 ? (read[0] as string) : g.op("Sum", read);
  return [g.reshape(g.transpose(sum, [0, 2, 1]), g.shape(g.y))];
}
