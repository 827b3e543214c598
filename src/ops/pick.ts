import { type Dim, divideExactly, isKnown, mulDim, productOf, sameDim, UNKNOWN } from "../ir/dim.ts";
import { type Applied, type AxesRule, defineOp, type Fact, type FrozenAxes, type OpRule } from "./define.ts";
import { flat, frozen, lettersFor, nameable, picked, sizesIn, unknowns } from "./elements.ts";
import { axisOf, fact, numbersOf, required } from "./facts.ts";

const UNKNOWN_RANK = "picks from a tensor of unknown rank";

/**
 * The axes of two operands of one rank, where one is looked up or written by position along `axis`: that axis frozen in
 * `data`, another letter in `other` (under `mark`), and the rest equal where their sizes are.
 */
function alongAxis(
  n: Applied,
  axis: number,
  data: readonly Dim[],
  other: readonly Dim[],
  mark = "",
): readonly [string, string] {
  const [own, more] = [lettersFor(data.length), lettersFor(data.length, data.length)];
  const equal = (i: number) => i !== axis && sameDim(data[i] ?? UNKNOWN, other[i] ?? UNKNOWN);
  if (other.length !== data.length) n.fail(`its indices are [${other}] for data of [${data}].`, "Both have one rank.");
  return [
    own.map((letter, i) => (equal(i) ? letter : `!${letter}`)).join(""),
    own.map((letter, i) => (equal(i) ? letter : i === axis ? `${mark}${more[i]}` : `!${more[i]}`)).join(""),
  ];
}

const gatherElements = defineOp({
  name: "GatherElements",
  since: 11,
  infer: (n) => {
    const [x, indices] = [required(n, 0), required(n, 1)];
    if (x.shape !== undefined) axisOf(n, n.int("axis", 0), x.shape.length);
    return [fact(x.dtype, indices.shape)];
  },
  axes: (n) => {
    const [data, indices] = [n.inputs[0]?.shape, n.inputs[1]?.shape];
    if (data === undefined || indices === undefined || !nameable(2 * data.length)) return frozen(n, UNKNOWN_RANK);
    const [left, right] = alongAxis(n, axisOf(n, n.int("axis", 0), data.length), data, indices);
    return `${left},${right} -> ${right}`;
  },
  quant: { kind: "transparent" },
});

const scatterElements = defineOp({
  name: "ScatterElements",
  since: 11,
  infer: (n) => {
    const x = required(n, 0);
    if (x.shape !== undefined) axisOf(n, n.int("axis", 0), x.shape.length);
    return [fact(x.dtype, x.shape)];
  },
  axes: (n) => {
    const [data, indices] = [n.inputs[0]?.shape, n.inputs[1]?.shape];
    if (data === undefined || indices === undefined || !nameable(2 * data.length)) return frozen(n, UNKNOWN_RANK);
    const [left, right] = alongAxis(n, axisOf(n, n.int("axis", 0), data.length), data, indices, "!");
    return `${left},${right},${right} -> ${left}`;
  },
});

/** How many leading axes the tuples in the last axis of the indices look up, after the axes of the batch. */
function tupleSize(n: Applied, batch: number): number | undefined {
  const [rank, size] = [n.inputs[0]?.shape?.length, n.inputs[1]?.shape?.at(-1)];
  if (n.inputs[1]?.shape?.length === 0) n.fail("its indices are a scalar.");
  if (rank === undefined || size === undefined || !isKnown(size)) return undefined;
  if (batch + size > rank) n.fail(`its indices are tuples of ${size} for data of rank ${rank}.`);
  return size;
}

const gatherND = defineOp({
  name: "GatherND",
  since: 11,
  infer: (n) => {
    const [x, indices] = [required(n, 0), required(n, 1)];
    const batch = n.int("batch_dims", 0);
    const size = tupleSize(n, batch);
    if (x.shape === undefined || indices.shape === undefined || size === undefined) return [fact(x.dtype)];
    const outer = indices.shape.slice(0, -1);
    const shape = [...outer, ...x.shape.slice(batch + size)];
    const list = numbersOf(indices);
    const source = (at: readonly number[]): number[] => {
      const first = flat([...at.slice(0, outer.length), 0], indices.shape as number[]);
      const tuple = (list ?? []).slice(first, first + size);
      const looked = tuple.map((index, i) => (index < 0 ? index + (x.shape?.[batch + i] as number) : index));
      return [...at.slice(0, batch), ...looked, ...at.slice(outer.length)];
    };
    return [fact(x.dtype, shape, list && picked(shape, x.value, x.shape, source))];
  },
  axes: (n) => {
    const [data, indices] = [n.inputs[0]?.shape, n.inputs[1]?.shape];
    const batch = n.int("batch_dims", 0);
    const size = tupleSize(n, batch);
    if (!data || !indices || size === undefined || !nameable(data.length + indices.length))
      return frozen(n, UNKNOWN_RANK);
    const own = lettersFor(data.length);
    const more = lettersFor(indices.length - batch, data.length);
    const front = own.slice(0, batch).join("");
    const middle = more.slice(0, -1).join("");
    const rest = own.slice(batch + size).join("");
    const looked = own.slice(batch, batch + size).map((letter) => `!${letter}`);
    return `${front}${looked.join("")}${rest},${front}${middle}!${more.at(-1)} -> ${front}${middle}${rest}`;
  },
});

const scatterND = defineOp({
  name: "ScatterND",
  since: 11,
  infer: (n) => {
    const [x, indices, updates] = [required(n, 0), required(n, 1), required(n, 2)];
    const size = tupleSize(n, 0);
    return [fact(x.dtype, x.shape, size === undefined ? undefined : written(n, x, indices, updates, size))];
  },
  axes: (n) => {
    const [data, indices] = [n.inputs[0]?.shape, n.inputs[1]?.shape];
    const size = tupleSize(n, 0);
    if (!data || !indices || size === undefined || !nameable(data.length + indices.length))
      return frozen(n, UNKNOWN_RANK);
    const own = lettersFor(data.length).map((letter, i) => (i < size ? `!${letter}` : letter));
    const more = lettersFor(indices.length, data.length);
    const outer = more
      .slice(0, -1)
      .map((letter) => `!${letter}`)
      .join("");
    return `${own.join("")},${outer}!${more.at(-1)},${outer}${own.slice(size).join("")} -> ${own.join("")}`;
  },
});

/** The value of `x` with slices replaced; undefined where a position is not known or an update is folded in. */
function written(n: Applied, x: Fact, indices: Fact, updates: Fact, size: number): Dim[] | undefined {
  const list = numbersOf(indices);
  const known = x.shape?.every(isKnown) && x.value !== undefined && updates.value !== undefined;
  if (!known || list === undefined || size === 0 || n.string("reduction", "none") !== "none") return undefined;
  const shape = x.shape as readonly number[];
  const inner = shape.slice(size).reduce((a, b) => a * b, 1);
  const out = [...(x.value ?? [])];
  for (let k = 0; k * size < list.length; k++) {
    const tuple = list.slice(k * size, (k + 1) * size);
    const at = tuple.map((index, i) => (index < 0 ? index + (shape[i] as number) : index));
    const first = flat(at, shape.slice(0, size)) * inner;
    for (let i = 0; i < inner; i++) out[first + i] = updates.value?.[k * inner + i] ?? UNKNOWN;
  }
  return out.length === x.value?.length ? out : n.fail("an index lies outside the data.");
}

/** Channels into blocks of pixels. */
const depthToSpace = defineOp({
  name: "DepthToSpace",
  since: 1,
  infer: (n) => {
    const [x, block] = [required(n, 0), n.int("blocksize", 1)];
    const [batch, channels, height, width] = image(n, x) ?? [];
    if (batch === undefined || channels === undefined || height === undefined || width === undefined)
      return [fact(x.dtype, unknowns(n, x.shape && 4))];
    const depth = channels === UNKNOWN ? UNKNOWN : divideExactly(channels, block * block);
    if (depth === undefined && isKnown(channels))
      n.fail(`${channels} channels do not make blocks of ${block} × ${block}.`);
    return [fact(x.dtype, [batch, depth ?? UNKNOWN, mulDim(height, block), mulDim(width, block)])];
  },
  axes: (n) => {
    const block = n.int("blocksize", 1);
    const channels = n.string("mode", "DCR") === "CRD" ? "(c!x!y)" : "(!x!yc)";
    return { map: `n${channels}!h!w -> nc(hx)(wy)`, sizes: { x: block, y: block } };
  },
  quant: { kind: "transparent" },
});

/** Blocks of pixels into channels. */
const spaceToDepth = defineOp({
  name: "SpaceToDepth",
  since: 1,
  infer: (n) => {
    const [x, block] = [required(n, 0), n.int("blocksize", 1)];
    const shape = image(n, x)?.map((d, i) => {
      if (i === 0) return d;
      if (i === 1) return mulDim(d, block * block);
      const blocks = divideExactly(d, block);
      if (blocks === undefined && isKnown(d)) n.fail(`${d} pixels do not make blocks of ${block}.`);
      return blocks ?? UNKNOWN;
    });
    return [fact(x.dtype, shape)];
  },
  axes: (n) => {
    const block = n.int("blocksize", 1);
    return { map: "nc(!h!x)(!w!y) -> n(xyc)hw", sizes: { x: block, y: block } };
  },
});

/** The shape [N, C, H, W] of an input, where its rank is known. */
function image(n: Applied, x: Fact): readonly Dim[] | undefined {
  if (x.shape && x.shape.length !== 4) n.fail(`its input is [${x.shape}]; it takes [N, C, H, W].`);
  if (n.int("blocksize", 1) < 1) n.fail("its blocksize is below 1.");
  return x.shape;
}

const oneHot = defineOp({
  name: "OneHot",
  since: 9,
  infer: (n) => {
    const { shape } = required(n, 0);
    const dtype = required(n, 2).dtype;
    if (shape === undefined) return [fact(dtype)];
    const axis = axisOf(n, n.int("axis", -1), shape.length + 1);
    const depth = required(n, 1).value?.[0] ?? UNKNOWN;
    if (isKnown(depth) && depth < 1) n.fail(`its depth is ${depth}.`);
    const size = isKnown(depth) ? Math.trunc(depth) : depth;
    return [fact(dtype, [...shape.slice(0, axis), size, ...shape.slice(axis)])];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || !nameable(rank + 1)) return frozen(n, UNKNOWN_RANK);
    const letters = lettersFor(rank);
    const axis = axisOf(n, n.int("axis", -1), rank + 1);
    const hot = `!${lettersFor(1, rank)[0]}`;
    return `${letters.join("")},, -> ${[...letters.slice(0, axis), hot, ...letters.slice(axis)].join("")}`;
  },
});

const reverseSequence = defineOp({
  name: "ReverseSequence",
  since: 10,
  infer: (n) => {
    const { dtype, shape } = required(n, 0);
    if (shape && shape.length < 2) n.fail(`its input is [${shape}]; it takes a batch of sequences.`);
    return [fact(dtype, shape)];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || !nameable(rank)) return frozen(n, "runs along an axis of unknown place");
    const letters = lettersFor(rank);
    const time = axisOf(n, n.int("time_axis", 0), rank);
    const own = letters.map((letter, i) => (i === time ? `!${letter}` : letter)).join("");
    return `${own},${letters[axisOf(n, n.int("batch_axis", 1), rank)]} -> ${own}`;
  },
});

const gridSample = defineOp({
  name: "GridSample",
  since: 16,
  infer: (n) => {
    const [x, grid] = [required(n, 0), required(n, 1)];
    if (x.shape === undefined || grid.shape === undefined) return [fact(x.dtype)];
    if (x.shape.length < 3 || grid.shape.length !== x.shape.length)
      n.fail(`its input is [${x.shape}], its grid [${grid.shape}]; both have one rank, 3 or more.`);
    return [fact(x.dtype, [...x.shape.slice(0, 2), ...grid.shape.slice(1, -1)])];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || !nameable(2 * rank)) return frozen(n, UNKNOWN_RANK);
    const from = lettersFor(rank - 2, 2).map((letter) => `!${letter}`);
    const to = lettersFor(rank - 2, rank).join("");
    return `ab${from.join("")},a${to}!${lettersFor(1, 2 * rank - 2)[0]} -> ab${to}`;
  },
});

const affineGrid = defineOp({
  name: "AffineGrid",
  since: 20,
  infer: (n) => {
    const theta = required(n, 0);
    required(n, 1);
    const size = sizesIn(n, 1);
    if (size && size.length !== 4 && size.length !== 5)
      n.fail(`it makes a grid for an image of [${size}]; it takes [N, C, H, W] or [N, C, D, H, W].`);
    const spatial = size?.slice(2) ?? unknowns(n, theta.shape?.[1]);
    const [batch = UNKNOWN] = [theta.shape?.[0], size?.[0]].filter((d) => d !== UNKNOWN && d !== undefined);
    return [fact(theta.dtype, spatial && [batch, ...spatial, spatial.length])];
  },
  axes: (n): AxesRule | FrozenAxes => {
    const rank = n.results[0]?.shape?.length;
    if (rank === undefined || !nameable(rank + 2)) return frozen(n, "makes a grid of unknown rank");
    return {
      map: `!a!b!c, -> ${lettersFor(rank, 3)
        .map((letter) => `!${letter}`)
        .join("")}`,
    };
  },
});

/** Writes new entries of a cache along one axis, each batch from a position of its own. */
const tensorScatter = defineOp({
  name: "TensorScatter",
  since: 24,
  infer: (n) => {
    const [x, update] = [required(n, 0), required(n, 1)];
    if (x.shape && update.shape && x.shape.length !== update.shape.length)
      n.fail(`it writes [${update.shape}] into [${x.shape}].`, "Both have one rank.");
    if (x.shape !== undefined) axisOf(n, n.int("axis", -2), x.shape.length);
    return [fact(x.dtype, x.shape)];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined || !nameable(rank + 1)) return frozen(n, "writes to a tensor of unknown rank");
    const [letters, axis] = [lettersFor(rank), axisOf(n, n.int("axis", -2), rank)];
    const along = (own: string) => letters.map((letter, i) => (i === axis ? `!${own}` : letter)).join("");
    const cache = along(letters[axis] ?? "");
    const indices = n.inputs.length < 3 ? "" : n.node.inputs[2] ? `,${letters[0]}` : ",";
    return `${cache},${along(lettersFor(1, rank)[0] ?? "")}${indices} -> ${cache}`;
  },
});

const roiAlign = defineOp({
  name: "RoiAlign",
  since: 10,
  infer: (n) => {
    const [x, rois] = [required(n, 0), required(n, 1)];
    const size = [n.int("output_height", 1), n.int("output_width", 1)];
    return [fact(x.dtype, [rois.shape?.[0] ?? UNKNOWN, x.shape?.[1] ?? UNKNOWN, ...size])];
  },
  axes: () => "!nc!h!w,r!q,r -> rc!x!y",
});

const nonMaxSuppression = defineOp({
  name: "NonMaxSuppression",
  since: 10,
  infer: () => [fact("int64", [UNKNOWN, 3])],
  axes: (n) => frozen(n, "picks boxes by what they hold"),
});

const col2Im = defineOp({
  name: "Col2Im",
  since: 18,
  infer: (n) => {
    const x = required(n, 0);
    required(n, 1);
    required(n, 2);
    const [size, block] = [sizesIn(n, 1), sizesIn(n, 2)];
    if (size === undefined) return [fact(x.dtype)];
    const [batch, columns] = [x.shape?.[0] ?? UNKNOWN, x.shape?.[1] ?? UNKNOWN];
    const channels = block && divideExactly(columns, productOf(block));
    if (block && channels === undefined && isKnown(columns) && block.every(isKnown))
      n.fail(`${columns} rows do not make blocks of [${block}].`);
    return [fact(x.dtype, [batch, channels ?? UNKNOWN, ...size])];
  },
  axes: (n): AxesRule | FrozenAxes => {
    const block = numbersOf(n.inputs[2]);
    if (block === undefined || !nameable(block.length + 4)) return frozen(n, "has computed blocks");
    const spatial = lettersFor(block.length, 4).map((letter) => `!${letter}`);
    return { map: `a(b!c)!d,, -> ab${spatial.join("")}`, sizes: { c: block.reduce((a, b) => a * b, 1) } };
  },
});

/** Operators that look up, write or resample elements by position. */
export const picks: readonly OpRule[] = [
  affineGrid,
  col2Im,
  depthToSpace,
  gatherElements,
  gatherND,
  gridSample,
  nonMaxSuppression,
  oneHot,
  reverseSequence,
  roiAlign,
  scatterElements,
  scatterND,
  spaceToDepth,
  tensorScatter,
];
