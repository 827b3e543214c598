import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { int } from "../ir/attrs.ts";
import { byteSize, codeOf } from "../ir/dtype.ts";
import type { Model, Node } from "../ir/graph.ts";
import { elements, float32s, int64s, readFloats, type Tensor, tensorOf } from "../ir/tensor.ts";
import { titleOf } from "../ir/walk.ts";
import { type Float8, mostOf, toFloat8 } from "../numeric/float8.ts";
import { ruleOf } from "../ops/index.ts";
import { type Pass, type PassResult, upgrade } from "../passes/index.ts";
import { rewriting, type Site } from "../passes/rewrite.ts";
import { LEAST_SCALE } from "./affine.ts";
import { measureCorrections } from "./bias-correction.ts";
import { type Grid, type Matrix, matrixOf, panelsOf, type Rounding } from "./blocks.ts";
import { emitChannels, numbersByChannel } from "./channel-codebook.ts";
import { channelsOf } from "./channels.ts";
import { codebookOf } from "./codebook.ts";
import { halved, reaches } from "./float16.ts";
import { insertQuantization } from "./insert.ts";
import { oneOf } from "./options.ts";
import { Packer, packLevels } from "./packed.ts";
import { matcher, type Plan, planOf } from "./plan.ts";
import { roundLayers } from "./round-layers.ts";
import { ROUNDINGS } from "./rounding/index.ts";
import { roundToTable } from "./rounding/table.ts";
import { emitPositions, positionsOf } from "./sparse-codebook.ts";
import type { CalibrateOptions, StoreWeightsOptions } from "./types.ts";
import { finiteFloats, partsOf, type QuantizedWeight, quantizeWeight } from "./weights.ts";

/** Weights of fewer elements stay as they are: what would stand before them costs more than it saves. */
const LEAST_ELEMENTS = 512;
/** … and a codebook is small. */
const LEAST_INDICES = 256;
/** Channels of fewer elements go into fp16: a scale for each would cost as much, and few numbers round badly. */
const LEAST_PER_SCALE: Readonly<Record<number, number>> = { 8: 65, 4: 16, 3: 16, 2: 16 };
/** ONNX Runtime folds no constant larger than this. */
const MOST_BYTES = 2 ** 30;
/** Larger weights are rounded in pieces, when the file is written. */
const LARGE_BYTES = 2 ** 25;
const KEPT_BYTES = 2 ** 26;

const FORMATS = ["int8", "int4", "int3", "int2", "fp8", "fp8e5m2", "fp16", "bf16", "codebook"] as const;
const BITS = { int8: 8, fp8: 8, fp8e5m2: 8, int4: 4, int3: 3, int2: 2, codebook: 4 } as const;

/** The opset that has a format's type. */
const OPSETS: Partial<Record<StoreWeightsOptions["to"], number>> = {
  fp8: 19,
  fp8e5m2: 19,
  int4: 21,
  int3: 21,
  codebook: 21,
  int2: 25,
};

/**
 * Stores float32 weights in few bits and turns them back into float in the graph: by Cast, and Mul by a scale, or by
 * Gather from a codebook. ONNX Runtime computes that once, when it loads the model, so that it runs at float speed on
 * every runtime. It costs time to load and, while it loads, about twice the memory of the float model; the file is what the
 * bits say. A weight that several nodes read stays one. Vectors (biases) stay float, and weights with few numbers a
 * channel (depthwise kernels) become fp16, where fewer bits would save little and cost much. It needs no data, but for the
 * correction of biases. Four bits and fewer need ONNX Runtime 1.24 or later, and 3-bit levels are stored in 4.
 * Throws a MinnowError for weights over 1 GiB (`quantize/too-large`), which would be turned back at every run, and for
 * such that hold NaN or infinity (`quantize/broken-weight`).
 *
 * @example
 * const { model: small } = await storeWeights({ to: "int8", biasCorrection: true, data: photos.take(200) }).run(model);
 */
export function storeWeights(options: StoreWeightsOptions): Pass {
  const { to, perChannel = true, biasCorrection = false, gptq = false, data, blockSize = 32, method = "mse" } = options;
  check(options);
  const run = async (model: Model) => {
    const rounded = gptq
      ? await roundLayers(model, planOf(model).contractions, { ...options, data: data!, type: "int8" })
      : undefined;
    const pass = storing({ ...options, blockSize, method }, rounded);
    return biasCorrection ? corrected(model, pass, data!, options) : pass.run(model);
  };
  const opset = OPSETS[to];
  return {
    name: "storeWeights",
    options: {
      ...{ to, perChannel, biasCorrection },
      ...(gptq && { gptq }),
      ...(options.nodesToQuantize && { nodesToQuantize: [...options.nodesToQuantize] }),
      ...(to in BITS && BITS[to as keyof typeof BITS] < 8 && { blockSize, method }),
    },
    run: (model) => (opset === undefined ? run(model) : raised(model, opset, run)),
  };
}

function check({
  to,
  method = "mse",
  perChannel = true,
  biasCorrection,
  gptq = false,
  data,
}: StoreWeightsOptions): void {
  oneOf("to", to, FORMATS);
  oneOf("method", method, Object.keys(ROUNDINGS));
  const needing = biasCorrection === true ? "biasCorrection" : gptq ? "gptq" : undefined;
  if (needing !== undefined && data === undefined)
    throw new MinnowError("It measures on examples, and there is no data.", {
      code: "quantize/no-data",
      at: needing,
      mend: "Give 100 to 500 typical examples as data.",
    });
  if (gptq && (to !== "int8" || !perChannel))
    throw new MinnowError("GPTQ rounds to int8 with a scale for each channel here.", {
      code: "quantize/option",
      at: "gptq",
      mend: 'Give to: "int8", or for 4 bits quantizeWeights({ gptq: true }).',
    });
}

type Rounded = ReadonlyMap<string, QuantizedWeight>;

/** Puts weights into storage; those that were rounded together stay as they are. */
const storing = (options: StoreWeightsOptions & { blockSize: number }, rounded: Rounded = new Map()): Pass =>
  rewriting("storeWeights", async (site) => {
    const packer = new Packer(KEPT_BYTES);
    const wanted = options.nodesToQuantize && matcher(options.nodesToQuantize, site.model);
    for (const [name, weight] of site.graph.weights)
      if (isStorable(site, name, weight, options.to === "codebook" ? LEAST_INDICES : LEAST_ELEMENTS))
        if (wanted === undefined || site.edit.readersOf(name).some(wanted))
          await store({ site, name, weight, packer, rounded: rounded.get(name) }, options);
  });

/** Runs on the model lifted to an opset; the model as it came where nothing was to do. */
async function raised(given: Model, to: number, run: (model: Model) => Promise<PassResult>): Promise<PassResult> {
  const { model, changes } = await upgrade({ to }).run(given);
  const result = await run(model);
  if (result.model === model) return { model: given, changes: result.changes };
  return { model: result.model, changes: [...changes, ...result.changes] };
}

/** Stores the weights, and takes what that moved the mean of each channel by off the biases. */
async function corrected(given: Model, pass: Pass, data: Dataset, options: CalibrateOptions): Promise<PassResult> {
  const { model: base, changes } = await upgrade().run(given);
  const { model, changes: stored } = await pass.run(base);
  const { contractions } = planOf(base);
  if (model === base || contractions.length === 0) return { model: model === base ? given : model, changes: stored };
  const floats: Plan = {
    contractions: [],
    excluded: contractions,
    values: new Map(),
    nodes: new Set(),
    constants: new Set(),
    left: [],
  };
  const corrections = await measureCorrections(base, model, floats, data, options);
  const { model: right } = await insertQuantization(model, floats, new Map(), {}, corrections);
  const what = "Corrected biases by the mean error of each channel.";
  return { model: right, changes: [...changes, ...stored, { what, at: titleOf(contractions[0]!.node) }] };
}

function isStorable({ edit, graph }: Site, name: string, { dtype, shape }: Tensor, least: number): boolean {
  if (dtype !== "float32" || elements(shape) < least) return false;
  if (edit.isOutput(name) || graph.inputs.some((input) => input.name === name)) return false;
  if (byteSize(dtype, elements(shape)) > MOST_BYTES)
    throw new MinnowError(
      `It takes ${byteSize(dtype, elements(shape))} bytes; ONNX Runtime does not compute constants over 1 GiB at load, so that it would be turned into float at every run.`,
      {
        code: "quantize/too-large",
        at: `weight "${name}"`,
        mend: "Leave the model in float, or quantize it statically.",
      },
    );
  return true;
}

/** The axis of the channels for who reads the weight, else the first; none for vectors. */
export function axisOf(site: Site, name: string, { shape }: Tensor): number | undefined {
  if (shape.length < 2) return undefined;
  for (const node of site.edit.readersOf(name)) {
    const axis = contractionAxis(site, node, name, shape.length);
    if (axis !== undefined) return axis;
  }
  return 0;
}

function contractionAxis({ model, inner }: Site, node: Node, name: string, rank: number): number | undefined {
  const quant = ruleOf(node)?.quant;
  if (quant?.kind !== "contraction" || node.inputs[quant.weight] !== name || inner) return undefined;
  return channelsOf(model, node, quant.weight, rank)?.weight;
}

/** A weight to store, and where. */
interface Stored {
  readonly site: Site;
  readonly name: string;
  readonly weight: Tensor;
  readonly packer: Packer;
  /** The weight as it was rounded on examples. */
  readonly rounded?: QuantizedWeight | undefined;
}

async function store(it: Stored, options: StoreWeightsOptions & { blockSize: number }): Promise<void> {
  const { site, name, weight } = it;
  const { to, perChannel = true } = options;
  if (to === "fp16" || to === "bf16") return storeHalf(it, to);
  if (weight.shape.length < 2) return;
  const axis = perChannel ? axisOf(site, name, weight) : undefined;
  const perScale = elements(weight.shape) / (axis === undefined ? 1 : weight.shape[axis]!);
  if (perScale < LEAST_PER_SCALE[BITS[to]]!) return storeHalf(it, "fp16");
  if (to === "fp8" || to === "fp8e5m2") return storeFloat8(it, axis, to === "fp8" ? "float8e4m3fn" : "float8e5m2");
  if (to === "int8" && byteSize("float32", elements(weight.shape)) <= LARGE_BYTES) return storeInt8(it, axis);
  const matrix =
    axis === undefined ? matrixOf(name, { ...weight, shape: [1, elements(weight.shape)] }) : laid(it, axis);
  const size = to === "int8" || !perChannel ? matrix.columns : blockIn(matrix.columns, options.blockSize);
  if (to === "codebook") return storeCodebook(it, matrix, size);
  const method = to === "int8" ? "rtn" : options.method;
  return storeLevels(it, matrix, { bits: BITS[to], symmetric: true, blockSize: size }, ROUNDINGS[method ?? "mse"]);
}

/** The weight with its channels as rows; where they lie on an inner axis of many, the first axis does as well. */
const laid = ({ name, weight }: Stored, axis: number): Matrix =>
  matrixOf(name, weight, axis === 1 && weight.shape.length === 2);

/** The size of a block that divides a row, near the one asked for; the whole row where none is. */
function blockIn(columns: number, wanted: number): number {
  let best = columns;
  for (let size = Math.max(16, wanted / 2); size <= Math.min(columns, 2 * wanted); size++)
    if (columns % size === 0 && Math.abs(Math.log(size / wanted)) < Math.abs(Math.log(best / wanted))) best = size;
  return best;
}

const FLOAT = { to: int(codeOf("float32")) };

async function storeInt8(it: Stored, axis: number | undefined): Promise<void> {
  const how = { type: "int8", axis, symmetric: true } as const;
  const { scales, tensor } = it.rounded ?? (await quantizeWeight(it.name, it.weight, how));
  castAndScale(it, axis, tensor, scales);
  note(it.site, it.name, "int8, which Cast and Mul turn");
}

/** 8-bit floats, the largest magnitude of each channel at the largest they have. */
async function storeFloat8(it: Stored, axis: number | undefined, type: Float8): Promise<void> {
  const { name, weight } = it;
  const values = await finiteFloats(name, weight);
  const { channels, channelOf } = partsOf(weight.shape, axis);
  const most = new Float64Array(channels);
  values.forEach((value, i) => {
    most[channelOf(i)] = Math.max(most[channelOf(i)]!, Math.abs(value));
  });
  const scales = Float32Array.from(most, (value) => (value === 0 ? 1 : Math.max(LEAST_SCALE, value / mostOf(type))));
  const bytes = new Uint8Array(values.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = toFloat8(values[i]! / scales[channelOf(i)]!, type);
  castAndScale(it, axis, tensorOf(type, weight.shape, bytes), scales);
  note(it.site, name, `${type}, which Cast and Mul turn`);
}

/** Puts levels times the scale of each channel under the weight's name. */
function castAndScale(it: Stored, axis: number | undefined, tensor: Tensor, scales: Float32Array): void {
  const { name, weight } = it;
  const { edit } = it.site;
  const shape = axis === undefined ? [] : weight.shape.slice(axis).map((size, i) => (i === 0 ? size : 1));
  const [levels, scale] = [edit.weight("w8", tensor), edit.weight("s", float32s(shape, scales))];
  edit.removeWeight(name);
  const [floats] = edit.add({ op: "Cast", name: "", inputs: [levels], outputs: [edit.fresh("c")], attrs: FLOAT });
  edit.add({ op: "Mul", name: "", inputs: [floats!, scale], outputs: [name] });
}

/** Cast to float, times the scale of each block. */
async function storeLevels(it: Stored, matrix: Matrix, grid: Grid, rounding: Rounding): Promise<void> {
  const { site, name, weight } = it;
  const { edit } = site;
  const { turned } = matrix;
  const packed = await packLevels(it.packer, { matrix, grid, rounding }, { shape: weight.shape, turned });
  const levels = edit.weight(`w${grid.bits}`, packed.levels);
  const [floats] = edit.add({ op: "Cast", name: "", inputs: [levels], outputs: [edit.fresh("c")], attrs: FLOAT });
  edit.removeWeight(name);
  scaled(it, matrix, grid.blockSize, floats!, packed.scales);
  note(site, name, `${grid.bits}-bit levels, which Cast and Mul turn`);
}

/** Multiplies by the scales of blocks: along the shape where a block is a whole row, else in a shape with an axis for them. */
function scaled({ site, name, weight }: Stored, matrix: Matrix, size: number, from: string, scales: Tensor): void {
  const { rows, columns, turned } = matrix;
  const { edit } = site;
  const blocks = columns / size;
  if (blocks === 1) {
    const ones = weight.shape.slice(1).map(() => 1);
    const shape = rows === 1 ? [] : turned ? [1, rows] : [rows, ...ones];
    edit.add({ op: "Mul", name: "", inputs: [from, edit.weight("s", { ...scales, shape })], outputs: [name] });
    return;
  }
  const [apart, along] = turned
    ? [
        [blocks, size, rows],
        [blocks, 1, rows],
      ]
    : [
        [rows, blocks, size],
        [rows, blocks, 1],
      ];
  const reshape = (input: string, shape: readonly number[], output: string) =>
    edit.add({ op: "Reshape", name: "", inputs: [input, edit.weight("d", int64s(shape))], outputs: [output] })[0]!;
  const parts = reshape(from, apart, edit.fresh("r"));
  const scale = edit.weight("s", { ...scales, shape: along });
  const [product] = edit.add({ op: "Mul", name: "", inputs: [parts, scale], outputs: [edit.fresh("m")] });
  reshape(product!, weight.shape, name);
}

/**
 * Gather from the numbers that levels stand for, times the scale of each block where there is one; of a weight that is
 * mostly 0 only what is not.
 */
async function storeCodebook(it: Stored, matrix: Matrix, size: number): Promise<void> {
  const { site, name, weight, packer } = it;
  const { edit } = site;
  const { table, exact } = await codebookOf(matrix, size);
  if (byteSize("float32", elements(weight.shape)) <= LARGE_BYTES && (await storeFew(it, exact ? table : undefined)))
    return;
  const grid: Grid = { bits: table.length > 16 ? 8 : 4, symmetric: false, blockSize: size };
  const rounding = roundToTable([...table], exact);
  const packed = await packLevels(packer, { matrix, grid, rounding }, { shape: weight.shape, turned: matrix.turned });
  const indices = edit.weight("i", packed.levels);
  const to = { to: int(codeOf("int32")) };
  const [whole] = edit.add({ op: "Cast", name: "", inputs: [indices], outputs: [edit.fresh("c")], attrs: to });
  const book = edit.weight("k", float32s([table.length], table));
  edit.removeWeight(name);
  const output = exact ? name : edit.fresh("g");
  edit.add({ op: "Gather", name: "", inputs: [book, whole!], outputs: [output] });
  if (!exact) scaled(it, matrix, size, output, packed.scales);
  note(
    site,
    name,
    exact ? "the few numbers it has, which Gather turns" : "indices of a codebook, which Gather and Mul turn",
  );
}

/**
 * A weight of few different numbers, or of few in each channel, as it is; false where it has none of the forms. `table`:
 * the few that it has altogether.
 */
async function storeFew({ site, name, weight }: Stored, table: Float32Array | undefined): Promise<boolean> {
  const { edit } = site;
  const values = await readFloats(weight);
  const channels = table === undefined ? numbersByChannel(values, weight.shape) : undefined;
  const positions = table && positionsOf(values, table);
  if (channels === undefined && positions === undefined) return false;
  edit.removeWeight(name);
  if (positions !== undefined) {
    emitPositions(edit, positions, name, weight.shape);
    note(site, name, "what is not 0 and where it stands, which CumSum and ScatterElements or Gather turn");
  } else if (channels !== undefined) {
    emitChannels(edit, channels, { name, values, shape: weight.shape });
    note(site, name, "the few numbers of each channel, which Gather turns");
  }
  return true;
}

async function storeHalf({ site, name, weight }: Stored, to: "fp16" | "bf16"): Promise<void> {
  for await (const _ of panelsOf(matrixOf(name, { ...weight, shape: [1, elements(weight.shape)] }), 1)) void _;
  if (to === "fp16" && (await reaches(weight, 65504))) {
    site.note("Left a weight as it is: it holds numbers that float16 does not reach.", `weight "${name}"`);
    return;
  }
  const type = to === "fp16" ? "float16" : "bfloat16";
  const { edit } = site;
  const half = edit.weight("w16", await halved(weight, type));
  edit.removeWeight(name);
  edit.add({ op: "Cast", name: "", inputs: [half], outputs: [name], attrs: FLOAT });
  note(site, name, `${type}, which Cast turns`);
}

const note = (site: Site, name: string, how: string): void =>
  site.note(`Stored a weight as ${how} into float when the model is loaded.`, `weight "${name}"`);
