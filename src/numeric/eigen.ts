import { MinnowError } from "../errors.ts";

/** A = Σ values[i] · vᵢ·vᵢᵀ, the largest value first. */
export interface Eigen {
  readonly values: Float64Array;
  /** Row i is vᵢ, of length 1; rows are orthogonal to rounding. */
  readonly vectors: Float64Array;
}

/**
 * All eigenvalues and eigenvectors of a symmetric A [n, n], row-major, which is overwritten: Householder's reflections to
 * three diagonals, then implicit QL steps (Golub and Van Loan, "Matrix Computations", chapter 8). Time grows with n³: about a
 * second at 512. Throws a MinnowError `numeric/not-finite` where a number is none.
 *
 * @example
 * const { values, vectors } = symmetricEigen(gram, n);   // vectors.subarray(0, n): the leading one
 */
export function symmetricEigen(a: Float64Array, n: number): Eigen {
  if (!a.every(Number.isFinite))
    throw new MinnowError("The matrix holds numbers that are not finite.", {
      code: "numeric/not-finite",
      mend: "Look for activations or weights that overflow.",
    });
  const { diagonal, off, rows } = tridiagonal(a, n);
  for (let l = 0; l < n; l++) deflate(diagonal, off, rows, n, l);
  const order = [...diagonal.keys()].sort((i, j) => diagonal[j]! - diagonal[i]!);
  const vectors = new Float64Array(n * n);
  for (const [to, from] of order.entries()) vectors.set(rows.subarray(from * n, (from + 1) * n), to * n);
  return { values: Float64Array.from(order, (i) => diagonal[i]!), vectors };
}

/** A = Qᵀ·T·Q: T's diagonal, what stands beside it (`off[i]` between i and i + 1), and Q by rows. */
function tridiagonal(a: Float64Array, n: number) {
  const factors = new Float64Array(n);
  const [diagonal, off] = [new Float64Array(n), new Float64Array(n)];
  for (let k = 0; k + 1 < n; k++) {
    const v = a.subarray(k * n + k + 1, (k + 1) * n);
    const [beta, length] = reflector(v);
    [factors[k], off[k]] = [beta, length];
    if (beta !== 0) reflectBoth(a, n, k + 1, v, beta);
  }
  for (let i = 0; i < n; i++) diagonal[i] = a[i * n + i]!;
  const rows = new Float64Array(n * n);
  for (let i = 0; i < n; i++) rows[i * n + i] = 1;
  // Q = … H₁·H₀: each reflection from the right, along the rows.
  for (let k = n - 2; k >= 0; k--) {
    const [v, beta] = [a.subarray(k * n + k + 1, (k + 1) * n), factors[k]!];
    if (beta === 0) continue;
    for (let r = k + 1; r < n; r++) {
      const row = rows.subarray(r * n + k + 1, (r + 1) * n);
      const by = beta * dot(row, v);
      for (let j = 0; j < v.length; j++) row[j]! -= by * v[j]!;
    }
  }
  return { diagonal, off, rows };
}

/** Makes of x the v with (I − β·v·vᵀ)·x = length·e₁. */
function reflector(x: Float64Array): [beta: number, length: number] {
  const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return [0, 0];
  for (let i = 0; i < x.length; i++) x[i]! /= largest;
  const length = (x[0]! > 0 ? -1 : 1) * Math.sqrt(dot(x, x));
  x[0]! -= length;
  return [2 / dot(x, x), length * largest];
}

/** (I − β·v·vᵀ)·A·(I − β·v·vᵀ) in the lower right corner from `from` on. */
function reflectBoth(a: Float64Array, n: number, from: number, v: Float64Array, beta: number): void {
  const w = new Float64Array(v.length);
  for (let i = 0; i < v.length; i++) w[i] = beta * dot(a.subarray((from + i) * n + from, (from + i + 1) * n), v);
  const half = (beta / 2) * dot(w, v);
  for (let i = 0; i < v.length; i++) w[i]! -= half * v[i]!;
  for (let i = 0; i < v.length; i++) {
    const row = a.subarray((from + i) * n + from, (from + i + 1) * n);
    const [vi, wi] = [v[i]!, w[i]!];
    for (let j = 0; j < v.length; j++) row[j]! -= vi * w[j]! + wi * v[j]!;
  }
}

/** Implicit QL steps with Wilkinson's shift until `off[l]` is nothing; rows turn along. */
function deflate(d: Float64Array, off: Float64Array, rows: Float64Array, n: number, l: number): void {
  for (let step = 0; ; step++) {
    let m = l;
    while (m + 1 < n && Math.abs(off[m]!) > Number.EPSILON * (Math.abs(d[m]!) + Math.abs(d[m + 1]!))) m++;
    if (m === l) return;
    if (step > 60)
      throw new MinnowError("The eigenvalues do not converge.", {
        code: "numeric/no-convergence",
        mend: "Report the matrix: symmetric ones always converge.",
      });
    const apart = (d[l + 1]! - d[l]!) / (2 * off[l]!);
    const shift = d[m]! - d[l]! + off[l]! / (apart + (apart < 0 ? -1 : 1) * Math.hypot(apart, 1));
    qlStep(d, off, rows, n, l, m, shift);
  }
}

function qlStep(d: Float64Array, off: Float64Array, rows: Float64Array, n: number, l: number, m: number, g: number) {
  let [s, c, p] = [1, 1, 0];
  for (let i = m - 1; i >= l; i--) {
    const [f, b] = [s * off[i]!, c * off[i]!];
    const r = Math.hypot(f, g);
    off[i + 1] = r;
    if (r === 0) {
      d[i + 1]! -= p;
      off[m] = 0;
      return;
    }
    [s, c] = [f / r, g / r];
    const next = d[i + 1]! - p;
    const t = (d[i]! - next) * s + 2 * c * b;
    p = s * t;
    d[i + 1] = next + p;
    g = c * t - b;
    turn(rows.subarray(i * n, (i + 1) * n), rows.subarray((i + 1) * n, (i + 2) * n), c, s);
  }
  d[l]! -= p;
  off[l] = g;
  off[m] = 0;
}

function turn(x: Float64Array, y: Float64Array, c: number, s: number): void {
  for (let j = 0; j < x.length; j++) {
    const [a, b] = [x[j]!, y[j]!];
    x[j] = c * a - s * b;
    y[j] = s * a + c * b;
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
