import { addDim, ceilDiv, type Dim, isKnown, lowest, maxDim, minDim, mulDim, subDim, UNKNOWN } from "../ir/dim.ts";
import { type Applied, type AxesRule, defineOp, type FrozenAxes, type Mapped, type OpRule } from "./define.ts";
import { frozen, lettersFor, nameable, numbersFrom, picked, sizesIn } from "./elements.ts";
import { axisOf, fact, numbersOf, required } from "./facts.ts";

/** A bound that ONNX Runtime takes for the end of any axis, also where it computes in int32. */
const END = 2 ** 31 - 1;

/** Bounds from here on mean the end of an axis of symbolic size: exporters write 10⁹ and the largest integers. */
const FAR = 1e9;

/** What a Slice takes of one axis: `start`, `count` and `step` as they come out for its size. */
interface Cut {
  readonly start: Dim;
  readonly count: Dim;
  readonly step: number;
  /** Where it stands in the list of starts. */
  readonly entry: number;
}

const NOTHING_KNOWN = { start: UNKNOWN, count: UNKNOWN, step: 0 } as const;

/** The cut of every axis that is sliced; undefined where the axes are computed. */
function cutsOf(n: Applied, shape: readonly Dim[]): ReadonlyMap<number, Cut> | undefined {
  const [starts, ends] = [sizesIn(n, 1), sizesIn(n, 2)];
  const count = starts?.length ?? ends?.length ?? n.inputs[3]?.shape?.[0];
  const axes = n.node.inputs[3]
    ? numbersOf(n.inputs[3])
    : typeof count === "number"
      ? [...Array(count).keys()]
      : undefined;
  if (axes === undefined) return undefined;
  if ([starts, ends].some((list) => list !== undefined && list.length !== axes.length))
    n.fail(`it has ${starts?.length} starts and ${ends?.length} ends for ${axes.length} axes.`);
  const steps = n.node.inputs[4] ? sizesIn(n, 4) : axes.map(() => 1);
  return new Map(
    axes.map((given, entry) => {
      const axis = axisOf(n, given, shape.length);
      const [start, end, step] = [starts?.[entry], ends?.[entry], steps?.[entry]];
      if (step === 0) n.fail("a step of it is 0.");
      const known = start !== undefined && end !== undefined && typeof step === "number";
      const cut = known ? cutOf(shape[axis] ?? UNKNOWN, start, end, step) : NOTHING_KNOWN;
      return [axis, { ...cut, entry }];
    }),
  );
}

/** Bounds count from the end where negative, and are held inside the axis; −1 is before its beginning for a step back. */
export function cutOf(size: Dim, start: Dim, end: Dim, step: number): Omit<Cut, "entry"> {
  const [low, high] = step > 0 ? [0, size] : [0, subDim(size, 1)];
  const from = inside(start, size, low, high);
  const to = inside(end, size, step > 0 ? 0 : -1, high);
  const span = step > 0 ? subDim(to, from) : subDim(from, to);
  const stride = Math.abs(step);
  return { start: from, count: maxDim(stride === 1 ? span : ceilDiv(span, stride), 0), step };
}

function inside(bound: Dim, size: Dim, low: Dim, high: Dim): Dim {
  if (isKnown(bound) && !isKnown(size) && bound >= FAR) return high;
  if (isKnown(bound) && !isKnown(size) && bound <= -FAR) return low;
  const positive = isKnown(bound) ? bound >= 0 : lowest(bound) >= 0;
  const negative = isKnown(bound) ? bound < 0 : lowest(mulDim(bound, -1)) > 0;
  if (!positive && !negative) return UNKNOWN;
  return minDim(maxDim(negative ? addDim(bound, size) : bound, low), high);
}

const slice = defineOp({
  name: "Slice",
  since: 10,
  infer: (n) => {
    const x = required(n, 0);
    required(n, 1);
    required(n, 2);
    if (x.shape === undefined) return [fact(x.dtype)];
    const cuts = cutsOf(n, x.shape);
    if (cuts === undefined)
      return [
        fact(
          x.dtype,
          x.shape.map(() => UNKNOWN),
        ),
      ];
    const shape = x.shape.map((d, axis) => cuts.get(axis)?.count ?? d);
    const known = [...cuts.values()].every(({ start }) => isKnown(start));
    const source = (at: readonly number[]) =>
      at.map((c, axis) => {
        const cut = cuts.get(axis);
        return cut === undefined ? c : (cut.start as number) + c * cut.step;
      });
    return [fact(x.dtype, shape, known ? picked(shape, x.value, x.shape, source) : undefined)];
  },
  axes: (n) => sliceAxes(n),
  quant: { kind: "transparent" },
});

/** How one axis flows: its terms on either side, its bounds as size expressions, the sizes of letters. */
interface Flow {
  readonly left: string;
  readonly right: string;
  readonly start: string;
  readonly end: string;
  readonly sizes?: Readonly<Record<string, number>>;
}

function sliceAxes(n: Mapped): AxesRule | FrozenAxes {
  const shape = n.inputs[0]?.shape;
  const cuts = shape && cutsOf(n, shape);
  if (shape === undefined || cuts === undefined || !nameable(3 * shape.length)) return frozen(n, "has computed bounds");
  const [starts, ends] = [numbersOf(n.inputs[1]), numbersOf(n.inputs[2])];
  const flows = shape.map((size, axis): Flow => {
    const [a = "", b = "", c = ""] = lettersFor(3, 3 * axis);
    const cut = cuts.get(axis);
    if (cut === undefined) return { left: b, right: b, start: "", end: "" };
    const [start, end] = [starts?.[cut.entry], ends?.[cut.entry]];
    const read = { left: `!${a}`, right: `!${b}`, start: String(start), end: String(end) };
    return (starts && ends && cutFlow(size, cut, [a, b, c])) ?? read;
  });
  const entries = [...cuts].sort(([, a], [, b]) => a.entry - b.entry).map(([axis]) => flows[axis] as Flow);
  return {
    map: `${flows.map((f) => f.left).join("")}${numbersFrom(n, 1)} -> ${flows.map((f) => f.right).join("")}`,
    sizes: Object.assign({}, ...flows.map((f) => f.sizes)),
    ...(starts && ends && { holds: { 1: entries.map((f) => f.start), 2: entries.map((f) => f.end) } }),
  };
}

/** A run of positions, or every step-th one of an axis the step divides; undefined for anything else. */
function cutFlow(
  size: Dim,
  { start, count, step }: Cut,
  [a, b, c]: readonly [string, string, string],
): Flow | undefined {
  if (!isKnown(start)) return undefined;
  if (step === 1) {
    const rest = subDim(size, addDim(start, count));
    if (rest !== 0 && !isKnown(size)) return undefined;
    const parts = [...(start > 0 ? [a] : []), b, ...(rest !== 0 ? [c] : [])];
    return {
      left: parts.length === 1 ? b : `(${parts.join("+")})`,
      right: b,
      start: start > 0 ? a : "0",
      end: rest === 0 ? String(END) : start > 0 ? `${a}+${b}` : b,
      sizes: start > 0 ? { [a]: start } : {},
    };
  }
  const divides = isKnown(size) && step > 1 && size % step === 0 && start < step && count === size / step;
  return divides ? { left: `(${b}${step})`, right: b, start: String(start), end: String(END) } : undefined;
}

interface Padding {
  readonly before: Dim;
  readonly after: Dim;
  /** Where it stands in the list of axes. */
  readonly entry: number;
}

/** The padding of every padded axis; undefined where the axes are computed. */
function paddings(n: Applied, rank: number): ReadonlyMap<number, Padding> | undefined {
  const axes = n.node.inputs[3] ? numbersOf(n.inputs[3]) : [...Array(rank).keys()];
  if (axes === undefined) return undefined;
  const pads = sizesIn(n, 1) ?? axes.flatMap(() => [UNKNOWN, UNKNOWN]);
  if (pads.length !== 2 * axes.length) n.fail(`it has ${pads.length} pads for ${axes.length} axes.`);
  return new Map(
    axes.map((axis, entry) => [
      axisOf(n, axis, rank),
      { before: pads[entry] ?? 0, after: pads[entry + axes.length] ?? 0, entry },
    ]),
  );
}

const pad = defineOp({
  name: "Pad",
  since: 11,
  infer: (n) => {
    const x = required(n, 0);
    required(n, 1);
    if (x.shape === undefined) return [fact(x.dtype)];
    const padded = paddings(n, x.shape.length);
    const shape = x.shape.map((d, axis) => {
      if (padded === undefined) return UNKNOWN;
      const { before, after } = padded.get(axis) ?? { before: 0, after: 0 };
      const size = addDim(d, addDim(before, after));
      if (isKnown(size) && size < 0)
        n.fail(`pads of ${before} and ${after} leave nothing of axis ${axis}, of size ${d}.`);
      return size;
    });
    return [fact(x.dtype, shape)];
  },
  axes: (n) => padAxes(n),
});

function padAxes(n: Mapped): AxesRule | FrozenAxes {
  const rank = n.inputs[0]?.shape?.length;
  const padded = rank === undefined ? undefined : paddings(n, rank);
  if (rank === undefined || padded === undefined || !nameable(3 * rank)) return frozen(n, "has computed axes");
  const constant = n.string("mode", "constant") === "constant";
  const pads = numbersOf(n.inputs[1]);
  const sizes: Record<string, number> = {};
  const held = new Array<string>(2 * padded.size).fill("0");
  const terms = Array.from({ length: rank }, (_, axis): readonly [string, string] => {
    const [l = "", a = "", r = ""] = lettersFor(3, 3 * axis);
    const { before, after, entry } = padded.get(axis) ?? { before: 0, after: 0, entry: 0 };
    if (before === 0 && after === 0) return [a, a];
    const followed = constant && pads !== undefined && isKnown(before) && isKnown(after) && before >= 0 && after >= 0;
    if (before !== 0) held[entry] = followed ? l : String(before);
    if (after !== 0) held[entry + padded.size] = followed ? r : String(after);
    if (!followed) return [`!${a}`, `!${l}`];
    if (before > 0) sizes[l] = before;
    if (after > 0) sizes[r] = after;
    return [a, `(${[...(before > 0 ? [l] : []), a, ...(after > 0 ? [r] : [])].join("+")})`];
  });
  return {
    map: `${terms.map(([left]) => left).join("")}${numbersFrom(n, 1)} -> ${terms.map(([, right]) => right).join("")}`,
    sizes,
    ...(pads && { holds: { 1: held } }),
  };
}

const centerCropPad = defineOp({
  name: "CenterCropPad",
  since: 18,
  infer: (n) => {
    const x = required(n, 0);
    required(n, 1);
    if (x.shape === undefined) return [fact(x.dtype)];
    const rank = x.shape.length;
    const axes = (n.ints("axes") ?? [...Array(rank).keys()]).map((axis) => axisOf(n, axis, rank));
    const target = sizesIn(n, 1) ?? axes.map(() => UNKNOWN);
    if (target.length !== axes.length) n.fail(`it has ${target.length} sizes for ${axes.length} axes.`);
    return [
      fact(
        x.dtype,
        x.shape.map((d, axis) => (axes.includes(axis) ? (target[axes.indexOf(axis)] ?? UNKNOWN) : d)),
      ),
    ];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || !nameable(2 * rank)) return frozen(n, "cuts a tensor of unknown rank");
    const axes = new Set((n.ints("axes") ?? [...Array(rank).keys()]).map((axis) => axisOf(n, axis, rank)));
    const [from, to] = [lettersFor(rank), lettersFor(rank, rank)];
    const left = from.map((letter, i) => (axes.has(i) ? `!${letter}` : letter));
    const right = from.map((letter, i) => (axes.has(i) ? `!${to[i]}` : letter));
    return `${left.join("")}, -> ${right.join("")}`;
  },
});

/** Operators that cut runs of positions out of axes, or add some at their ends. */
export const slices: readonly OpRule[] = [centerCropPad, pad, slice];
