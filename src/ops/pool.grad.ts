import { int, string } from "../ir/attrs.ts";
import { elements } from "../ir/tensor.ts";
import { inputGradient } from "./conv.grad.ts";
import type { Backward, Gradients } from "./gradient.ts";
import { padded, type Slide, slideAttrs, slideOf, spatialAxes, tapped, taps } from "./slide.grad.ts";

/** Stands around pictures for what is never the largest. */
const LOWEST = -3.4e38;

const slideOfPool = (g: Backward): Slide =>
  slideOf(
    g.node,
    g.list("kernel_shape") as readonly number[],
    g.shape(g.x[0] as string).slice(2),
    g.shape(g.y).slice(2),
  );

/** Every position gives what it is worth to each element of its window: a depthwise transposed convolution with ones. */
function spread(g: Backward, dy: string, s: Slide): string {
  const channels = g.shape(g.y)[1] as number;
  const ones = g.expand(g.scalar(1, g.dtype(dy)), [channels, 1, ...s.kernel]);
  return inputGradient(g, dy, ones, s, channels);
}

/** The gradient of MaxPool by comparing: at each tap what is the largest, and was at no tap before, gets the window's gradient. */
function tapByTap(g: Backward, x: string, s: Slide): string {
  const [channels, ...out] = g.shape(g.y).slice(1) as [number, ...number[]];
  const batch = g.shape(x)[0] as number;
  const all = taps(s.kernel);
  const wide = padded(g, x, s, LOWEST);
  let left: string | undefined;
  const given = all.map((tap) => {
    const largest = g.mask(g.is("Equal", tapped(g, x, wide, s, tap, out), g.y), x);
    const first = left === undefined ? largest : g.mul(largest, left);
    left = left === undefined ? g.sub(1, first) : g.sub(left, first);
    return g.reshape(g.mul(g.dy, first), [batch, channels, 1, ...out]);
  });
  const ones = all.flatMap((_, i) => all.map((_, k) => Number(i === k)));
  const places = g.constant(g.dtype(x), [1, all.length, 1, ...s.kernel], ones);
  const kernel = g.reshape(g.expand(places, [channels, all.length, 1, ...s.kernel]), [
    channels * all.length,
    1,
    ...s.kernel,
  ]);
  return inputGradient(g, g.reshape(g.concat(given, 2), [batch, channels * all.length, ...out]), kernel, s, channels);
}

/** Of how many elements each position is the average, [1, 1, …out]: the same for every example and channel. */
function counts(g: Backward, s: Slide): string {
  const [sizes, out] = [g.shape(g.x[0] as string).slice(2), g.shape(g.y).slice(2)];
  const padding = g.int("count_include_pad", 0) === 1;
  const declared = g.list("pads")?.slice(s.kernel.length) ?? s.end;
  const perAxis = out.map((count, i) => {
    const low = padding ? -(s.begin[i] as number) : 0;
    const high =
      (sizes[i] as number) +
      (padding
        ? g.text("auto_pad", "NOTSET") === "NOTSET"
          ? (declared[i] as number)
          : Math.max(0, s.end[i] as number)
        : 0);
    return Array.from({ length: count }, (_, o) => {
      const start = o * (s.strides[i] as number) - (s.begin[i] as number);
      const read = Array.from({ length: s.kernel[i] as number }, (_, t) => start + t * (s.dilations[i] as number));
      return read.filter((at) => at >= low && at < high).length;
    });
  });
  const all = perAxis.reduce((sofar, axis) => sofar.flatMap((a) => axis.map((b) => a * b)), [1]);
  return g.constant(g.dtype(g.dy), [1, 1, ...out], all);
}

/** A value of [N, C, 1…] at every position of the input. */
const everywhere = (g: Backward, value: string): string => g.expand(value, g.shape(g.x[0] as string));

/** sign(x)·|x|^(p−1) and y^(1−p), 0 where y is 0: the two factors of d‖x‖_p. */
function normSlopes(g: Backward): { readonly of: string; readonly by: string } {
  const [x, p] = [g.x[0] as string, g.int("p", 2)];
  if (p === 1) return { of: g.op("Sign", [x]), by: g.dy };
  const of = p === 2 ? x : g.mul(g.op("Sign", [x]), g.pow(g.op("Abs", [x]), p - 1));
  const safe = g.where(g.is("Greater", g.y, 0), g.y, 1);
  return { of, by: g.where(g.is("Greater", g.y, 0), g.div(g.dy, g.pow(safe, p - 1)), 0) };
}

export const poolGradients: Gradients = {
  // The first largest element of a window gets its gradient; windows that overlap add up
  MaxPool: (g) => {
    const x = g.x[0] as string;
    const s = slideOfPool(g);
    if (g.portable) return [tapByTap(g, x, s)];
    const ceil = g.int("ceil_mode", 0) === 1;
    const [, places] = g.ops("MaxPool", [x], 2, { ...slideAttrs(s), ...(ceil && { ceil_mode: int(1) }) }) as [
      string,
      string,
    ];
    const overlap = s.kernel.some((k, i) => (k - 1) * (s.dilations[i] as number) >= (s.strides[i] as number));
    const flat = [g.size(g.y)];
    const zeros = g.expand(g.scalar(0, g.dtype(x)), [g.size(x)]);
    const inputs = [zeros, g.reshape(places, flat), g.reshape(g.dy, flat)];
    return [g.reshape(g.op("ScatterElements", inputs, overlap ? { reduction: string("add") } : {}), g.shape(x))];
  },
  // d mean = Σ dx / count
  AveragePool: (g) => {
    const s = slideOfPool(g);
    return [spread(g, g.div(g.dy, counts(g, s)), s)];
  },
  // dx = dy / positions
  GlobalAveragePool: (g) => [everywhere(g, g.mul(g.dy, 1 / elements(g.shape(g.x[0] as string).slice(2))))],
  // Those equal to the largest share its gradient
  GlobalMaxPool: (g) => {
    const x = g.x[0] as string;
    const largest = g.mask(g.is("Equal", x, g.y), x);
    return [g.mul(largest, g.div(g.dy, g.sum(largest, spatialAxes(g.rank(x) - 2))))];
  },
  // dx = dy · sign(x) |x|^(p−1) / y^(p−1)
  LpPool: (g) => {
    const { of, by } = normSlopes(g);
    return [g.mul(of, spread(g, by, slideOfPool(g)))];
  },
  GlobalLpPool: (g) => {
    const { of, by } = normSlopes(g);
    return [g.mul(of, by)];
  },
  // Each value gets the gradient of the place it was put at
  MaxUnpool: (g) => {
    const [x, places] = g.x as [string, string];
    const flat = [g.size(x)];
    const taken = g.op("GatherElements", [g.reshape(g.dy, [g.size(g.dy)]), g.reshape(places, flat)]);
    return [g.reshape(taken, g.shape(x))];
  },
  "com.microsoft:QLinearAveragePool": { missing: "it computes in integers; train the float model" },
};
