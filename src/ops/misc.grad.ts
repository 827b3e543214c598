import { MinnowError } from "../errors.ts";
import { int, string } from "../ir/attrs.ts";
import { titleOf } from "../ir/walk.ts";
import type { Backward, Gradient, Gradients } from "./gradient.ts";

/** The kept elements pass their gradient on, the others get none: each place reads its own from dy, or the zero behind dy. */
const compress: Gradient = (g) => {
  const x = g.x[0] as string;
  const flags = g.numbers(1);
  if (flags === undefined)
    throw new MinnowError("What it keeps is computed, so the size of its output is not known before the run.", {
      code: "train/open-shape",
      at: titleOf(g.node),
      mend: "Make its condition a constant.",
    });
  const along = g.node.attrs["axis"] !== undefined;
  const axis = along ? g.axis(g.int("axis", 0), x) : 0;
  const size = along ? (g.shape(x)[axis] as number) : g.size(x);
  const count = flags.filter((flag) => flag !== 0).length;
  let next = 0;
  const places = Array.from({ length: size }, (_, i) => (flags[i] ? next++ : count));
  const rank = g.rank(g.dy);
  const behind = Array.from({ length: 2 * rank }, (_, i) => (i === rank + axis ? 1 : 0));
  const picked = g.op("Gather", [g.pad(g.dy, behind), g.ints(places)], { axis: int(axis) });
  return [g.reshape(picked, g.shape(x))];
};

/** The first `size` positions of an axis, with zeros where there are fewer. */
function fitted(g: Backward, a: string, axis: number, size: number): string {
  const [own, rank] = [g.shape(a)[axis] as number, g.rank(a)];
  if (own > size) return g.slice(a, [0], [size], [axis]);
  return g.pad(
    a,
    Array.from({ length: 2 * rank }, (_, i) => (i === rank + axis ? size - own : 0)),
  );
}

/** The discrete Fourier transform of complex numbers [..., 2] over all frequencies. */
const transform = (g: Backward, a: string, axis: number, inverse: boolean, onesided = false): string =>
  g.op("DFT", [a, "", g.constant("int64", [], [axis])], { inverse: int(+inverse), onesided: int(+onesided) });

/**
 * The transform F is symmetric, so d of real and imaginary parts goes back by its conjugate: F̄ = n F⁻¹ (and F̄⁻¹ = F / n).
 * Frequencies and numbers that were left out come back as zeros; of half a spectrum those inside count twice when it is
 * turned into real numbers.
 */
const dft: Gradient = (g) => {
  const x = g.x[0] as string;
  const axis = g.axis(g.x[2] ? (g.numbers(2)?.[0] as number) : -2, x);
  const [inverse, half] = [g.int("inverse", 0) === 1, g.int("onesided", 0) === 1];
  const from = g.shape(x)[axis] as number;
  const length = g.x[1] ? (g.numbers(1)?.[0] as number) : inverse && half ? 2 * (from - 1) : from;
  if (inverse && half) {
    const bins = Math.floor(length / 2) + 1;
    const weights = Array.from({ length: bins }, (_, i) => (i === 0 || 2 * i === length ? 1 : 2) / length);
    const shape = g.shape(x).map((_, i) => (i === axis ? bins : 1));
    const spectrum = g.mul(transform(g, g.dy, axis, false, true), g.constant(g.dtype(x), shape, weights));
    return [fitted(g, spectrum, axis, from)];
  }
  const back = transform(g, fitted(g, g.dy, axis, length), axis, !inverse);
  const all = g.mul(inverse ? 1 / length : length, back);
  const real = g.shape(x).at(-1) === 1 ? g.slice(all, [0], [1], [g.rank(all) - 1]) : all;
  return [fitted(g, real, axis, from)];
};

/** Each frame goes back as in DFT, times the window, and is added to the places of the signal that it was cut from. */
const stft: Gradient = (g) => {
  const [signal, , window] = g.x as [string, string, string | undefined];
  const [batch, frames] = g.shape(g.dy) as [number, number];
  const step = g.numbers(1)?.[0] as number;
  const length = g.x[3] ? (g.numbers(3)?.[0] as number) : (g.shape(window as string)[0] as number);
  const back = g.mul(length, transform(g, fitted(g, g.dy, 2, length), 2, true));
  const dFrames = g.reshape(g.slice(back, [0], [1], [3]), [batch, frames, length]);
  const pieces = window ? g.mul(dFrames, window) : dFrames;
  const places = Array.from({ length: frames * length }, (_, i) => Math.floor(i / length) * step + (i % length));
  const flat = [batch, frames * length];
  const at = g.expand(g.constant("int64", [1, frames * length], places), flat);
  const samples = g.shape(signal)[1] as number;
  const empty = g.zerosLike(g.reshape(signal, [batch, samples]));
  const sum = g.op("ScatterElements", [empty, at, g.reshape(pieces, flat)], {
    axis: int(1),
    reduction: string("add"),
  });
  return [g.reshape(sum, g.shape(signal))];
};

const SIZES = { none: "it is made of sizes" };

export const miscGradients: Gradients = {
  BlackmanWindow: SIZES,
  Compress: compress,
  DFT: dft,
  Det: { missing: "it needs the inverse of a matrix, for which ONNX has no operator" },
  EyeLike: { none: "only the shape of its input is read" },
  HammingWindow: SIZES,
  HannWindow: SIZES,
  MelWeightMatrix: SIZES,
  NonZero: { none: "its output is places" },
  STFT: stft,
  // The same triangle of dy.
  Trilu: (g) => [g.op("Trilu", [g.dy, ...g.x.slice(1)], g.node.attrs)],
  Unique: { missing: "how many values come out depends on what goes in" },
};
