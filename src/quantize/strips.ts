import type { Grid, Matrix } from "./blocks.ts";
import { checkFinite, linesOf } from "./blocks.ts";
import { LEAST_MAGNITUDE } from "./rounding/rtn.ts";

/** Where a matrix in 4 or 8 bits goes, as `MatMulNBits` reads it. */
export interface Strips {
  /** [rows, blocks, bytes of a block]; zeros at first. */
  readonly levels: Uint8Array;
  /** [rows, blocks]. */
  readonly scales: Float32Array;
}

/** Rows that are looked at together: 32 columns of them fit the cache. */
const TILE = 256;
/** A magnitude from this pattern on is infinite or NaN. */
const INFINITE = 0x7f800000;

/** Whether {@link roundStrips} takes a matrix on this grid. */
export const isStriped = ({ turned, columns }: Matrix, { bits, symmetric, blockSize }: Grid): boolean =>
  turned && symmetric && (bits === 4 || bits === 8) && columns % blockSize === 0;

/**
 * Rounds a matrix that is stored with its columns first to nearest, on a symmetric grid of 4 or 8 bits, and packs it: the
 * same bits as `roundToNearest` gives block by block, without turning the matrix. A strip of columns that share their scales
 * is read line by line, which is how it lies. A MinnowError `quantize/broken-weight` names a weight that holds NaN or infinity.
 */
export async function roundStrips(matrix: Matrix, grid: Grid, into: Strips): Promise<void> {
  const { rows, columns } = matrix;
  const round = rounder(matrix, grid, into);
  for await (const { at, count, values } of linesOf(matrix, columns, rows, grid.blockSize))
    if (!round(at, count, values)) checkFinite(matrix, values, at * rows);
}

/** Rounds and packs `count` whole lines of a matrix, from line `at` on; false where one of the numbers is not finite. */
function rounder({ rows, columns }: Matrix, { bits, blockSize }: Grid, { levels, scales }: Strips) {
  const blocks = columns / blockSize;
  const blob = (blockSize * bits) / 32;
  const most = new Int32Array(TILE + 3);
  const inverses = new Float64Array(TILE);
  const packed = new Int32Array(TILE * blob);
  const words = new Int32Array(levels.buffer, levels.byteOffset, levels.length / 4);
  const pack = bits === 4 ? packHalves : packBytes;
  const share = -1 / 2 ** (bits - 1);
  return (at: number, count: number, values: Float32Array): boolean => {
    const patterns = new Int32Array(values.buffer, values.byteOffset, values.length);
    for (let column = 0; column < count; column += blockSize)
      for (let row = 0; row < rows; row += TILE) {
        const tile = Math.min(TILE, rows - row);
        const from = column * rows + row;
        if (magnitudes(patterns, from, rows, blockSize, tile, most) >= INFINITE) return false;
        const first = row * blocks + (at + column) / blockSize;
        scalesFrom(most, tile, share, inverses, scales, first, blocks);
        pack(values, from, rows, blockSize, tile, inverses, packed);
        scatter(packed, tile, blob, words, first * blob, blocks * blob);
      }
    return true;
  };
}

/** Copies runs of `size` words that lie close together to where they are `step` apart. */
function scatter(from: Int32Array, count: number, size: number, to: Int32Array, start: number, step: number): void {
  for (let r = 0, i = 0, at = start; r < count; r++, at += step)
    for (let k = 0; k < size; k++, i++) to[at + k] = from[i]!;
}

/**
 * For each row of a tile the largest magnitude as a pattern, its sign in place of the last bit; gives the largest of all.
 * Patterns are compared without branches, which random numbers would mispredict, four rows at a time.
 */
function magnitudes(
  patterns: Int32Array,
  from: number,
  stride: number,
  columns: number,
  rows: number,
  most: Int32Array,
): number {
  let all = 0;
  for (let r = 0; r < rows; r += 4) {
    let [a, b, c, d] = [0, 0, 0, 0];
    // Past the last row a line goes on with the next: what is found there is not looked at.
    for (let i = 0, at = from + r; i < columns; i++, at += stride) {
      const p = signed(patterns[at]!);
      const q = signed(patterns[at + 1]!);
      const s = signed(patterns[at + 2]!);
      const t = signed(patterns[at + 3]!);
      a ^= (a ^ p) & ((a - p) >> 31);
      b ^= (b ^ q) & ((b - q) >> 31);
      c ^= (c ^ s) & ((c - s) >> 31);
      d ^= (d ^ t) & ((d - t) >> 31);
    }
    most[r] = a;
    most[r + 1] = b;
    most[r + 2] = c;
    most[r + 3] = d;
  }
  for (let r = 0; r < rows; r++) all = Math.max(all, most[r]!);
  return all;
}

const signed = (x: number): number => (x & 0x7ffffffe) | (x >>> 31);

const number = new Float32Array(1);
const pattern = new Int32Array(number.buffer);

/** The scales that give these magnitudes the lowest level, `step` apart, and their inverses. */
function scalesFrom(
  most: Int32Array,
  count: number,
  share: number,
  inverses: Float64Array,
  to: Float32Array,
  start: number,
  step: number,
): void {
  for (let r = 0, at = start; r < count; r++, at += step) {
    pattern[0] = (most[r]! & 0x7ffffffe) | (most[r]! << 31);
    const value = number[0]!;
    const scale = value < LEAST_MAGNITUDE && value > -LEAST_MAGNITUDE ? 0 : value * share;
    to[at] = scale;
    inverses[r] = scale === 0 ? 0 : 1 / scale;
  }
}

/** Levels of 4 bits, eight columns in a word; the words of a row lie together. */
function packHalves(
  values: Float32Array,
  from: number,
  stride: number,
  columns: number,
  rows: number,
  inverses: Float64Array,
  to: Int32Array,
): void {
  const words = columns >> 3;
  for (let w = 0; w < words; w++)
    for (let r = 0, at = w, i = from + 8 * w * stride; r < rows; r++, at += words, i++) {
      const inverse = inverses[r]!;
      const a = (values[i]! * inverse + 8.5) | 0;
      const b = (values[i + stride]! * inverse + 8.5) | 0;
      const c = (values[i + 2 * stride]! * inverse + 8.5) | 0;
      const d = (values[i + 3 * stride]! * inverse + 8.5) | 0;
      const e = (values[i + 4 * stride]! * inverse + 8.5) | 0;
      const f = (values[i + 5 * stride]! * inverse + 8.5) | 0;
      const g = (values[i + 6 * stride]! * inverse + 8.5) | 0;
      const h = (values[i + 7 * stride]! * inverse + 8.5) | 0;
      // One above the last level takes the last.
      const low = (a - (a >> 4)) | ((b - (b >> 4)) << 4) | ((c - (c >> 4)) << 8) | ((d - (d >> 4)) << 12);
      const high = ((e - (e >> 4)) << 16) | ((f - (f >> 4)) << 20) | ((g - (g >> 4)) << 24) | ((h - (h >> 4)) << 28);
      to[at] = low | high;
    }
}

/** Levels of 8 bits, four columns in a word; the words of a row lie together. */
function packBytes(
  values: Float32Array,
  from: number,
  stride: number,
  columns: number,
  rows: number,
  inverses: Float64Array,
  to: Int32Array,
): void {
  const words = columns >> 2;
  for (let w = 0; w < words; w++)
    for (let r = 0, at = w, i = from + 4 * w * stride; r < rows; r++, at += words, i++) {
      const inverse = inverses[r]!;
      const a = (values[i]! * inverse + 128.5) | 0;
      const b = (values[i + stride]! * inverse + 128.5) | 0;
      const c = (values[i + 2 * stride]! * inverse + 128.5) | 0;
      const d = (values[i + 3 * stride]! * inverse + 128.5) | 0;
      to[at] = (a - (a >> 8)) | ((b - (b >> 8)) << 8) | ((c - (c >> 8)) << 16) | ((d - (d >> 8)) << 24);
    }
}
