import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { titleOf } from "../ir/walk.ts";
import type { Backward, Gradient, Gradients } from "./gradient.ts";

/** The axes a reduction runs over, counted from 0; none named means all, unless the node says that it then does nothing. */
export function reducedAxes(g: Backward): readonly number[] {
  const rank = g.rank(g.x[0] as string);
  const axes = g.x[1] ? g.numbers(1) : [];
  if (axes === undefined)
    throw new MinnowError("The axes it runs over are computed, and not known before the run.", {
      code: "train/open-axes",
      at: titleOf(g.node),
      mend: "Make its axes a constant.",
    });
  if (axes.length > 0) return axes.map((axis) => (axis < 0 ? axis + rank : axis));
  return g.int("noop_with_empty_axes", 0) === 1 ? [] : [...Array(rank).keys()];
}

/** A value of the reduced shape, with the reduced axes back at size 1. */
const kept = (g: Backward, value: string, axes = reducedAxes(g)): string =>
  g.reshape(
    value,
    g.shape(g.x[0] as string).map((size, i) => (axes.includes(i) ? 1 : size)),
  );

/** dx = dy · slope, dy and y repeated over what was reduced. */
const each =
  (slope: (g: Backward, x: string, dy: string, y: () => string) => string): Gradient =>
  (g) => {
    const x = g.x[0] as string;
    return [
      g.expand(
        slope(g, x, kept(g, g.dy), () => kept(g, g.y)),
        g.shape(x),
      ),
    ];
  };

/** A divisor of which only the zeros matter: they become 1. */
export const nonZero = (g: Backward, a: string): string => g.where(g.is("Equal", a, 0), 1, a);

/** The extremum passes the gradient to where it came from; equal ones share it. */
const extremum = each((g, x, dy, y) => {
  const chosen = g.mask(g.is("Equal", x, y()), x);
  return g.mul(chosen, g.div(dy, g.sum(chosen, reducedAxes(g))));
});

/**
 * d Πx/dxᵢ = Π of the others. With zeros replaced by 1 in x′: Πx′ / x′ᵢ where no other is 0, that is where as many are 0
 * along the axes as at i itself, and else 0.
 */
const product = each((g, x, dy) => {
  const zero = g.mask(g.is("Equal", x, 0), x);
  const others = g.add(x, zero);
  const axes = reducedAxes(g);
  const all = axes.length === 0 ? others : g.op("ReduceProd", [others, g.ints(axes)], { keepdims: int(1) });
  const alone = g.mask(g.is("Equal", g.sum(zero, axes), zero), x);
  return g.mul(g.div(g.mul(dy, all), others), alone);
});

/** d softmax: dx = y(dy − Σ y dy) */
const softmax: Gradient = (g) => {
  const axis = g.axis(g.int("axis", -1), g.y);
  return [g.mul(g.y, g.sub(g.dy, g.sum(g.mul(g.y, g.dy), [axis])))];
};

/** d log softmax: dx = dy − softmax Σ dy */
const logSoftmax: Gradient = (g) => {
  const axis = g.axis(g.int("axis", -1), g.y);
  return [g.sub(g.dy, g.mul(g.op("Exp", [g.y]), g.sum(g.dy, [axis])))];
};

/** Each gradient counts in all the sums that its element went into: the sum from the other end. */
const cumSum: Gradient = (g) => {
  const attrs = { exclusive: int(g.int("exclusive", 0)), reverse: int(1 - g.int("reverse", 0)) };
  return [g.op("CumSum", [g.dy, g.x[1] as string], attrs)];
};

/**
 * yⱼ = Πᵢ≤ⱼ xᵢ, step by step from the end: s = dyⱼ + s xⱼ₊₁ and dxⱼ = s Πᵢ<ⱼ xᵢ, so that zeros do no harm. For the exclusive
 * one dy is first moved up by one place, for the reverse one the order is turned.
 */
const cumProd: Gradient = (g) => {
  const x = g.x[0] as string;
  const axis = g.axis(g.numbers(1)?.[0] ?? 0, x);
  const size = g.shape(x)[axis] as number;
  const turned = g.int("reverse", 0) === 1;
  const part = (of: string, i: number) => {
    const at = turned ? size - 1 - i : i;
    return g.slice(of, [at], [at + 1], [axis]);
  };
  const shifted = g.int("exclusive", 0);
  const before = shifted
    ? g.y
    : g.op("CumProd", [x, g.x[1] as string], { exclusive: int(1), reverse: int(g.int("reverse", 0)) });
  const slopes: string[] = [];
  let carried = g.zerosLike(part(x, 0));
  for (let i = size - 1; i >= 0; i--) {
    const down = i + 1 < size ? g.mul(carried, part(x, i + 1)) : carried;
    carried = i + shifted < size ? g.add(part(g.dy, i + shifted), down) : down;
    slopes.push(g.mul(carried, part(before, i)));
  }
  return [g.concat(turned ? slopes : slopes.reverse(), axis)];
};

/** Each of the chosen elements passes its gradient to the place it came from; all others get none. */
const topK: Gradient = (g) => {
  const [x, count] = g.x as [string, string];
  const places = g.ys[1] || (g.ops("TopK", [x, count], 2, g.node.attrs)[1] as string);
  const axis = g.axis(g.int("axis", -1), x);
  return [g.op("ScatterElements", [g.zerosLike(x), places, g.dy], { axis: int(axis) })];
};

const PLACE = { none: "its output is a place" };

export const reduceGradients: Gradients = {
  ArgMax: PLACE,
  ArgMin: PLACE,
  CumProd: cumProd,
  CumSum: cumSum,
  Hardmax: { none: "it is constant between jumps" },
  LogSoftmax: logSoftmax,
  // d Σ|x| = sign x
  ReduceL1: each((g, x, dy) => g.mul(g.op("Sign", [x]), dy)),
  // d √Σx² = x / y
  ReduceL2: each((g, x, dy, y) => g.mul(x, g.div(dy, nonZero(g, y())))),
  // d ln Σx = 1 / Σx = e^(−y)
  ReduceLogSum: each((g, _x, dy, y) => g.mul(dy, g.op("Exp", [g.neg(y())]))),
  // d ln Σeˣ = e^(x − y)
  ReduceLogSumExp: each((g, x, dy, y) => g.mul(dy, g.op("Exp", [g.sub(x, y())]))),
  ReduceMax: extremum,
  // d mean x = 1 / n
  ReduceMean: each((g, x, dy) => g.mul(g.size(dy) / Math.max(g.size(x), 1), dy)),
  ReduceMin: extremum,
  ReduceProd: product,
  // d Σx = Σ dx: every element gets the gradient of its sum
  ReduceSum: each((_g, _x, dy) => dy),
  // d Σx² = 2x
  ReduceSumSquare: each((g, x, dy) => g.mul(x, g.mul(2, dy))),
  Softmax: softmax,
  TopK: topK,
};
