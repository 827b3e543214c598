import { addDim, type Dim, floorDiv, mulDim, productOf, subDim, UNKNOWN } from "../ir/dim.ts";
import { type Applied, defineOp, type OpRule } from "./define.ts";
import { axisOf, fact, namedType, numbersOf, required } from "./facts.ts";

const byPosition = { frozen: "its elements are picked or made by position" };

/** The one number an input holds, where it is known. */
const scalar = (n: Applied, index: number): Dim | undefined => n.inputs[index]?.value?.[0];

/** Half a spectrum: the frequencies of a real signal of this length that are not mirrored. */
const onesided = (length: Dim): Dim => addDim(floorDiv(length, 2), 1);

/** Weights of a window as long as the input says. */
const windowOf = (name: string): OpRule =>
  defineOp({
    name,
    since: 17,
    infer: (n) => [fact(namedType(n, "output_datatype", "float32"), [scalar(n, 0) ?? UNKNOWN])],
    axes: () => byPosition,
  });

const compress = defineOp({
  name: "Compress",
  since: 9,
  infer: (n) => {
    const x = required(n, 0);
    const kept = numbersOf(n.inputs[1])?.filter((v) => v !== 0).length;
    if (!n.has("axis")) return [fact(x.dtype, [kept ?? UNKNOWN])];
    if (x.shape === undefined) return [fact(x.dtype)];
    const axis = axisOf(n, n.int("axis", 0), x.shape.length);
    return [
      fact(
        x.dtype,
        x.shape.map((dim, i) => (i === axis ? (kept ?? UNKNOWN) : dim)),
      ),
    ];
  },
  axes: () => byPosition,
});

const det = defineOp({
  name: "Det",
  since: 11,
  infer: (n) => {
    const { dtype, shape } = required(n, 0);
    if (shape && shape.length < 2) n.fail(`its input has rank ${shape.length}; it takes square matrices.`);
    return [fact(dtype, shape?.slice(0, -2))];
  },
  axes: () => "...!a!b -> ...",
});

const dft = defineOp({
  name: "DFT",
  since: 20,
  infer: (n) => {
    const { dtype, shape } = required(n, 0);
    const at = n.node.inputs[2] ? numbersOf(n.inputs[2])?.[0] : -2;
    if (shape === undefined) return [fact(dtype)];
    const axis = at === undefined ? undefined : axisOf(n, at, shape.length);
    const half = n.int("onesided", 0) === 1;
    const real = half && n.int("inverse", 0) === 1;
    const sizes = shape.map((dim, i) => {
      if (axis === undefined) return UNKNOWN;
      if (i !== axis) return dim;
      const length = n.node.inputs[1] ? (scalar(n, 1) ?? UNKNOWN) : real ? mulDim(2, subDim(dim, 1)) : dim;
      return half && !real ? onesided(length) : length;
    });
    return [fact(dtype, [...sizes.slice(0, -1), real ? 1 : 2])];
  },
  axes: () => byPosition,
});

const eyeLike = defineOp({
  name: "EyeLike",
  since: 9,
  infer: (n) => [fact(namedType(n, "dtype", required(n, 0).dtype), required(n, 0).shape)],
  axes: () => byPosition,
});

const melWeightMatrix = defineOp({
  name: "MelWeightMatrix",
  since: 17,
  infer: (n) => [
    fact(namedType(n, "output_datatype", "float32"), [onesided(scalar(n, 1) ?? UNKNOWN), scalar(n, 0) ?? UNKNOWN]),
  ],
  axes: () => byPosition,
});

const nonZero = defineOp({
  name: "NonZero",
  since: 9,
  infer: (n) => {
    const { shape } = required(n, 0);
    return [fact("int64", [shape === undefined ? UNKNOWN : Math.max(1, shape.length), UNKNOWN])];
  },
  axes: () => byPosition,
});

const stft = defineOp({
  name: "STFT",
  since: 17,
  infer: (n) => {
    const signal = required(n, 0);
    if (signal.shape === undefined) return [fact(signal.dtype)];
    const length = (n.node.inputs[3] ? scalar(n, 3) : n.inputs[2]?.shape?.[0]) ?? UNKNOWN;
    const step = scalar(n, 1) ?? UNKNOWN;
    const frames = addDim(floorDiv(subDim(signal.shape[1] ?? UNKNOWN, length), step), 1);
    const bins = n.int("onesided", 1) === 1 ? onesided(length) : length;
    return [fact(signal.dtype, [signal.shape[0] ?? UNKNOWN, frames, bins, 2])];
  },
  axes: () => byPosition,
});

const trilu = defineOp({
  name: "Trilu",
  since: 14,
  infer: (n) => {
    const x = required(n, 0);
    if (x.shape && x.shape.length < 2) n.fail(`its input has rank ${x.shape.length}; it takes matrices.`);
    return [fact(x.dtype, x.shape)];
  },
  axes: (n) => `...!a!b${",".repeat(n.inputs.length - 1)} -> ...!a!b`,
});

const unique = defineOp({
  name: "Unique",
  since: 11,
  infer: (n) => {
    const x = required(n, 0);
    const counts = fact("int64", [UNKNOWN]);
    const along = n.has("axis") && x.shape ? axisOf(n, n.int("axis", 0), x.shape.length) : undefined;
    const shape = n.has("axis") ? x.shape?.map((dim, i) => (i === along ? UNKNOWN : dim)) : [UNKNOWN];
    const length = n.has("axis") ? (x.shape?.[along ?? 0] ?? UNKNOWN) : sizeOf(x.shape);
    return [fact(x.dtype, shape), counts, fact("int64", [length]), counts];
  },
  axes: () => byPosition,
});

const sizeOf = (shape: readonly Dim[] | undefined): Dim => (shape === undefined ? UNKNOWN : productOf(shape));

/** Operators that make or pick elements by position: windows, spectra, triangles, what is not zero. */
export const misc: readonly OpRule[] = [
  windowOf("BlackmanWindow"),
  compress,
  det,
  dft,
  eyeLike,
  windowOf("HammingWindow"),
  windowOf("HannWindow"),
  melWeightMatrix,
  nonZero,
  stft,
  trilu,
  unique,
];
