import { ints, intsAttr, stringAttr } from "../ir/attrs.ts";
import type { Attrs, Node } from "../ir/graph.ts";
import type { Backward } from "./gradient.ts";

/** Windows over the spatial axes in numbers: pads are what the positions really reach, whatever `auto_pad` said. */
export interface Slide {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly begin: readonly number[];
  readonly end: readonly number[];
}

/** Places of the spatial axes of a [N, C, …] value. */
export const spatialAxes = (rank: number): number[] => Array.from({ length: rank }, (_, i) => i + 2);

/** How windows of `kernel` slide over `sizes` to give `out` positions, as the node's attributes say. */
export function slideOf(
  node: Node,
  kernel: readonly number[],
  sizes: readonly number[],
  out: readonly number[],
): Slide {
  const rank = kernel.length;
  const strides = intsAttr(node, "strides") ?? Array<number>(rank).fill(1);
  const dilations = intsAttr(node, "dilations") ?? Array<number>(rank).fill(1);
  const pads = intsAttr(node, "pads") ?? Array<number>(2 * rank).fill(0);
  const autoPad = stringAttr(node, "auto_pad", "NOTSET");
  const begin = kernel.map((_, i) => {
    if (!autoPad.startsWith("SAME")) return autoPad === "VALID" ? 0 : (pads[i] as number);
    const total = Math.max(0, reach({ kernel, strides, dilations }, out, i) - (sizes[i] as number));
    return autoPad === "SAME_UPPER" ? Math.floor(total / 2) : Math.ceil(total / 2);
  });
  const end = kernel.map(
    (_, i) => reach({ kernel, strides, dilations }, out, i) - (sizes[i] as number) - (begin[i] as number),
  );
  return { kernel, strides, dilations, begin, end };
}

/** From the first to the last padded position that `out` windows read along a spatial axis. */
const reach = (s: Pick<Slide, "kernel" | "strides" | "dilations">, out: readonly number[], i: number): number =>
  ((out[i] as number) - 1) * (s.strides[i] as number) + ((s.kernel[i] as number) - 1) * (s.dilations[i] as number) + 1;

/** The slide as attributes of a Conv or a pool; `end` may be negative, where the last positions are not read: they are then none. */
export const slideAttrs = (s: Slide): Attrs => ({
  kernel_shape: ints(s.kernel),
  strides: ints(s.strides),
  dilations: ints(s.dilations),
  pads: ints([...s.begin, ...s.end.map((e) => Math.max(0, e))]),
});

/** Every position of a kernel, last axis fastest. */
export const taps = (kernel: readonly number[]): number[][] =>
  kernel.reduce<number[][]>(
    (all, size) => all.flatMap((at) => Array.from({ length: size }, (_, i) => [...at, i])),
    [[]],
  );

/** What is padded with `value` so far that every window lies inside. */
export function padded(g: Backward, x: string, s: Slide, value = 0): string {
  const ends = s.end.map((e) => Math.max(0, e));
  return g.pad(x, [0, 0, ...s.begin, 0, 0, ...ends], value);
}

/** What each window reads at one position of the kernel: [N, C, …out], a strided part of the padded input; `x` itself where that is all of it. */
export function tapped(
  g: Backward,
  x: string,
  wide: string,
  s: Slide,
  tap: readonly number[],
  out: readonly number[],
): string {
  const starts = tap.map((t, i) => t * (s.dilations[i] as number));
  const ends = starts.map((start, i) => start + ((out[i] as number) - 1) * (s.strides[i] as number) + 1);
  const plain = s.strides.every((stride) => stride === 1);
  if (plain && starts.every((start, i) => start === s.begin[i] && g.shape(x)[i + 2] === out[i])) return x;
  return g.slice(wide, starts, ends, spatialAxes(tap.length), plain ? undefined : s.strides);
}
