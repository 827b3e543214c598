import { int, intAttr, ints, intsAttr, type Node } from "../ir/index.ts";
import type { Emitter } from "../ops/emit.ts";
import { blockedKernels, type Emit } from "./block-kernels.ts";

/** A transposed convolution in numbers. */
interface Site {
  readonly kernel: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly pads: readonly [number, number, number, number];
  /** Of what it reads and of what it writes: [N, C, H, W]. */
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/**
 * A transposed convolution of a blocked `input`, blocked too: depthwise ones over the input spread out with zeros, dense ones
 * phase by phase. ONNX Runtime's own takes a product an example or a channel, and puts it together number by number.
 * undefined where there is a bias, a dilation, or groups of another kind.
 */
export function transposedOnBlocks(
  g: Emitter,
  emit: Emit,
  node: Node,
  input: string,
  block: number,
): string | undefined {
  const [x, w, bias] = node.inputs as [string, string, string?];
  const [from, to] = [g.shape(x), g.shape(node.outputs[0] as string)];
  const [, each, ...kernel] = g.shape(w) as [number, number, ...number[]];
  if (bias || kernel.length !== 2 || (intsAttr(node, "dilations") ?? []).some((d) => d !== 1)) return undefined;
  const site = {
    kernel,
    strides: intsAttr(node, "strides") ?? [1, 1],
    pads: intsAttr(node, "pads") ?? [0, 0, 0, 0],
    from,
    to,
  } as unknown as Site;
  const group = intAttr(node, "group", 1);
  if (group === 1) return phases(g, emit, input, w, site, block);
  return each === 1 && group === from[1] ? spreadOut(g, emit, input, w, site, block) : undefined;
}

/** Depthwise: zeros between the positions, then a convolution by the turned kernel. */
function spreadOut(g: Emitter, emit: Emit, input: string, w: string, s: Site, b: number): string | undefined {
  const [batch, filled, height, width] = g.shape(input) as [number, number, number, number];
  const [down, across] = s.strides;
  const gaps = [0, 0, 0, 0, 0, 0, 0, down - 1, 0, (across - 1) * b];
  const apart = g.pad(g.reshape(input, [(batch * filled) / b, height, 1, width, b]), gaps);
  const spread = g.reshape(apart, [batch, filled, height * down, width * across]);
  const begin = s.kernel.map((k, i) => k - 1 - (s.pads[i] as number));
  const end = s.kernel.map(
    (k, i) =>
      (s.to[i + 2] as number) - (s.from[i + 2] as number) * (s.strides[i] as number) - (begin[i] as number) + k - 1,
  );
  if ([...begin, ...end].some((pad) => pad < 0)) return undefined;
  const turned = g.slice(w, [-1, -1], [-(2 ** 31), -(2 ** 31)], [2, 3], [-1, -1]);
  const attrs = { kernel_shape: ints(s.kernel), pads: ints([...begin, ...end]), group: int(filled) };
  return emit("Conv", [spread, blockedKernels(g, turned, b, 1)], [batch, filled, ...s.to.slice(2)], attrs);
}

/** What the outputs at one phase of an axis come from: taps `first`, `first` + stride, …, `count` of them, with pads. */
interface Phase {
  readonly first: number;
  readonly count: number;
  readonly begin: number;
  readonly end: number;
}

/**
 * Dense: of the outputs y[s·a + p] those of one phase p read the taps t ≡ p + pad (mod s) alone, so they are a convolution of
 * their own by these taps, turned round. All phases, put side by side, are the output.
 */
function phases(g: Emitter, emit: Emit, input: string, w: string, s: Site, block: number): string | undefined {
  const [down, across] = [phasesOf(s, 0), phasesOf(s, 1)];
  if (down === undefined || across === undefined) return undefined;
  const channels = Math.ceil((s.to[1] as number) / block) * block;
  const [batch, , rows, columns] = s.to as [number, number, number, number];
  const [height, width] = [rows / s.strides[0], columns / s.strides[1]];
  const one = (a: Phase, b: Phase): string => {
    const last = (p: Phase, i: number) => p.first + (s.strides[i] as number) * (p.count - 1);
    const stop = (p: Phase) => (p.first === 0 ? -(2 ** 31) : p.first - 1);
    const steps = s.strides.map((stride) => -stride);
    const taken = g.slice(w, [last(a, 0), last(b, 1)], [stop(a), stop(b)], [2, 3], steps);
    const kernels = blockedKernels(g, g.transpose(taken, [1, 0, 2, 3]), block, block);
    const attrs = { kernel_shape: ints([a.count, b.count]), pads: ints([a.begin, b.begin, a.end, b.end]) };
    return emit("Conv", [input, kernels], [batch, channels, height, width], attrs);
  };
  const pieces = (batch * channels) / block;
  const lines = down.map((a) =>
    g.concat(
      across.map((b) => g.reshape(one(a, b), [pieces * height * width, 1, block])),
      1,
    ),
  );
  const rowsOf = lines.map((line) => g.reshape(line, [pieces * height, 1, columns * block]));
  return g.reshape(g.concat(rowsOf, 1), [batch, channels, rows, columns]);
}

/** The phases of a spatial axis; undefined where they are of several lengths, or one has no taps or reads beyond the ends. */
function phasesOf(s: Site, i: 0 | 1): Phase[] | undefined {
  const [k, stride, pad] = [s.kernel[i], s.strides[i], s.pads[i] as number];
  const [size, made] = [s.from[i + 2] as number, s.to[i + 2] as number];
  if (stride === 1 || made % stride !== 0) return undefined;
  const all = Array.from({ length: stride }, (_, p) => {
    const [first, ahead] = [(p + pad) % stride, Math.floor((p + pad) / stride)];
    const count = Math.ceil((k - first) / stride);
    return { first, count, begin: count - 1 - ahead, end: made / stride + ahead - size };
  });
  return all.every(({ count, begin, end }) => count > 0 && begin >= 0 && end >= 0) ? all : undefined;
}
