import { stringAttr } from "../ir/attrs.ts";
import { coefficientsOf, type Dim, isKnown, mulDim, sameDim, UNKNOWN } from "../ir/dim.ts";
import { type Applied, defineOp, type Mapped, type OpRule } from "./define.ts";
import { frozen, lettersFor, nameable, numbersFrom, sizesIn } from "./elements.ts";
import { axisOf, fact, required } from "./facts.ts";
import { floorOf } from "./values.ts";

/** Whether an optional list is given; an empty one is not. */
const given = (n: Applied, index: number): boolean =>
  Boolean(n.node.inputs[index]) && n.inputs[index]?.shape?.[0] !== 0;

/** The axes that `scales` and `sizes` are about: all by default. */
const resizedAxes = (n: Applied, rank: number): readonly number[] =>
  n.ints("axes")?.map((axis) => axisOf(n, axis, rank)) ?? [...Array(rank).keys()];

/** The factors of the listed axes, UNKNOWN where computed. */
function scalesOf(n: Applied, count: number): readonly Dim[] {
  const scales = n.inputs[2]?.value ?? new Array<Dim>(count).fill(UNKNOWN);
  if (scales.length !== count) n.fail(`it has ${scales.length} scales for ${count} axes.`);
  return scales;
}

/** ⌊size · scale⌋ as ONNX Runtime multiplies: in float32. */
function scaled(n: Applied, size: Dim, scale: Dim): Dim {
  if (isKnown(scale) && scale < 0) n.fail(`one of its scales is ${scale}.`);
  if (isKnown(size) && isKnown(scale)) return Math.floor(Math.fround(size * scale));
  const product = mulDim(size, scale);
  if (product === UNKNOWN || !coefficientsOf(product).every((c) => Number.isInteger(c * 4096))) return UNKNOWN;
  return floorOf(product) ?? UNKNOWN;
}

/** Whether each axis gets the size asked for; else one scale serves all, so that proportions stay. */
const stretches = (n: Applied): boolean => n.string("keep_aspect_ratio_policy", "stretch") === "stretch";

/** The sizes asked for, or as near to them as one scale for all axes comes. */
function fitted(n: Applied, from: readonly Dim[], to: readonly Dim[]): readonly Dim[] {
  if (stretches(n)) return to;
  if (!from.every(isKnown) || !to.every(isKnown)) return to.map(() => UNKNOWN);
  const scales = (to as readonly number[]).map((size, i) => Math.fround(size / (from[i] as number)));
  const scale =
    n.string("keep_aspect_ratio_policy", "stretch") === "not_larger" ? Math.min(...scales) : Math.max(...scales);
  return (from as readonly number[]).map((size) => Math.floor(Math.fround(size * scale) + 0.5));
}

function resizedShape(n: Applied, from: readonly Dim[]): readonly Dim[] {
  const axes = resizedAxes(n, from.length);
  const own = axes.map((axis) => from[axis] ?? UNKNOWN);
  const to = given(n, 3)
    ? fitted(n, own, sizesIn(n, 3) ?? own.map(() => UNKNOWN))
    : scalesOf(n, axes.length).map((scale, i) => scaled(n, own[i] ?? UNKNOWN, scale));
  if (to.length !== axes.length) n.fail(`it has ${to.length} sizes for ${axes.length} axes.`);
  return from.map((d, axis) => (axes.includes(axis) ? (to[axes.indexOf(axis)] ?? UNKNOWN) : d));
}

/** Whether an axis is left as it is: its size stays, and no region is cut out of it. */
function isKept(n: Mapped, axis: number): boolean {
  const [from, to] = [n.inputs[0]?.shape?.[axis], n.results[0]?.shape?.[axis]];
  const axes = resizedAxes(n, n.inputs[0]?.shape?.length ?? 0);
  if (!axes.includes(axis)) return true;
  if (n.string("coordinate_transformation_mode", "half_pixel") === "tf_crop_and_resize") return false;
  // One scale for all axes may round to the size an axis had, and still move its positions.
  if (given(n, 3) && !stretches(n)) return false;
  const scale = given(n, 3) ? 1 : scalesOf(n, axes.length)[axes.indexOf(axis)];
  return from !== undefined && to !== undefined && sameDim(from, to) && scale === 1;
}

const resize = defineOp({
  name: "Resize",
  since: 11,
  infer: (n) => {
    const x = required(n, 0);
    if (given(n, 2) && given(n, 3)) n.fail("it is given both scales and sizes.");
    return [fact(x.dtype, x.shape && resizedShape(n, x.shape))];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || !nameable(2 * rank)) return frozen(n, "changes axes of unknown places");
    const [from, to] = [lettersFor(rank), lettersFor(rank, rank)];
    const left = from.map((letter, axis) => (isKept(n, axis) ? letter : `!${letter}`));
    const right = from.map((letter, axis) => (isKept(n, axis) ? letter : `!${to[axis]}`));
    const map = `${left.join("")}${numbersFrom(n, 1)} -> ${right.join("")}`;
    const listed = resizedAxes(n, rank);
    return given(n, 3) && stretches(n)
      ? { map, holds: { 3: listed.map((axis) => (isKept(n, axis) ? from : to)[axis] as string) } }
      : map;
  },
  // Outside the region it is given, a crop takes numbers of its own.
  quant: {
    kind: "transparent",
    when: (node) =>
      stringAttr(node, "mode", "nearest") === "nearest" &&
      stringAttr(node, "coordinate_transformation_mode", "half_pixel") !== "tf_crop_and_resize",
  },
});

/** Interpolation along axes. */
export const resizes: readonly OpRule[] = [resize];
