import { bitsOf, isLowest, type Lowest, lowestOf } from "./lowest.ts";
import type { WeightMatrix } from "./matrices.ts";
import type { Amount } from "./sparsegpt.ts";

/** What is ranked together: all weights, each weight, or each output. */
export type Scope = "global" | "layer" | "row";

/** How many go, out of what. */
export interface Ranking {
  readonly amount: Amount;
  readonly scope: Scope;
  /** Where all are ranked together: the bound of what goes, {@link boundOf}. */
  readonly bound?: Lowest | undefined;
}

/** The bound of the lowest share of all numbers of some matrices together. Scores are from 0 on. */
export function boundOf(
  matrices: readonly WeightMatrix[],
  scoresOf: (matrix: WeightMatrix) => Float32Array | Promise<Float32Array>,
  sparsity: number,
): Promise<Lowest> {
  const parts = async function* () {
    for (const matrix of matrices) yield await scoresOf(matrix);
  };
  return lowestOf(parts, Math.round(sparsity * matrices.reduce((sum, matrix) => sum + sizeOf(matrix), 0)));
}

/** How many numbers of a weight can go. */
export const sizeOf = ({ rowAt, columnAt }: WeightMatrix): number => rowAt.length * columnAt.length;

/** The numbers of a weight, given in its own order, row by row. */
export function rowsOf({ rowAt, columnAt }: WeightMatrix, values: Float32Array): Float32Array {
  const width = columnAt.length;
  const out = new Float32Array(rowAt.length * width);
  for (let r = 0; r < rowAt.length; r++)
    for (let c = 0; c < width; c++) out[r * width + c] = values[rowAt[r]! + columnAt[c]!]!;
  return out;
}

/** 0 for what scores lowest and 1 for the rest, in the weight's own order. Scores stand row by row and are from 0 on. */
export async function maskOf(matrix: WeightMatrix, scores: Float32Array, ranking: Ranking): Promise<Float32Array> {
  const { rowAt, columnAt } = matrix;
  const { amount, scope, bound } = ranking;
  const width = columnAt.length;
  const mask = new Float32Array(scores.length).fill(1);
  const zero = (i: number) => {
    mask[rowAt[Math.floor(i / width)]! + columnAt[i % width]!] = 0;
  };
  if ("of" in amount) pattern(scores, width, amount, zero);
  else if (scope === "global" && bound !== undefined) below(bound, scores, 0, zero);
  else {
    const size = scope === "row" ? width : scores.length;
    for (let at = 0; at < scores.length; at += size) {
      const part = scores.subarray(at, at + size);
      const parts = async function* () {
        yield part;
      };
      below(await lowestOf(parts, Math.round(amount.sparsity * size)), part, at, zero);
    }
  }
  return mask;
}

function below(lowest: Lowest, scores: Float32Array, at: number, zero: (i: number) => void): void {
  for (const [i, bits] of bitsOf(scores).entries()) if (isLowest(lowest, bits)) zero(at + i);
}

/** Of every `of` numbers of a row all but `keep` go; what is left over at its end stays. */
function pattern(
  scores: Float32Array,
  width: number,
  { keep, of }: { readonly keep: number; readonly of: number },
  zero: (i: number) => void,
): void {
  for (let row = 0; row < scores.length; row += width)
    for (let at = row; at + of <= row + width; at += of) {
      const order = Array.from({ length: of }, (_, k) => at + k).sort((a, b) => scores[a]! - scores[b]!);
      for (const i of order.slice(0, of - keep)) zero(i);
    }
}
