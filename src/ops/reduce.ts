import { type Dim, maxDim, minDim, mulDim, UNKNOWN } from "../ir/dim.ts";
import { type Applied, defineOp, type FrozenAxes, type Mapped, type OpRule } from "./define.ts";
import { axisOf, fact, numbersOf, required, sumOf } from "./facts.ts";
import { exact } from "./values.ts";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";

/** Letters for the axes of a rank, those in `marked` with a mark in front; undefined beyond the alphabet. */
function letters(rank: number, marked: ReadonlySet<number>, mark: string): string[] | undefined {
  if (rank > LETTERS.length) return undefined;
  return Array.from({ length: rank }, (_, i) => (marked.has(i) ? mark : "") + LETTERS[i]);
}

const frozen = (n: Applied, why: string): FrozenAxes => ({ frozen: `${n.node.op} ${why}` });

/** Operands after the first are read as numbers. */
const rest = (n: Applied): string => ",".repeat(Math.max(0, n.inputs.length - 1));

/** The axes a reduction runs over, of a known rank; undefined where they are computed. */
function reducedAxes(n: Applied, rank: number): ReadonlySet<number> | undefined {
  const listed = n.node.inputs[1] ? numbersOf(n.inputs[1]) : [];
  if (listed === undefined && n.inputs[1]?.shape?.[0] !== 0) return undefined;
  if (listed !== undefined && listed.length > 0) return new Set(listed.map((axis) => axisOf(n, axis, rank)));
  return new Set(n.int("noop_with_empty_axes", 0) === 1 ? [] : Array.from({ length: rank }, (_, i) => i));
}

function reducedShape(n: Applied, shape: readonly Dim[] | undefined): readonly Dim[] | undefined {
  if (shape === undefined) return undefined;
  const keep = n.int("keepdims", 1) === 1;
  const axes = reducedAxes(n, shape.length);
  if (axes !== undefined) return shape.flatMap((dim, i) => (axes.has(i) ? (keep ? [1] : []) : [dim]));
  if (keep) return shape.map(() => UNKNOWN);
  const count = n.inputs[1]?.shape?.[0];
  return typeof count === "number" && count <= shape.length
    ? Array.from({ length: shape.length - count }, () => UNKNOWN)
    : undefined;
}

type Fold = (values: readonly Dim[]) => Dim;

/** `mark`: none where leaving out zeros changes nothing, `~` where the count matters, `^` for an extremum, `!` else. */
const reduction = (name: string, since: number, mark: string, fold?: Fold, quant?: OpRule["quant"]): OpRule =>
  defineOp({
    name,
    since,
    infer: (n) => {
      const x = required(n, 0);
      const shape = reducedShape(n, x.shape);
      const whole = shape?.every((d) => d === 1) && x.value !== undefined && !x.value.includes(UNKNOWN);
      const value =
        whole && x.value && x.value.length > 0 ? exact(x.dtype, x.dtype, fold?.(x.value), ...x.value) : undefined;
      return [fact(x.dtype, shape, value === undefined ? undefined : [value])];
    },
    axes: (n) => {
      const rank = n.inputs[0]?.shape?.length;
      const axes = rank === undefined ? undefined : reducedAxes(n, rank);
      return axes === undefined || rank === undefined
        ? frozen(n, "runs along computed axes")
        : along(n, rank, axes, mark);
    },
    ...(quant && { quant }),
  });

/** `a~bc -> a1c`: the marked axes go, or stay as 1. */
function along(n: Mapped, rank: number, axes: ReadonlySet<number>, mark: string): string | FrozenAxes {
  const left = letters(rank, axes, mark);
  if (left === undefined) return frozen(n, "has too many axes");
  const keep = n.int("keepdims", 1) === 1;
  const right = left.map((letter, i) => (axes.has(i) ? (keep ? "1" : "") : letter));
  return `${left.join("")}${rest(n)} -> ${right.join("")}`;
}

/** Reads the positions along one axis and keeps every size. */
const positional = (
  name: string,
  since: number,
  axis: (n: Applied) => number | undefined,
  more?: Partial<OpRule>,
): OpRule =>
  defineOp({
    name,
    since,
    infer: (n) => {
      const x = required(n, 0);
      const at = axis(n);
      if (x.shape && at !== undefined) axisOf(n, at, x.shape.length);
      return [fact(x.dtype, x.shape)];
    },
    axes: (n) => {
      const rank = n.inputs[0]?.shape?.length;
      const at = axis(n);
      if (rank === undefined || at === undefined) return frozen(n, "runs along a computed axis");
      const all = letters(rank, new Set([axisOf(n, at, rank)]), "!")?.join("");
      return all === undefined ? frozen(n, "has too many axes") : `${all}${rest(n)} -> ${all}`;
    },
    ...more,
  });

/** The index of an extremum along one axis. */
const position = (name: string): OpRule =>
  defineOp({
    name,
    since: 11,
    infer: (n) => {
      const { shape } = required(n, 0);
      if (shape === undefined) return [fact("int64")];
      const axis = axisOf(n, n.int("axis", 0), shape.length);
      const keep = n.int("keepdims", 1) === 1;
      return [
        fact(
          "int64",
          shape.flatMap((dim, i) => (i === axis ? (keep ? [1] : []) : [dim])),
        ),
      ];
    },
    axes: (n) => {
      const rank = n.inputs[0]?.shape?.length;
      if (rank === undefined) return frozen(n, "runs along an axis of unknown place");
      return along(n, rank, new Set([axisOf(n, n.int("axis", 0), rank)]), "!");
    },
  });

const topK = defineOp({
  name: "TopK",
  since: 10,
  infer: (n) => {
    const x = required(n, 0);
    if (x.shape === undefined) return [fact(x.dtype), fact("int64")];
    const axis = axisOf(n, n.int("axis", -1), x.shape.length);
    const count = required(n, 1).value?.[0] ?? UNKNOWN;
    const shape = x.shape.map((dim, i) => (i === axis ? count : dim));
    return [fact(x.dtype, shape), fact("int64", shape)];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || rank >= LETTERS.length) return frozen(n, "runs along an axis of unknown place");
    const axis = axisOf(n, n.int("axis", -1), rank);
    const left = letters(rank, new Set([axis]), "!") ?? [];
    const right = left.map((letter, i) => (i === axis ? `!${LETTERS[rank]}` : letter)).join("");
    return `${left.join("")}, -> ${right}${`,${right}`.repeat(n.outputs - 1)}`;
  },
});

const homogeneous = (rule: OpRule): OpRule => ({ ...rule, factor: () => "first" });

const lastAxis = (n: Applied): number => n.int("axis", -1);
const axisInput = (n: Applied): number | undefined => numbersOf(n.inputs[1])?.[0];

export const reduce: readonly OpRule[] = [
  position("ArgMax"),
  position("ArgMin"),
  positional("CumProd", 26, axisInput),
  positional("CumSum", 11, axisInput),
  positional("Hardmax", 13, lastAxis),
  positional("LogSoftmax", 13, lastAxis),
  homogeneous(reduction("ReduceL1", 18, "")),
  homogeneous(reduction("ReduceL2", 18, "")),
  reduction("ReduceLogSum", 18, ""),
  reduction("ReduceLogSumExp", 18, "^"),
  reduction("ReduceMax", 18, "^", (values) => values.reduce(maxDim), { kind: "transparent" }),
  { ...homogeneous(reduction("ReduceMean", 18, "~")), linear: true },
  homogeneous(reduction("ReduceMin", 18, "^", (values) => values.reduce(minDim))),
  reduction("ReduceProd", 18, "!", (values) => values.reduce(mulDim)),
  { ...homogeneous(reduction("ReduceSum", 13, "", sumOf)), linear: true },
  reduction("ReduceSumSquare", 18, ""),
  positional("Softmax", 13, lastAxis, { quant: { kind: "range", range: [0, 1] } }),
  topK,
];
