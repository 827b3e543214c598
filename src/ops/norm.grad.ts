import { float, int, ints } from "../ir/attrs.ts";
import type { Backward, Gradient, Gradients } from "./gradient.ts";
import { nonZero } from "./reduce.grad.ts";

/** x̂ = (x − mean) · r over the axes, with r = 1 / √(variance + ε); or of the root mean square, without the mean. */
interface Normal {
  readonly normal: string;
  readonly r: string;
  readonly axes: readonly number[];
  readonly centered: boolean;
}

const from = (first: number, rank: number): number[] => Array.from({ length: rank - first }, (_, i) => first + i);

/** Normalizes again over the axes from `first` on: one LayerNormalization, which gives r too. */
function centered(g: Backward, x: string, first: number, epsilon: number): Normal {
  const ones = g.expand(g.scalar(1, g.dtype(x)), g.shape(x).slice(first));
  const attrs = { axis: int(first), epsilon: float(epsilon) };
  const [normal, , r] = g.ops("LayerNormalization", [x, ones], 3, attrs) as [string, string, string];
  return { normal, r: g.cast(r, g.dtype(x)), axes: from(first, g.rank(x)), centered: true };
}

function rootMeanSquare(g: Backward, x: string, first: number, epsilon: number): Normal {
  const axes = from(first, g.rank(x));
  // Half the time of ReduceSumSquare, in ONNX Runtime on a CPU.
  const square = g.mean(g.mul(x, x), axes);
  const r = g.op("Reciprocal", [g.op("Sqrt", [g.add(square, epsilon)])]);
  return { normal: g.mul(x, r), r, axes, centered: false };
}

/**
 * With d = dx̂: dx = r(d − mean d − x̂ · mean(d x̂)), without `mean d` for the root mean square. What the loss gains by the
 * mean and by r themselves joins those two means: d mean = mean dx, and d r = −r² x̂ dx / n.
 */
function through(g: Backward, { normal, r, axes, centered }: Normal, d: string, dMean?: string, dr?: string): string {
  const count = axes.reduce((product, axis) => product * (g.shape(normal)[axis] as number), 1);
  let along = g.mean(g.mul(d, normal), axes);
  if (dr) along = g.add(along, g.mul(1 / count, g.mul(r, g.cast(dr, g.dtype(r)))));
  const left = g.sub(d, g.mul(normal, along));
  if (!centered) return g.mul(left, r);
  let mean = g.mean(d, axes);
  if (dMean) mean = g.sub(mean, g.div(g.mul(1 / count, g.cast(dMean, g.dtype(r))), r));
  return g.mul(g.sub(left, mean), r);
}

/** Gradients of y = x̂ · scale + bias, scale and bias broadcast to x: [dx, dscale, dbias]. */
function scaled(
  g: Backward,
  n: Normal,
  [scale, bias]: readonly (string | undefined)[],
  wants: readonly boolean[],
  more: readonly (string | undefined)[] = [],
): (string | undefined)[] {
  const part = (of: string, like: string | undefined) => (like ? g.sumTo(of, g.shape(like)) : undefined);
  return [
    wants[0] ? through(g, n, scale ? g.mul(g.dy, scale) : g.dy, ...more) : undefined,
    wants[1] ? part(g.mul(g.dy, n.normal), scale) : undefined,
    wants[2] ? part(g.dy, bias) : undefined,
  ];
}

const wanted = (g: Backward, ...inputs: number[]): boolean[] => inputs.map((i) => g.wants(i));

/** y = x̂ · scale + bias; the mean and r, where asked for, pass gradients too. */
const layerNorm: Gradient = (g) => {
  const x = g.x[0] as string;
  const n = centered(g, x, g.axis(g.int("axis", -1), x), g.float("epsilon", 1e-5));
  return scaled(g, n, g.x.slice(1), wanted(g, 0, 1, 2), g.dys.slice(1, 3));
};

/** y = x̂ · scale */
const rmsNorm: Gradient = (g) => {
  const x = g.x[0] as string;
  const n = rootMeanSquare(g, x, g.axis(g.int("axis", -1), x), g.float("epsilon", 1e-5));
  return scaled(g, n, g.x.slice(1), wanted(g, 0, 1));
};

/** Layers of one group of channels each: x as [N, groups, rest], scale and bias one a channel. */
const groupNorm =
  (groupsOf: (g: Backward, channels: number) => number): Gradient =>
  (g) => {
    const [x, scale, bias] = g.x as [string, string, string];
    const shape = g.shape(x);
    const [batch, channels, ...spatial] = shape as [number, number, ...number[]];
    const groups = groupsOf(g, channels);
    const grouped = [batch, groups, g.size(x) / Math.max(batch * groups, 1)];
    const apart = centered(g, g.reshape(x, grouped), 2, g.float("epsilon", 1e-5));
    const perChannel = (name: string) => g.reshape(name, [channels, ...spatial.map(() => 1)]);
    const toChannels = (value: string) => g.sum(value, [0, ...from(2, shape.length)], false);
    const dNormal = g.reshape(g.mul(g.dy, perChannel(scale)), grouped);
    return [
      g.wants(0) ? g.reshape(through(g, apart, dNormal), shape) : undefined,
      g.wants(1) ? toChannels(g.mul(g.dy, g.reshape(apart.normal, shape))) : undefined,
      g.wants(2) && bias ? toChannels(g.dy) : undefined,
    ];
  };

/** h = x + skip (+ bias), normalized over the last axis: what h gets goes to all of its terms. h is the fourth output. */
const skipNorm =
  (normalize: typeof centered, [beta, bias]: readonly [number | undefined, number]): Gradient =>
  (g) => {
    const [x, skip, gamma] = g.x as [string, string, string];
    const sum = g.add(x, skip);
    const h = g.ys[3] || (g.x[bias] ? g.add(sum, g.x[bias] as string) : sum);
    const n = normalize(g, h, g.rank(x) - 1, g.float("epsilon", 1e-12));
    const terms = beta === undefined ? [gamma] : [gamma, g.x[beta]];
    const wants = [true, g.wants(2), beta !== undefined && g.wants(beta)];
    const [dNormal, dGamma, dBeta] = scaled(g, n, terms, wants, g.dys.slice(1, 3));
    const dh = g.dys[3] ? g.add(dNormal as string, g.dys[3]) : (dNormal as string);
    const given = [dh, g.wants(1) ? g.sumTo(dh, g.shape(skip)) : undefined, dGamma];
    if (beta !== undefined) given.push(dBeta);
    if (g.x[bias]) given[bias] = g.sumTo(dh, g.shape(g.x[bias] as string));
    return given;
  };

/** y = x / ‖x‖: dx = (dy − ‖x‖′ · Σ dy y) / ‖x‖, where ‖x‖′ is sign x for p = 1, y for p = 2. */
const lpNorm: Gradient = (g) => {
  const x = g.x[0] as string;
  const axes = g.ints([g.axis(g.int("axis", -1), x)]);
  const one = g.int("p", 2) === 1;
  const length = nonZero(g, g.op(one ? "ReduceL1" : "ReduceL2", [x, axes], { keepdims: int(1) }));
  const along = g.op("ReduceSum", [g.mul(g.dy, g.y), axes], { keepdims: int(1) });
  return [g.div(g.sub(g.dy, g.mul(one ? g.op("Sign", [x]) : g.y, along)), length)];
};

/** y = (x − mean) / (deviation + 10⁻⁹), over the axes: y is x̂ itself. */
const meanVariance: Gradient = (g) => {
  const x = g.x[0] as string;
  const axes = (g.list("axes") ?? [0, 2, 3]).map((axis) => g.axis(axis, x));
  const apart = g.sub(x, g.mean(x, axes));
  const deviation = g.op("Sqrt", [g.mean(g.mul(apart, apart), axes)]);
  const r = g.op("Reciprocal", [g.add(deviation, 1e-9)]);
  return [through(g, { normal: g.y, r, axes, centered: true }, g.dy)];
};

/**
 * y = x s^−β, s = bias + α mean x² over `size` channels around (zeros beyond the edge count).
 * dx = dy s^−β − 2αβ x · mean(dy y / s), over the mirrored window.
 */
const localResponse: Gradient = (g) => {
  const x = g.x[0] as string;
  const [batch, channels] = g.shape(x) as [number, number];
  const size = g.int("size", 1);
  const [alpha, beta] = [g.float("alpha", 1e-4), g.float("beta", 0.75)];
  const window = (value: string, below: number) => {
    const attrs = {
      kernel_shape: ints([size, 1]),
      pads: ints([below, 0, size - 1 - below, 0]),
      count_include_pad: int(1),
    };
    const planes = g.reshape(value, [batch, 1, channels, g.size(x) / Math.max(batch * channels, 1)]);
    return g.reshape(g.op("AveragePool", [planes], attrs), g.shape(x));
  };
  const below = Math.floor((size - 1) / 2);
  const s = g.add(g.float("bias", 1), g.mul(alpha, window(g.mul(x, x), below)));
  const around = window(g.div(g.mul(g.dy, g.y), s), size - 1 - below);
  return [g.sub(g.mul(g.dy, g.pow(s, -beta)), g.mul(g.mul(2 * alpha * beta, x), around))];
};

export const normGradients: Gradients = {
  GroupNormalization: groupNorm((g) => g.int("num_groups", 1)),
  InstanceNormalization: groupNorm((_, channels) => channels),
  LRN: localResponse,
  LayerNormalization: layerNorm,
  LpNormalization: lpNorm,
  MeanVarianceNormalization: meanVariance,
  RMSNormalization: rmsNorm,
  "com.microsoft:SkipLayerNormalization": skipNorm(centered, [3, 4]),
  "com.microsoft:SkipSimplifiedLayerNormalization": skipNorm(rootMeanSquare, [undefined, 3]),
};
