import { int, ints } from "../ir/attrs.ts";
import { elements } from "../ir/tensor.ts";
import type { Backward, Gradients } from "./gradient.ts";
import { scaledBy, unscaled } from "./scaled.ts";
import { padded, type Slide, slideAttrs, slideOf, spatialAxes, tapped, taps } from "./slide.grad.ts";

/** A convolution's bias reaches every position of its channel. */
const biasGradient = (g: Backward, dy: string): string => g.sum(dy, [0, ...spatialAxes(g.rank(dy) - 2)], false);

/** The kernel [M, C/g, …k] with its taps turned round and the channels of each group swapped: [C, M/g, …k]. */
function turned(g: Backward, w: string, group: number): string {
  const [filters, each, ...kernel] = g.shape(w) as [number, number, ...number[]];
  const grouped = g.reshape(backwards(g, w), [group, filters / group, each, ...kernel]);
  const swapped =
    each === 1 && filters === group
      ? grouped
      : g.transpose(grouped, [0, 2, 1, ...spatialAxes(kernel.length).map((axis) => axis + 1)]);
  return g.reshape(swapped, [group * each, filters / group, ...kernel]);
}

/** The kernel with its taps in the opposite order. */
function backwards(g: Backward, w: string): string {
  const [filters, each, ...kernel] = g.shape(w) as [number, number, ...number[]];
  const axes = spatialAxes(kernel.length).filter((axis) => g.shape(w)[axis] !== 1);
  if (axes.length === 0) return w;
  const along = (value: number) => axes.map(() => value);
  if (!g.portable) return g.slice(w, along(-1), along(-(2 ** 31)), axes, along(-1));
  // WebGPU's Slice drops the first element where it goes backwards.
  const order = g.ints([...Array(elements(kernel)).keys()].reverse());
  const flat = g.reshape(w, [filters, each, elements(kernel)]);
  return g.reshape(g.op("Gather", [flat, order], { axis: int(2) }), g.shape(w));
}

/** A value with `stride − 1` zeros between neighbours, and without what negative pads take off its sides. */
function stretched(
  g: Backward,
  dy: string,
  strides: readonly number[],
  begin: readonly number[],
  end: readonly number[],
) {
  const [batch, channels, ...out] = g.shape(dy) as [number, number, ...number[]];
  const apart = g.reshape(dy, [batch, channels, ...out.flatMap((size) => [size, 1])]);
  const none = Array<number>(2 + 2 * out.length).fill(0);
  const wide = g.pad(apart, [...none, 0, 0, ...strides.flatMap((stride) => [0, stride - 1])]);
  const sizes = out.map((size, i) => size * (strides[i] as number));
  const starts = begin.map((b) => Math.max(0, -b));
  const ends = sizes.map((size, i) => size - (strides[i] as number) + 1 - Math.max(0, -(end[i] as number)));
  return g.slice(g.reshape(wide, [batch, channels, ...sizes]), starts, ends, spatialAxes(out.length));
}

/**
 * The gradient by what was convolved: each position gets back what it gave, dX = Σ_taps Wᵀ dY. At stride 1 that is a
 * convolution with the turned kernel (faster), else a transposed one; on WebGPU, whose transposed one is wrong with groups,
 * the first over dY with zeros between its positions.
 */
export function inputGradient(g: Backward, dy: string, w: string, s: Slide, group: number): string {
  const begin = s.begin.map((b, i) => ((s.kernel[i] as number) - 1) * (s.dilations[i] as number) - b);
  const end = s.end.map((e, i) => ((s.kernel[i] as number) - 1) * (s.dilations[i] as number) - e);
  const plain = s.strides.every((stride) => stride === 1) && [...begin, ...end].every((pad) => pad >= 0);
  if (plain || g.portable) {
    const given = plain ? dy : stretched(g, dy, s.strides, begin, end);
    const [strides, before] = [s.strides.map(() => 1), begin.map((pad) => Math.max(0, pad))];
    const attrs = slideAttrs({ ...s, strides, begin: before, end });
    return g.op("Conv", [given, turned(g, w, group)], { ...attrs, group: int(group) });
  }
  return g.op("ConvTranspose", [dy, w], {
    ...slideAttrs(s),
    output_padding: ints(s.end.map((e) => Math.max(0, -e))),
    group: int(group),
  });
}

/**
 * The gradient by the kernel: dW[m, c, tap] = Σ over batch and positions of dY[m] · X[c] moved by the tap.
 * Depthwise it is one convolution with dY as the kernel; dense one where the batch takes the place of the channels; in groups
 * or with wide taps a matrix product a tap, over the positions of each example, or over those of all where the kernel is large
 * against them (the sum over the batch would cost more than a transpose).
 */
function kernelGradient(g: Backward, x: string, dy: string, s: Slide, group: number): string {
  const [batch, channels] = g.shape(x) as [number, number];
  const [, filters, ...out] = g.shape(dy) as [number, number, ...number[]];
  const [each, made, length] = [channels / group, filters / group, elements(out)];
  if (each === 1 && made === 1 && s.kernel.length <= 2) return depthwiseGradient(g, x, dy, s);
  if (group === 1 && isPatches(g, x, s, out)) return patchGradient(g, x, dy, s);
  const dense = group === 1 && elements(s.kernel) > 1 && s.dilations.at(-1) === 1 && s.begin.every((b) => b >= 0);
  if (dense && !g.portable) return swappedGradient(g, x, dy, s);
  const kernelLast = (parts: readonly string[], shape: readonly number[]) =>
    g.reshape(
      g.concat(
        parts.map((part) => g.reshape(part, [...shape, 1])),
        shape.length,
      ),
      [filters, each, ...s.kernel],
    );
  const wide = padded(g, x, s);
  if (group > 1) {
    const left = g.reshape(dy, [batch, group, made, length]);
    const products = taps(s.kernel).map((tap) => {
      const right = g.reshape(tapped(g, x, wide, s, tap, out), [batch, group, each, length]);
      return g.sum(g.matMul(left, right, { transB: true }), [0], false);
    });
    return kernelLast(products, [group, made, each]);
  }
  if (filters * channels < 32 * length) {
    const left = g.reshape(dy, [batch, filters, length]);
    const products = taps(s.kernel).map((tap) => {
      const right = g.reshape(tapped(g, x, wide, s, tap, out), [batch, channels, length]);
      return g.sum(g.matMul(left, right, { transB: true }), [0], false);
    });
    return kernelLast(products, [filters, channels]);
  }
  const channelsFirst = (value: string) => g.transpose(value, [1, 0, ...spatialAxes(out.length)]);
  const left = g.reshape(channelsFirst(dy), [filters, batch * length]);
  const turnedWide = channelsFirst(wide);
  const products = taps(s.kernel).map((tap) =>
    g.matMul(left, g.reshape(tapped(g, turnedWide, turnedWide, s, tap, out), [channels, batch * length]), {
      transB: true,
    }),
  );
  return kernelLast(products, [filters, channels]);
}

/**
 * One convolution with batch and channels swapped: examples are its input channels, dY [M, N, …] its kernel, dilated by the
 * stride. Channels lie side by side along the last axis, [1, N, …, W·C], and the kernel's taps there are C apart: what comes
 * out is [1, M, …k, k·C], every number of it a number of dW.
 */
function swappedGradient(g: Backward, x: string, dy: string, s: Slide): string {
  const [batch, channels, ...sizes] = g.shape(x) as [number, number, ...number[]];
  const [, filters, ...out] = g.shape(dy) as [number, number, ...number[]];
  const last = sizes.length - 1;
  const interleaved = (values: readonly number[]) => values.map((v, i) => (i === last ? v * channels : v));
  const places = spatialAxes(sizes.length);
  const rows = g.reshape(g.transpose(x, [0, ...places, 1]), [1, batch, ...interleaved(sizes)]);
  const taken = g.op("Conv", [rows, g.transpose(dy, [1, 0, ...places])], {
    ...slideAttrs({
      kernel: out,
      strides: s.dilations,
      dilations: interleaved(s.strides),
      begin: interleaved(s.begin),
      end: interleaved(s.end),
    }),
  });
  const found = g.shape(taken).slice(2);
  const apart = g.reshape(taken, [filters, ...found.with(last, (found[last] as number) / channels), channels]);
  const inner = s.kernel.map((_, i) => i + 1);
  const exact = s.kernel.every((k, i) => k === g.shape(apart)[i + 1]);
  const cut = exact
    ? apart
    : g.slice(
        apart,
        s.kernel.map(() => 0),
        s.kernel,
        inner,
      );
  return g.transpose(cut, [0, last + 2, ...inner]);
}

/** Whether windows lie side by side and cover the input: every element is read once. */
const isPatches = (g: Backward, x: string, s: Slide, out: readonly number[]): boolean =>
  elements(s.kernel) > 1 &&
  s.kernel.every(
    (k, i) =>
      k === s.strides[i] && s.dilations[i] === 1 && s.begin[i] === 0 && (out[i] as number) * k === g.shape(x)[i + 2],
  );

/** The input with a row for each element of a patch, [C·k, N·positions]: one product gives the kernel. */
function patchGradient(g: Backward, x: string, dy: string, s: Slide): string {
  const [batch, channels] = g.shape(x) as [number, number];
  const [, filters, ...out] = g.shape(dy) as [number, number, ...number[]];
  const split = g.reshape(x, [batch, channels, ...out.flatMap((size, i) => [size, s.kernel[i] as number])]);
  const [places, inside] = [out.map((_, i) => 2 + 2 * i), out.map((_, i) => 3 + 2 * i)];
  const rows = g.reshape(g.transpose(split, [1, ...inside, 0, ...places]), [
    channels * elements(s.kernel),
    batch * elements(out),
  ]);
  const flat = g.reshape(g.transpose(dy, [1, 0, ...spatialAxes(out.length)]), [filters, batch * elements(out)]);
  return g.reshape(g.matMul(flat, rows, { transB: true }), [filters, channels, ...s.kernel]);
}

/** Every channel of every example is convolved with its own dY, dilated by the stride. */
function depthwiseGradient(g: Backward, x: string, dy: string, s: Slide): string {
  const [batch, channels, ...sizes] = g.shape(x) as [number, number, ...number[]];
  const out = g.shape(dy).slice(2);
  const attrs = {
    ...slideAttrs({ ...s, kernel: out, strides: s.dilations, dilations: s.strides }),
    group: int(batch * channels),
  };
  const inputs = [g.reshape(x, [1, batch * channels, ...sizes]), g.reshape(dy, [batch * channels, 1, ...out])];
  const taken = g.op("Conv", inputs, attrs);
  const cut = g
    .shape(taken)
    .slice(2)
    .every((size, i) => size === s.kernel[i])
    ? taken
    : g.slice(
        taken,
        s.kernel.map(() => 0),
        s.kernel,
        spatialAxes(s.kernel.length),
      );
  return g.reshape(g.sum(g.reshape(cut, [batch, channels, ...s.kernel]), [0], false), [channels, 1, ...s.kernel]);
}

export const convGradients: Gradients = {
  // y = W ∗ x + b; of dy = a · u, a number a channel, the kernel takes a: dX = (aW)ᵀ ∗ u, dW = a · (x ∗ u), db = a · Σ u
  Conv: (g) => {
    const [x, w] = g.x as [string, string];
    const { of: dy, factor } = unscaled(g, g.dy, 1);
    const s = slideOf(g.node, g.shape(w).slice(2), g.shape(x).slice(2), g.shape(g.y).slice(2));
    const group = g.int("group", 1);
    return [
      g.wants(0) ? inputGradient(g, dy, scaledBy(g, w, factor), s, group) : undefined,
      g.wants(1) ? scaledBy(g, kernelGradient(g, x, dy, s, group), factor) : undefined,
      g.wants(2) ? scaledBy(g, biasGradient(g, dy), factor) : undefined,
    ];
  },
  // y = Wᵀ ∗ x + b: the gradients of a convolution that takes y to x
  ConvTranspose: (g) => {
    const [x, w] = g.x as [string, string];
    const s = transposedSlide(g, g.shape(w).slice(2), g.shape(x).slice(2), g.shape(g.y).slice(2));
    const group = g.int("group", 1);
    return [
      g.wants(0) ? g.op("Conv", [g.dy, w], { ...slideAttrs(s), group: int(group) }) : undefined,
      g.wants(1) ? kernelGradient(g, g.dy, x, s, group) : undefined,
      g.wants(2) ? biasGradient(g, g.dy) : undefined,
    ];
  },
  ConvInteger: { none: "its output is an integer" },
  DeformConv: { missing: "its offsets move what it reads, which Minnow does not follow" },
  "com.microsoft:FusedConv": { missing: "it is what a runtime makes of Conv; train the model as it was exported" },
  QLinearConv: {
    missing: "it computes in integers; train the float model, or one with QuantizeLinear and DequantizeLinear",
  },
};

/** The slide of the convolution that would take a ConvTranspose's output back to its input. */
function transposedSlide(
  g: Backward,
  kernel: readonly number[],
  small: readonly number[],
  large: readonly number[],
): Slide {
  const plain = slideOf(g.node, kernel, large, small);
  const asked = g.list("output_shape");
  const autoPad = g.text("auto_pad", "NOTSET");
  if (asked === undefined && !autoPad.startsWith("SAME")) return plain;
  // ONNX: total pads are what the full output has too much; SAME_UPPER puts the odd one at the end, everything else at the beginning.
  const extra = g.list("output_padding") ?? kernel.map(() => 0);
  const total = plain.begin.map((b, i) => Math.max(0, b + (plain.end[i] as number) + (extra[i] as number)));
  const begin = total.map((t) => (autoPad === "SAME_UPPER" ? Math.floor(t / 2) : Math.ceil(t / 2)));
  const end = plain.end.map((e, i) => e + (plain.begin[i] as number) - (begin[i] as number));
  return { ...plain, begin, end };
}
