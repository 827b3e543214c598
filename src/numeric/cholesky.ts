import { MinnowError } from "../errors.ts";

/**
 * Solves X · A = B for a symmetric positive definite A [n, n] and B [m, n], both row-major: the rows of X [m, n] are the
 * coefficients of least squares (the normal equations, by Cholesky's factorization A = L·Lᵀ). A and B are overwritten.
 * Throws a MinnowError `numeric/not-definite` where A is not positive definite; add to its diagonal.
 */
export function solveDefinite(a: Float64Array, b: Float64Array, n: number): Float64Array {
  factor(a, n);
  const rows = b.length / n;
  for (let r = 0; r < rows; r++) {
    const x = b.subarray(r * n, (r + 1) * n);
    for (let i = 0; i < n; i++) {
      let sum = x[i] as number;
      const row = a.subarray(i * n, i * n + i);
      for (let k = 0; k < i; k++) sum -= (row[k] as number) * (x[k] as number);
      x[i] = sum / (a[i * n + i] as number);
    }
    for (let i = n - 1; i >= 0; i--) {
      const value = (x[i] as number) / (a[i * n + i] as number);
      x[i] = value;
      const row = a.subarray(i * n, i * n + i);
      for (let k = 0; k < i; k++) x[k] = (x[k] as number) - value * (row[k] as number);
    }
  }
  return b;
}

/**
 * The upper triangular U with A⁻¹ = Uᵀ·U, for a symmetric positive definite A [n, n], which is overwritten: A in reverse
 * order is L·Lᵀ, and U the inverse of L in reverse order. Throws as {@link solveDefinite}.
 */
export function inverseFactor(a: Float64Array, n: number): Float64Array {
  const lower = a.reverse();
  factor(lower, n);
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = lower.subarray(i * n, i * n + i + 1);
    const own = inverse.subarray(i * n, (i + 1) * n);
    const diagonal = 1 / (row[i] as number);
    for (let k = 0; k < i; k++) {
      const factor = -(row[k] as number) * diagonal;
      const above = inverse.subarray(k * n, k * n + k + 1);
      for (let j = 0; j <= k; j++) own[j] = (own[j] as number) + factor * (above[j] as number);
    }
    own[i] = diagonal;
  }
  return inverse.reverse();
}

/** Puts L into the lower triangle. */
function factor(a: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) {
    const row = a.subarray(i * n, (i + 1) * n);
    for (let j = 0; j <= i; j++) {
      const other = a.subarray(j * n, (j + 1) * n);
      let sum = row[j] as number;
      for (let k = 0; k < j; k++) sum -= (row[k] as number) * (other[k] as number);
      if (i !== j) row[j] = sum / (other[j] as number);
      else if (sum > 0) row[i] = Math.sqrt(sum);
      else
        throw new MinnowError("The matrix is not positive definite.", {
          code: "numeric/not-definite",
          mend: "Add to its diagonal.",
        });
    }
  }
}
