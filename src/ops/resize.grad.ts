import { float, ints } from "../ir/attrs.ts";
import type { Backward, Gradients } from "./gradient.ts";
import { alongAxis } from "./scattered.ts";

/** How a Resize treats one axis. */
interface AxisResize {
  readonly from: number;
  readonly to: number;
  /** The scale it is given, or the size it is asked for. */
  readonly scale?: number;
  readonly size?: number;
  /** The axis whose scale all axes take to keep proportions, with the size it has and the one asked for. */
  readonly leader?: { readonly from: number; readonly size: number };
  /** The stretch that is cut out, from 0 to 1. */
  readonly region: readonly [number, number];
}

/** What each position of the result takes of each position of an axis: [to, from]. It is the Resize of one-hot columns. */
function weightsOf(g: Backward, { from, to, scale, size, leader, region }: AxisResize): string {
  const dtype = "float32";
  const eye = Float32Array.from({ length: from * from }, (_, i) => (i % (from + 1) === 0 ? 1 : 0));
  const columns = g.constant(dtype, [from, 1, from, 1], eye);
  const beside = leader?.from ?? 1;
  const { axes: _axes, extrapolation_value: _value, keep_aspect_ratio_policy, ...attrs } = g.node.attrs;
  const crops = g.text("coordinate_transformation_mode", "half_pixel") === "tf_crop_and_resize";
  const roi = crops ? g.constant(dtype, [8], [0, 0, region[0], 0, 1, 1, region[1], 1]) : "";
  const scales = scale === undefined ? "" : g.constant(dtype, [4], [1, 1, scale, 1]);
  const sizes = size === undefined ? [] : [leader ? g.ints([size, leader.size]) : g.ints([from, 1, size, 1])];
  const resized = g.op("Resize", [g.expand(columns, [from, 1, from, beside]), roi, scales, ...sizes], {
    ...attrs,
    ...(crops && { extrapolation_value: float(0) }),
    ...(leader && keep_aspect_ratio_policy && { axes: ints([2, 3]), keep_aspect_ratio_policy }),
  });
  const one = leader === undefined ? resized : g.slice(resized, [0], [1], [3]);
  return g.cast(g.transposeLast(g.reshape(one, [from, to])), g.dtype(g.dy));
}

/** The axes that are resized, each by its own rule; those that stay as they are left out. */
function resizedAxes(g: Backward): ReadonlyMap<number, AxisResize> {
  const [x] = g.x as [string];
  const [from, to] = [g.shape(x), g.shape(g.y)];
  const axes = (g.list("axes") ?? from.map((_, i) => i)).map((axis) => g.axis(axis, x));
  const crops = g.text("coordinate_transformation_mode", "half_pixel") === "tf_crop_and_resize";
  const roi = crops ? g.known(1) : [];
  const bySize = Boolean(g.x[3]) && g.size(g.x[3] as string) > 0;
  const asked = bySize ? g.known(3) : g.known(2);
  const policy = g.text("keep_aspect_ratio_policy", "stretch");
  const ratios = axes.map((axis, i) => (asked[i] as number) / (from[axis] as number));
  const led = bySize && policy !== "stretch";
  const lead = ratios.indexOf(policy === "not_larger" ? Math.min(...ratios) : Math.max(...ratios));
  const found = new Map<number, AxisResize>();
  axes.forEach((axis, i) => {
    const [own, number] = [from[axis] as number, asked[i] as number];
    if (!crops && !led && (bySize ? number === own : number === 1)) return;
    found.set(axis, {
      from: own,
      to: to[axis] as number,
      region: [roi[i] ?? 0, roi[i + axes.length] ?? 1],
      ...(bySize ? { size: number } : { scale: number }),
      ...(led && i !== lead && { leader: { from: from[axes[lead] as number] as number, size: asked[lead] as number } }),
    });
  });
  return found;
}

export const resizeGradients: Gradients = {
  // y = M₁ x M₂ᵀ …, one matrix of interpolation weights for each axis: dx = M₁ᵀ dy M₂ …
  Resize: (g) => {
    let dx = g.dy;
    for (const [axis, what] of resizedAxes(g)) dx = alongAxis(g, dx, axis, weightsOf(g, what));
    return [dx];
  },
};
