import { int, string } from "../ir/attrs.ts";
import type { Backward, Gradients } from "./gradient.ts";
import { gridSampled } from "./grid.grad.ts";
import { addedAt, oneHot, scatterElements } from "./scattered.ts";

type Inputs = readonly [string, string, string];

const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

/** Row numbers in the leading axes that tuples look up, those of the batch included; then the rows are added up. */
function gatherND(g: Backward): readonly string[] {
  const [x, indices] = g.x as Inputs;
  const [shape, places, batch] = [g.shape(x), g.shape(indices), g.int("batch_dims", 0)];
  const depth = places.at(-1) as number;
  const [looked, rest] = [shape.slice(batch, batch + depth), shape.slice(batch + depth)];
  const strides = looked.map((_, i) => product(looked.slice(i + 1)));
  const positive = g.op("Mod", [g.cast(indices, "int64"), g.ints(looked)]);
  const within = g.sum(g.mul(positive, g.ints(strides)), [places.length - 1], false);
  const batches = product(shape.slice(0, batch));
  const offsets = Array.from({ length: batches }, (_, i) => i * product(looked));
  const around = places.slice(0, -1).map((size, i) => (i < batch ? size : 1));
  const rows = batch === 0 ? within : g.add(within, g.constant("int64", around, offsets));
  const flat = [batches * product(looked), ...rest];
  const values = g.reshape(g.dy, [product(places.slice(0, -1)), ...rest]);
  return [g.reshape(addedAt(g, { shape: flat, axis: 0, indices: rows, values }), shape)];
}

/**
 * The gradients of data with updates written to it or folded in, given how the operator writes and what reads at the
 * same places. Of several updates to one place each is taken as the only one where they replace it.
 */
function written(
  g: Backward,
  write: (data: string, updates: string, reduction: string) => string,
  read: (data: string) => string,
): readonly (string | undefined)[] {
  const [data, , updates] = g.x as Inputs;
  const reduction = g.text("reduction", "none");
  const given = (input: number, value: () => string) => (g.wants(input) ? value() : undefined);
  if (reduction === "none" || reduction === "add") {
    const kept = () => (reduction === "add" ? g.dy : write(g.dy, g.zerosLike(updates), "none"));
    return [given(0, kept), undefined, given(2, () => read(g.dy))];
  }
  if (reduction === "mul") {
    const ones = g.expand(g.scalar(1, g.dtype(data)), g.shape(data));
    const others = () => g.mul(g.dy, write(ones, updates, "mul"));
    return [given(0, others), undefined, given(2, () => g.div(read(g.mul(g.dy, g.y)), updates))];
  }
  const winner = (value: string, result: string) => g.mask(g.is("Equal", value, result), value);
  return [
    given(0, () => g.mul(g.dy, winner(data, g.y))),
    undefined,
    given(2, () => g.mul(read(g.dy), winner(updates, read(g.y)))),
  ];
}

function scatteredElements(g: Backward): readonly (string | undefined)[] {
  const [, indices] = g.x as Inputs;
  const axis = int(g.int("axis", 0));
  return written(
    g,
    (data, updates, reduction) =>
      g.op("ScatterElements", [data, indices, updates], { axis, reduction: string(reduction) }),
    (data) => g.op("GatherElements", [data, indices], { axis }),
  );
}

function scatteredND(g: Backward): readonly (string | undefined)[] {
  const [, indices] = g.x as Inputs;
  return written(
    g,
    (data, updates, reduction) => g.op("ScatterND", [data, indices, updates], { reduction: string(reduction) }),
    (data) => g.op("GatherND", [data, indices]),
  );
}

/** New entries of a cache, each batch from a position of its own. */
function tensorScatter(g: Backward): readonly (string | undefined)[] {
  const [data, update] = g.x as Inputs;
  const axis = g.axis(g.int("axis", -2), data);
  const [size, shape] = [g.shape(data)[axis] as number, g.shape(update)];
  const along = shape.map((d, i) => (i === axis ? d : 1));
  const steps = g.constant("int64", along, [...Array(shape[axis] as number).keys()]);
  const first = g.x[2] ? g.reshape(g.x[2], [shape[0] as number, ...shape.slice(1).map(() => 1)]) : 0;
  const from = g.add(steps, first);
  const places = g.expand(g.text("mode", "linear") === "circular" ? g.op("Mod", [from, g.ints([size])]) : from, shape);
  return [
    g.wants(0) ? g.op("ScatterElements", [g.dy, places, g.zerosLike(update)], { axis: int(axis) }) : undefined,
    g.wants(1) ? g.op("GatherElements", [g.dy, places], { axis: int(axis) }) : undefined,
  ];
}

/** [off, on] get the sums of what was cold and of what was hot. */
function oneHotValues(g: Backward): readonly (string | undefined)[] {
  const [indices, , values] = g.x as Inputs;
  const axis = g.axis(g.int("axis", -1), g.y);
  const count = g.size(indices);
  const depth = g.shape(g.y)[axis] as number;
  const rank = g.rank(g.y);
  const last = g.transpose(g.dy, [...Array(rank).keys()].filter((i) => i !== axis).concat(axis));
  const hot = oneHot(g, g.reshape(g.cast(indices, "int64"), [count]), depth, g.dtype(values));
  const dy = g.reshape(last, [count, depth]);
  const sums = [dy, g.mul(dy, hot)].map((a) => g.reshape(g.sum(a, [0, 1]), [1])) as [string, string];
  return [undefined, undefined, g.concat([g.sub(...sums), sums[1]], 0)];
}

/** The inverse of Col2Im: the pixels of every block, one strided cut for each place in the block. */
function im2col(g: Backward): readonly string[] {
  const [x] = g.x as Inputs;
  const [image, block] = [g.known(1), g.known(2)];
  const ones = image.map(() => 1);
  const [strides, dilations] = [g.list("strides") ?? ones, g.list("dilations") ?? ones];
  const pads = g.list("pads") ?? [...ones, ...ones].fill(0);
  const [before, after] = [pads.slice(0, image.length), pads.slice(image.length)];
  const padded = g.pad(g.dy, [0, 0, ...before, 0, 0, ...after]);
  const [batch, channels] = g.shape(g.dy) as [number, number];
  const counts = image.map((size, i) => {
    const span = (dilations[i] as number) * ((block[i] as number) - 1) + 1;
    return Math.floor((size + (before[i] as number) + (after[i] as number) - span) / (strides[i] as number)) + 1;
  });
  const axes = image.map((_, i) => i + 2);
  const cuts = Array.from({ length: product(block) }, (_, k) => {
    const starts = block.map(
      (_, i) => (Math.floor(k / product(block.slice(i + 1))) % (block[i] as number)) * (dilations[i] as number),
    );
    const ends = starts.map((start, i) => start + ((counts[i] as number) - 1) * (strides[i] as number) + 1);
    return g.reshape(g.slice(padded, starts, ends, axes, strides), [batch, channels, 1, product(counts)]);
  });
  return [g.reshape(g.concat(cuts, 2), g.shape(x))];
}

/** Blocks of pixels back into channels, which came first or last among what a channel became. */
function spaceToDepth(g: Backward): readonly string[] {
  const block = g.int("blocksize", 1);
  if (g.text("mode", "DCR") === "DCR") return [g.op("SpaceToDepth", [g.dy], { blocksize: int(block) })];
  const [batch, channels, height, width] = g.shape(g.y) as [number, number, number, number];
  const split = g.reshape(g.dy, [batch, channels, height / block, block, width / block, block]);
  return [g.reshape(g.transpose(split, [0, 1, 3, 5, 2, 4]), g.shape(g.x[0] as string))];
}

/** θ gets, over all positions, the gradient of the grid times the position it was made of. */
function affineGrid(g: Backward): readonly string[] {
  const shape = g.shape(g.y);
  const spatial = shape.slice(1, -1);
  const [batch, count] = [shape[0] as number, product(spatial)];
  const corners = g.int("align_corners", 0) === 1;
  const at = (i: number, size: number) => (corners ? (2 * i) / (size - 1) - 1 : (2 * i + 1) / size - 1);
  const base = Array.from({ length: count }, (_, k) => {
    const position = spatial.map((size, i) => at(Math.floor(k / product(spatial.slice(i + 1))) % size, size));
    return [...position.reverse(), 1];
  });
  const positions = g.constant(g.dtype(g.dy), [count, spatial.length + 1], base.flat());
  return [g.matMul(g.reshape(g.dy, [batch, count, spatial.length]), positions, { transA: true })];
}

export const pickGradients: Gradients = {
  // y[n] = x[iₙ] along an axis: dx[v] = Σ over all n with iₙ = v of dy[n]
  GatherElements: (g) => {
    const [x, indices] = g.x as Inputs;
    return [scatterElements(g, g.shape(x), g.axis(g.int("axis", 0), x), indices, g.dy)];
  },
  // y[n] = x[tupleₙ]: dx[v] = Σ over all n whose tuple is v of dy[n]
  GatherND: gatherND,
  // y = x, at iₙ replaced by uₙ, or with it added, multiplied, or the larger or smaller of both
  ScatterElements: scatteredElements,
  ScatterND: scatteredND,
  // y = x, from wₙ on replaced by uₙ
  TensorScatter: tensorScatter,
  // y = off + (on − off)·[iₙ = k]: don = Σ dy where hot, doff = Σ dy elsewhere
  OneHot: oneHotValues,
  // y is x with the first lₙ steps backwards: the same again puts them back
  ReverseSequence: (g) => [g.op("ReverseSequence", [g.dy, g.x[1] as string], g.node.attrs)],
  // channels become blocks of pixels: dx is dy with the blocks as channels
  DepthToSpace: spaceToDepth,
  // blocks of pixels become channels: dx is dy with the channels as blocks
  SpaceToDepth: (g) => [g.op("DepthToSpace", [g.dy], { blocksize: int(g.int("blocksize", 1)) })],
  // overlapping columns are summed to pixels: each column gets the gradients of its pixels
  Col2Im: im2col,
  // y = θ·(position, 1): dθ = Σ dy · (position, 1)ᵀ
  AffineGrid: affineGrid,
  // y = Σ over the pixels about a position of weight · x
  GridSample: { as: gridSampled },
  RoiAlign: { missing: "regions are pooled at places that depend on other inputs; train the part before it apart" },
  NonMaxSuppression: { none: "it gives the numbers of boxes" },
};
