import { kMeans } from "../numeric/k-means.ts";
import { random } from "../numeric/random.ts";
import { type Matrix, panelsOf } from "./blocks.ts";

/** Numbers of a weight that a codebook is learned from. */
const SAMPLE = 2 ** 17;
const COUNT = 16;
const MOST_EXACT = 256;

/** The numbers that levels stand for. */
export interface Codebook {
  /** Rising. */
  readonly table: Float32Array;
  /** Whether the weight holds no others; if not, they are to be multiplied by the largest magnitude of each block. */
  readonly exact: boolean;
}

/**
 * The different numbers of a weight where they are 256 or fewer; else the 16 that its numbers, each divided by the largest
 * magnitude of its block, are nearest to on the whole. Source: Han et al., "Deep Compression", arXiv 1510.00149.
 */
export async function codebookOf(matrix: Matrix, blockSize: number): Promise<Codebook> {
  const distinct = new Set<number>();
  const share = Math.min(1, SAMPLE / (matrix.rows * matrix.columns));
  const next = random(matrix.rows * matrix.columns);
  const sample: number[] = [];
  for await (const { values } of panelsOf(matrix, blockSize))
    for (let at = 0; at < values.length; at += blockSize) {
      const block = values.subarray(at, at + blockSize);
      if (distinct.size <= MOST_EXACT) for (const value of block) distinct.add(value);
      if (next() > share) continue;
      const most = block.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      if (most > 0) for (const value of block) sample.push(value / most);
    }
  if (distinct.size <= MOST_EXACT) return { table: Float32Array.from(distinct).sort(), exact: true };
  return { table: kMeans(Float32Array.from(sample), COUNT), exact: false };
}
