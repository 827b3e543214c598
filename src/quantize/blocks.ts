import { MinnowError } from "../errors.ts";
import { elements, type Tensor, viewOf } from "../ir/tensor.ts";

/** Bits a level may have; 3-bit levels are stored in 4 bits, 7-bit ones in 8. */
export type LevelBits = 2 | 3 | 4 | 7 | 8;

/** What a row of a matrix is rounded to: value = (level − zero point)·scale, a scale for each block of the row. */
export interface Grid {
  readonly bits: LevelBits;
  /** Zero points in the middle, at 2^(bits − 1), and none stored. */
  readonly symmetric: boolean;
  /** Numbers that share a scale; the last block of a row may be shorter. */
  readonly blockSize: number;
}

/** Levels 0 … 2^bits − 1 of blocks that lie one after the other, as a rounding method fills them in. */
export interface RoundedBlocks {
  readonly levels: Uint8Array;
  /** One for each block; below 0 where the number of largest magnitude is positive and takes the lowest level. */
  readonly scales: Float32Array;
  readonly zeroPoints: Uint8Array;
}

/** Rounds blocks of `size` numbers each. Blocks of zeros get the scale 0. All numbers are finite. */
export type Rounding = (values: Float32Array, size: number, grid: Grid, into: RoundedBlocks) => void;

export const roomFor = (count: number, size: number): RoundedBlocks => ({
  levels: new Uint8Array(count * size),
  scales: new Float32Array(count),
  zeroPoints: new Uint8Array(count),
});

/**
 * A constant as a matrix of `rows` × `columns`, blocks lying along the rows. `turned`: it is stored with its columns
 * first, [columns, rows], as MatMul has it; a tensor of more axes stored row by row counts as [rows, the rest].
 */
export interface Matrix {
  readonly name: string;
  readonly weight: Tensor;
  readonly rows: number;
  readonly columns: number;
  readonly turned: boolean;
}

/** The matrix [rows, the rest] of a tensor. */
export function matrixOf(name: string, weight: Tensor, turned = false): Matrix {
  const [first = 1, ...rest] = weight.shape;
  const other = elements(rest);
  return { name, weight, turned, rows: turned ? other : first, columns: turned ? first : other };
}

/** A run of blocks: those of rows `row` … with `width` columns from `column` on, block after block, rows first. */
export interface Panel {
  readonly row: number;
  readonly rowCount: number;
  readonly column: number;
  readonly width: number;
  /** [rowCount, width]. */
  readonly values: Float32Array;
}

/** Bytes of a weight that are looked at together. */
const PANEL_BYTES = 2 ** 21;

/** Lines of a weight, one after the other as they lie. */
export interface Lines {
  readonly at: number;
  readonly count: number;
  readonly values: Float32Array;
}

/**
 * The `total` lines of `width` numbers a weight consists of, whole multiples of `step` at a time in a few megabytes; the next
 * are read while these are worked on.
 */
export async function* linesOf({ weight }: Matrix, total: number, width: number, step: number): AsyncGenerator<Lines> {
  const lines = Math.max(1, Math.floor(PANEL_BYTES / 4 / Math.max(1, width) / step)) * step;
  const read = (at: number) =>
    at < total ? weight.read({ offset: 4 * at * width, length: 4 * Math.min(lines, total - at) * width }) : undefined;
  let next = read(0);
  for (let at = 0; at < total; at += lines) {
    const bytes = (await next)!;
    next = read(at + lines);
    next?.catch(() => {});
    yield { at, count: Math.min(lines, total - at), values: viewOf("float32", bytes) as Float32Array };
  }
}

/**
 * The matrix in panels of a few megabytes, whole blocks each, whatever its size. A panel's numbers are overwritten by the
 * next. A MinnowError `quantize/broken-weight` names a weight that holds NaN or infinity.
 */
export async function* panelsOf(matrix: Matrix, blockSize: number): AsyncGenerator<Panel> {
  const { rows, columns, turned } = matrix;
  if (rows === 0 || columns === 0) return;
  const [all, width] = turned ? [columns, rows] : [rows, columns];
  let room: Float32Array | undefined;
  for await (const { at, count, values: read } of linesOf(matrix, all, width, turned ? blockSize : 1)) {
    checkFinite(matrix, read, at * width);
    if (!turned) yield { row: at, rowCount: count, column: 0, width: columns, values: read };
    else {
      room ??= new Float32Array(count * rows);
      const values = room.subarray(0, count * rows);
      transpose(read, count, rows, values);
      yield { row: 0, rowCount: rows, column: at, width: count, values };
    }
  }
}

/** Throws where one of these numbers, which begin at element `from`, is not finite. */
export function checkFinite({ name, weight }: Matrix, values: Float32Array, from: number): void {
  const patterns = new Int32Array(values.buffer, values.byteOffset, values.length);
  let carry = 0;
  for (let i = 0; i < patterns.length; i++) carry |= (patterns[i]! & 0x7fffffff) + 0x00800000;
  if (carry >= 0) return;
  const at = values.findIndex((value) => !Number.isFinite(value));
  throw brokenWeight(name, values[at]!, from + at, weight.shape);
}

export const brokenWeight = (name: string, value: number, at: number, shape: readonly number[]): MinnowError =>
  new MinnowError(`It holds ${value} at element ${at} of [${shape}].`, {
    code: "quantize/broken-weight",
    at: `weight "${name}"`,
    mend: "Numbers that are not finite cannot be quantized; train or export the model again.",
  });

const TILE = 32;

/** [rows, columns] → [columns, rows], in tiles that fit the cache, as bit patterns: floats would be widened on the way. */
export function transpose(from: Float32Array, rows: number, columns: number, to: Float32Array): void {
  const source = new Int32Array(from.buffer, from.byteOffset, from.length);
  const target = new Int32Array(to.buffer, to.byteOffset, to.length);
  for (let c0 = 0; c0 < columns; c0 += TILE) {
    const c1 = Math.min(columns, c0 + TILE);
    for (let r0 = 0; r0 < rows; r0 += TILE) {
      const r1 = Math.min(rows, r0 + TILE);
      for (let c = c0; c < c1; c++) {
        const out = c * rows;
        for (let r = r0, at = r0 * columns + c; r < r1; r++, at += columns) target[out + r] = source[at]!;
      }
    }
  }
}

/** A whole matrix rounded: levels [rows, columns] one a byte, scales and zero points [rows, blocks]. */
export interface RoundedMatrix extends RoundedBlocks {
  readonly rows: number;
  readonly columns: number;
  readonly blocks: number;
}

/** What takes rounded panels as they come. `blocks` counts those of a row; they begin at block `column / blockSize`. */
export type TakePanel = (panel: Panel, rounded: RoundedBlocks, blocks: number) => void;

/**
 * Rounds a matrix panel by panel; the blocks of each are handed to `take` and then forgotten. A shorter last block of a row
 * is rounded as a block of its own.
 */
export async function roundMatrix(matrix: Matrix, grid: Grid, rounding: Rounding, take: TakePanel): Promise<void> {
  let room: RoundedBlocks | undefined;
  for await (const panel of panelsOf(matrix, grid.blockSize)) {
    const { rowCount, width, values } = panel;
    const blocks = Math.ceil(width / grid.blockSize);
    const whole = width % grid.blockSize === 0;
    if (room === undefined || room.scales.length !== rowCount * blocks || room.levels.length !== values.length)
      room = { ...roomFor(rowCount * blocks, 0), levels: new Uint8Array(values.length) };
    if (whole) rounding(values, grid.blockSize, grid, room);
    else roundRows(panel, blocks, grid, rounding, room);
    take(panel, room, blocks);
  }
}

function roundRows(
  { rowCount, width, values }: Panel,
  blocks: number,
  grid: Grid,
  rounding: Rounding,
  { levels, scales, zeroPoints }: RoundedBlocks,
): void {
  const full = Math.floor(width / grid.blockSize) * grid.blockSize;
  const round = (from: number, to: number, size: number, first: number, count: number) =>
    rounding(values.subarray(from, to), size, grid, {
      levels: levels.subarray(from, to),
      scales: scales.subarray(first, first + count),
      zeroPoints: zeroPoints.subarray(first, first + count),
    });
  for (let row = 0; row < rowCount; row++) {
    const at = row * width;
    if (full > 0) round(at, at + full, grid.blockSize, row * blocks, blocks - 1);
    round(at + full, at + width, width - full, row * blocks + blocks - 1, 1);
  }
}

/** Rounds every block by itself. */
export function roundBlocks(
  weights: Float32Array,
  { rows, columns, blocks, levels, scales, zeroPoints }: RoundedMatrix,
  grid: Grid,
  rounding: Rounding,
): void {
  for (let row = 0; row < rows; row++)
    for (let block = 0; block < blocks; block++) {
      const from = row * columns + block * grid.blockSize;
      const to = row * columns + Math.min(columns, (block + 1) * grid.blockSize);
      const at = row * blocks + block;
      rounding(weights.subarray(from, to), to - from, grid, {
        levels: levels.subarray(from, to),
        scales: scales.subarray(at, at + 1),
        zeroPoints: zeroPoints.subarray(at, at + 1),
      });
    }
}
