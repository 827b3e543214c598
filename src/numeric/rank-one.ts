/** The best approximation of a matrix by an outer product: `left[row] · right[column]`. */
export interface RankOne {
  /** The leading left singular vector times its singular value. */
  readonly left: Float64Array;
  /** The leading right singular vector, of length 1. */
  readonly right: Float64Array;
  /** The sum of the squares it misses. */
  readonly missed: number;
}

const MOST_STEPS = 500;

/**
 * The rank-1 matrix nearest to a row-major one in the sum of squares (Eckart and Young 1936), by power iteration on
 * AᵀA from the longest row: exact, up to rounding, where the matrix is of rank 1. Where the two leading singular values
 * are close, it may stop between their vectors, which miss equally much.
 */
export function rankOne(matrix: ArrayLike<number>, rows: number, columns: number): RankOne {
  const at = (r: number, c: number) => matrix[r * columns + c] as number;
  const gram = Array.from({ length: columns }, (_, i) =>
    Float64Array.from({ length: columns }, (_, j) => {
      let sum = 0;
      for (let r = 0; r < rows; r++) sum += at(r, i) * at(r, j);
      return sum;
    }),
  );
  const total = gram.reduce((sum, row, i) => sum + (row[i] as number), 0);
  let right = unit(longestRow(matrix, rows, columns));
  for (let step = 0, reached = 0; step < MOST_STEPS; step++) {
    const next = Float64Array.from(gram, (row) => dot(row, right));
    const length = Math.hypot(...next);
    if (length === 0) break;
    right = next.map((value) => value / length);
    if (length - reached <= 1e-15 * total) break;
    reached = length;
  }
  const left = Float64Array.from({ length: rows }, (_, r) => {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += at(r, c) * (right[c] as number);
    return sum;
  });
  let missed = 0;
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) missed += (at(r, c) - (left[r] as number) * (right[c] as number)) ** 2;
  return { left, right, missed };
}

function longestRow(matrix: ArrayLike<number>, rows: number, columns: number): Float64Array {
  let [best, most] = [new Float64Array(columns), -1];
  for (let r = 0; r < rows; r++) {
    const row = Float64Array.from({ length: columns }, (_, c) => matrix[r * columns + c] as number);
    const length = dot(row, row);
    if (length > most) [best, most] = [row, length];
  }
  return best;
}

const dot = (a: Float64Array, b: Float64Array): number =>
  a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);

/** The vector at length 1; of zeros, the first axis. */
function unit(vector: Float64Array): Float64Array {
  const length = Math.sqrt(dot(vector, vector));
  return length > 0 ? vector.map((value) => value / length) : vector.map((_, i) => (i === 0 ? 1 : 0));
}
