import { MinnowError } from "../errors.ts";
import { ints } from "../ir/attrs.ts";
import type { Attrs } from "../ir/graph.ts";

/** One size for all axes of an image, or one for each: [height, width]. */
export type Sizes = number | readonly [number, number];

/**
 * Zeros put around an image: a number for every side, one for each axis, `half` for PyTorch's usual ⌊dilation · (k − 1) / 2⌋, or
 * `same` for TensorFlow's SAME, worked out for the size the image has here (the odd one goes to the end).
 */
export type Padding = Sizes | "half" | "same";

/** A window that slides over an image. */
export interface Window {
  readonly kernel: Sizes;
  readonly stride?: Sizes;
  readonly padding?: Padding;
  readonly dilation?: Sizes;
}

/** A size for each axis. */
export const pair = (sizes: Sizes): readonly [number, number] => (typeof sizes === "number" ? [sizes, sizes] : sizes);

/** ONNX's attributes of a window over an image [height, width]; an error says where it finds too little to slide over. */
export function windowAttrs(size: readonly [number, number], window: Window, at: string): Attrs {
  const { kernel, stride = 1, padding = "half", dilation = 1 } = window;
  const [k, s, d] = [pair(kernel), pair(stride), pair(dilation)];
  const before: number[] = [];
  const after: number[] = [];
  for (const axis of [0, 1] as const) {
    const extent = (k[axis] - 1) * d[axis] + 1;
    const [first, last] = padsOf(padding, axis, extent, s[axis], size[axis]);
    before.push(first);
    after.push(last);
    if (size[axis] < s[axis] || first + size[axis] + last < extent)
      throw new MinnowError(
        `The image is ${size.join("×")} when it comes to "${at}", a window of ${k.join("×")} with stride ${s.join("×")}.`,
        { code: "architectures/resolution", mend: "Give a greater resolution." },
      );
  }
  return { kernel_shape: ints(k), strides: ints(s), dilations: ints(d), pads: ints([...before, ...after]) };
}

/** Zeros before and after along one axis, for a window that extends over so many places. */
function padsOf(
  padding: Padding,
  axis: 0 | 1,
  extent: number,
  stride: number,
  size: number,
): readonly [number, number] {
  if (padding === "same") {
    const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + extent - size);
    return [Math.floor(total / 2), Math.ceil(total / 2)];
  }
  const each = padding === "half" ? Math.floor((extent - 1) / 2) : pair(padding)[axis];
  return [each, each];
}
