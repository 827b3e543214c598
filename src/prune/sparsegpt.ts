import { inverseFactor } from "../numeric/cholesky.ts";
import { bitsOf, isLowest, lowestOf } from "./lowest.ts";

/** Columns whose mask is chosen together. */
const BLOCK = 128;

/** How many go: a share of all, or all but `keep` of every `of` in a row. */
export type Amount = { readonly sparsity: number } | { readonly keep: number; readonly of: number };

/**
 * Sets numbers of a matrix [rows, columns] to 0, column by column, and changes those that follow in each row so that what
 * the row gives on the data changes least. `products` is the mean of x·xᵀ [columns, columns], and is overwritten. Source: Frantar
 * and Alistarh, "SparseGPT", arXiv 2301.00774, with blocks of 128 columns; the damping is 1 % of the mean diagonal.
 */
export async function sparseGpt(w: Float32Array, rows: number, products: Float64Array, amount: Amount): Promise<void> {
  const columns = w.length / rows;
  const mean =
    Array.from({ length: columns }, (_, i) => products[i * columns + i]!).reduce((a, b) => a + b, 0) / columns;
  for (let i = 0; i < columns; i++) products[i * columns + i]! += 0.01 * mean + 1e-12;
  const u = inverseFactor(products, columns);
  const width = "of" in amount ? amount.of : BLOCK;
  for (let from = 0; from < columns; from += width) {
    const to = Math.min(columns, from + width);
    const mask =
      "of" in amount ? nOfM(w, u, rows, from, to, amount.keep) : await ofBlock(w, u, rows, from, to, amount.sparsity);
    for (let r = 0; r < rows; r++)
      for (let c = from; c < to; c++) {
        if (mask[r * (to - from) + c - from] === 1) continue;
        const error = w[r * columns + c]! / u[c * columns + c]!;
        for (let k = c; k < columns; k++) w[r * columns + k]! -= error * u[c * columns + k]!;
        w[r * columns + c] = 0;
      }
  }
}

/** What the loss changes by without a number: w² / [U]². */
const saliency = (w: Float32Array, u: Float64Array, columns: number, r: number, c: number): number =>
  (w[r * columns + c]! / u[c * columns + c]!) ** 2;

async function ofBlock(w: Float32Array, u: Float64Array, rows: number, from: number, to: number, sparsity: number) {
  const [columns, width] = [w.length / rows, to - from];
  const scores = Float32Array.from({ length: rows * width }, (_, i) =>
    saliency(w, u, columns, Math.floor(i / width), from + (i % width)),
  );
  const part = async function* () {
    yield scores;
  };
  const lowest = await lowestOf(part, Math.round(sparsity * scores.length));
  return Uint8Array.from(bitsOf(scores), (bits) => (isLowest(lowest, bits) ? 0 : 1));
}

function nOfM(w: Float32Array, u: Float64Array, rows: number, from: number, to: number, keep: number): Uint8Array {
  const [columns, width] = [w.length / rows, to - from];
  const mask = new Uint8Array(rows * width).fill(1);
  for (let r = 0; r < rows; r++) {
    const order = Array.from({ length: width }, (_, k) => k).sort(
      (a, b) => saliency(w, u, columns, r, from + a) - saliency(w, u, columns, r, from + b),
    );
    for (const k of order.slice(0, Math.max(0, width - keep))) mask[r * width + k] = 0;
  }
  return mask;
}
