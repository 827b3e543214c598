import { addDim, ceilDiv, type Dim, floorDiv, isKnown, minDim, mulDim, subDim } from "../ir/dim.ts";
import type { Applied } from "./define.ts";

/** Windows that slide over the spatial axes: kernel, strides, dilations, and pads at both ends of each axis. */
export interface Windows {
  readonly kernel: readonly Dim[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly begin: readonly number[];
  readonly end: readonly number[];
  readonly autoPad: string;
}

/** Reads the attributes of a sliding operator of `rank` spatial axes; pads are ONNX's begin…, end… . */
export function windowsOf(n: Applied, kernel: readonly Dim[]): Windows {
  const rank = kernel.length;
  const list = (name: string, fallback: number): readonly number[] => {
    const given = n.ints(name);
    if (given !== undefined && given.length !== rank)
      n.fail(`${name} has ${given.length} numbers for ${rank} spatial axes.`);
    return given ?? new Array<number>(rank).fill(fallback);
  };
  const pads = n.ints("pads") ?? new Array<number>(2 * rank).fill(0);
  if (pads.length !== 2 * rank) n.fail(`pads has ${pads.length} numbers for ${rank} spatial axes.`);
  return {
    kernel,
    strides: list("strides", 1),
    dilations: list("dilations", 1),
    begin: pads.slice(0, rank),
    end: pads.slice(rank),
    autoPad: n.string("auto_pad", "NOTSET"),
  };
}

const extent = (w: Windows, i: number): Dim => addDim(mulDim(w.dilations[i] ?? 1, subDim(w.kernel[i] ?? 1, 1)), 1);

/** Spatial sizes after sliding; with `ceil` the last window may reach beyond the padding, but must start before it ends. */
export function slideSizes(n: Applied, sizes: readonly Dim[], w: Windows, ceil = false): Dim[] {
  return sizes.map((size, i) => {
    const stride = w.strides[i] ?? 1;
    if (w.autoPad === "SAME_UPPER" || w.autoPad === "SAME_LOWER") return ceilDiv(size, stride);
    const [begin, end] = w.autoPad === "VALID" ? [0, 0] : [w.begin[i] ?? 0, w.end[i] ?? 0];
    const room = subDim(addDim(size, begin + end), extent(w, i));
    if (isKnown(room) && room < 0)
      n.fail(
        `its window of ${extent(w, i)} does not fit into ${size} with pads ${begin} and ${end} on spatial axis ${i}.`,
      );
    if (!ceil) return addDim(floorDiv(room, stride), 1);
    return minDim(addDim(ceilDiv(room, stride), 1), ceilDiv(addDim(size, begin), stride));
  });
}

const X = "xyzuvw";
const K = "klmqrs";

/** `[xk][yl]` and `xy` and `kl` for a number of spatial axes. */
export const spatial = (rank: number) => ({
  windows: Array.from({ length: rank }, (_, i) => `[${X[i]}${K[i]}]`).join(""),
  positions: X.slice(0, rank),
  kernel: K.slice(0, rank),
});
