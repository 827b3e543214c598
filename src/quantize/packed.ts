import { byteSize, type DType } from "../ir/dtype.ts";
import { elements, lazyTensor, type Tensor, tensorOf } from "../ir/tensor.ts";
import {
  type Grid,
  type LevelBits,
  type Matrix,
  type Panel,
  type RoundedBlocks,
  type RoundedMatrix,
  type Rounding,
  roundMatrix,
  type TakePanel,
} from "./blocks.ts";
import { roundToNearest } from "./rounding/rtn.ts";
import { isStriped, roundStrips } from "./strips.ts";

/** The bits a level takes in a file: there is no 3-bit type. */
export const storedBits = (bits: LevelBits): 2 | 4 | 8 => (bits === 3 ? 4 : bits === 7 ? 8 : bits);

/** What is added to levels so that their middle is that of the stored type. */
const lift = (bits: LevelBits): number => 2 ** (storedBits(bits) - 1) - 2 ** (bits - 1);

/** A matrix in few bits. Its parts are computed together when one of them is read. */
export interface PackedMatrix {
  readonly levels: Tensor;
  /** float32. */
  readonly scales: Tensor;
  /** Absent where the grid is symmetric. */
  readonly zeroPoints: Tensor | undefined;
}

/** A matrix, and how to round it. */
export interface Packing {
  readonly matrix: Matrix;
  readonly grid: Grid;
  readonly rounding: Rounding;
  /** What the whole matrix was rounded to already. */
  readonly rounded?: RoundedMatrix | undefined;
}

/** Hands the blocks of a packing to `take`, panel by panel. */
async function eachPanel({ matrix, grid, rounding, rounded }: Packing, take: TakePanel): Promise<void> {
  if (rounded === undefined) return roundMatrix(matrix, grid, rounding, take);
  const { rows, columns, blocks } = rounded;
  take({ row: 0, rowCount: rows, column: 0, width: columns, values: new Float32Array(0) }, rounded, blocks);
}

/** Computes rounded matrices when they are asked for, and keeps them while there is room. */
export class Packer {
  /** Bytes that results may take before they are computed again for every read. */
  readonly #most: number;
  #kept = 0;
  /** The last of those that are not kept: its parts are read one after the other. */
  #latest: { key: object; parts: Promise<readonly Uint8Array[]> } | undefined;

  constructor(most: number) {
    this.#most = most;
  }

  /** Tensors whose bytes `compute` gives, all at once. What is small is computed now, so that errors show at once. */
  async tensors(
    types: readonly { readonly dtype: DType; readonly shape: readonly number[] }[],
    compute: () => Promise<readonly Uint8Array[]>,
  ): Promise<Tensor[]> {
    const bytes = types.reduce((sum, { dtype, shape }) => sum + byteSize(dtype, elements(shape)), 0);
    if (this.#kept + bytes <= this.#most) {
      this.#kept += bytes;
      const parts = await compute();
      return types.map(({ dtype, shape }, i) => tensorOf(dtype, shape, parts[i]!));
    }
    const key = {};
    const part = async (i: number) => {
      if (this.#latest?.key !== key) this.#latest = { key, parts: compute() };
      return (await this.#latest.parts)[i]!;
    };
    return types.map(({ dtype, shape }, i) => lazyTensor(dtype, shape, () => part(i)));
  }
}

/**
 * As MatMulNBits and GatherBlockQuantized read it: uint8 levels [rows, blocks, bytes of a block], low bits first, scales
 * [rows, blocks], zero points [rows, bytes for the blocks of a row].
 */
export async function packBlocks(packer: Packer, packing: Packing): Promise<PackedMatrix> {
  const { matrix, grid } = packing;
  const { rows, columns } = matrix;
  const bits = storedBits(grid.bits);
  const blocks = Math.ceil(columns / grid.blockSize);
  const blob = (grid.blockSize * bits) / 8;
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const compute = async () => {
    const levels = new Uint8Array(rows * blocks * blob);
    const scales = new Float32Array(rows * blocks);
    const zeros = new Uint8Array(grid.symmetric ? 0 : rows * zeroBytes);
    const up = lift(grid.bits);
    const striped = packing.rounded === undefined && packing.rounding === roundToNearest && isStriped(matrix, grid);
    if (striped) await roundStrips(matrix, grid, { levels, scales });
    else
      await eachPanel(packing, (panel, rounded, count) => {
        const first = panel.column / grid.blockSize;
        for (let r = 0; r < panel.rowCount; r++) {
          const row = panel.row + r;
          const start = (row * blocks + first) * blob;
          packRow(rounded.levels, r * panel.width, panel.width, up, bits, levels, start);
          const end = rounded.zeroPoints[r * count + count - 1]! + up;
          for (let i = panel.width; i < count * grid.blockSize; i++) setLevel(levels, start, i, end, bits);
          for (let b = 0; b < count; b++) {
            scales[row * blocks + first + b] = rounded.scales[r * count + b]!;
            if (!grid.symmetric)
              setLevel(zeros, row * zeroBytes, first + b, rounded.zeroPoints[r * count + b]! + up, bits);
          }
        }
      });
    return [levels, bytesOf(scales), zeros];
  };
  const types = [
    { dtype: "uint8", shape: [rows, blocks, blob] },
    { dtype: "float32", shape: [rows, blocks] },
    ...(grid.symmetric ? [] : [{ dtype: "uint8", shape: [rows, zeroBytes] } as const]),
  ] as const;
  const [levels, scales, zeroPoints] = await packer.tensors(types, compute);
  return { levels: levels!, scales: scales!, zeroPoints };
}

/** As MatMulBnb4 reads it: uint8 levels in one row, the first of two in the high bits, and a scale for each block. */
export async function packBnb4(packer: Packer, packing: Packing): Promise<PackedMatrix> {
  const { matrix, grid } = packing;
  const { rows, columns } = matrix;
  const blocks = columns / grid.blockSize;
  const compute = async () => {
    const levels = new Uint8Array((rows * columns) / 2);
    const scales = new Float32Array(rows * blocks);
    await eachPanel(packing, ({ row, rowCount, column, width }, rounded, count) => {
      for (let r = 0; r < rowCount; r++) {
        const to = ((row + r) * columns + column) / 2;
        const from = r * width;
        for (let i = 0; i < width / 2; i++)
          levels[to + i] = (rounded.levels[from + 2 * i]! << 4) | rounded.levels[from + 2 * i + 1]!;
        const own = rounded.scales.subarray(r * count, (r + 1) * count);
        scales.set(own, (row + r) * blocks + column / grid.blockSize);
      }
    });
    return [levels, bytesOf(scales)];
  };
  const types = [
    { dtype: "uint8", shape: [(rows * columns) / 2] },
    { dtype: "float32", shape: [rows * blocks] },
  ] as const;
  const [levels, scales] = await packer.tensors(types, compute);
  return { levels: levels!, scales: scales!, zeroPoints: undefined };
}

/** Packs consecutive levels, low bits first; bits of `to` that are not written stay. */
function packRow(
  from: Uint8Array,
  at: number,
  count: number,
  up: number,
  bits: 2 | 4 | 8,
  to: Uint8Array,
  start: number,
): void {
  if (bits === 8) {
    for (let i = 0; i < count; i++) to[start + i] = from[at + i]! + up;
  } else if (bits === 4) {
    const pairs = count >> 1;
    for (let i = 0, j = at; i < pairs; i++, j += 2) to[start + i] = (from[j]! + up) | ((from[j + 1]! + up) << 4);
    if (count & 1) to[start + pairs] = from[at + count - 1]! + up;
  } else for (let i = 0; i < count; i++) setLevel(to, start, i, from[at + i]!, 2);
}

function setLevel(to: Uint8Array, start: number, index: number, level: number, bits: 2 | 4 | 8): void {
  const bit = index * bits;
  to[start + (bit >> 3)]! |= level << (bit & 7);
}

/** Levels in the tensor's own shape and order, as DequantizeLinear and Cast read them: see {@link packLevels}. */
export const packInPlace = (packer: Packer, packing: Packing): Promise<PackedMatrix> =>
  packLevels(packer, packing, { shape: packing.matrix.weight.shape, turned: packing.matrix.turned });

/** The shape levels are written in, and whether the columns of the matrix come first there. */
export interface Layout {
  readonly shape: readonly number[];
  readonly turned: boolean;
}

/**
 * Levels in 2, 4 or 8 bits, row-major, sub-byte ones packed. Scales and zero points [blocks, rows] where the layout is
 * turned, else [rows, blocks]. Symmetric: signed levels and no zero points.
 */
export async function packLevels(packer: Packer, packing: Packing, { shape, turned }: Layout): Promise<PackedMatrix> {
  const { matrix, grid } = packing;
  const { rows, columns } = matrix;
  const bits = storedBits(grid.bits);
  const blocks = Math.ceil(columns / grid.blockSize);
  const dtype: DType = `${grid.symmetric ? "int" : "uint"}${bits}`;
  const compute = async () => {
    const levels = new Uint8Array(byteSize(dtype, rows * columns));
    const scales = new Float32Array(rows * blocks);
    const zeros = new Uint8Array(grid.symmetric ? 0 : byteSize(dtype, rows * blocks));
    const up = lift(grid.bits) + (grid.symmetric ? 2 ** (bits - 1) : 0);
    const mask = 2 ** bits - 1;
    await eachPanel(packing, (panel, rounded, count) => {
      placeLevels({ rows, columns, turned }, panel, rounded.levels, levels, { up, mask, bits });
      const first = panel.column / grid.blockSize;
      for (let r = 0; r < panel.rowCount; r++)
        for (let b = 0; b < count; b++) {
          const [row, block] = [panel.row + r, first + b];
          const at = turned ? block * rows + row : row * blocks + block;
          scales[at] = rounded.scales[r * count + b]!;
          if (!grid.symmetric) setLevel(zeros, 0, at, rounded.zeroPoints[r * count + b]! + up, bits);
        }
    });
    return [levels, bytesOf(scales), zeros];
  };
  const each = turned ? [blocks, rows] : [rows, blocks];
  const types = [
    { dtype, shape },
    { dtype: "float32", shape: each },
    ...(grid.symmetric ? [] : [{ dtype, shape: each }]),
  ] as const;
  const [levels, scales, zeroPoints] = await packer.tensors(types, compute);
  return { levels: levels!, scales: scales!, zeroPoints };
}

/** Writes a panel's levels where the tensor has them. A signed level is its distance from the middle, in two's complement. */
function placeLevels(
  { rows, columns, turned }: Pick<Matrix, "rows" | "columns" | "turned">,
  { row, rowCount, column, width }: Panel,
  from: RoundedBlocks["levels"],
  to: Uint8Array,
  { up, mask, bits }: { up: number; mask: number; bits: number },
): void {
  const put = (index: number, level: number) => {
    const bit = index * bits;
    to[Math.floor(bit / 8)]! |= ((level + up) & mask) << (bit % 8);
  };
  if (turned) {
    for (let j = 0; j < width; j++)
      for (let r = 0; r < rowCount; r++) put((column + j) * rows + row + r, from[r * width + j]!);
  } else {
    for (let r = 0; r < rowCount; r++)
      for (let j = 0; j < width; j++) put((row + r) * columns + column + j, from[r * width + j]!);
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
