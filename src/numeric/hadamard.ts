import { random } from "./random.ts";

/**
 * Multiplies a vector, in place, by a Hadamard matrix with random signs, which is orthogonal and mixes all its numbers; where the
 * length is 2^k·m with m odd, by one of 2^k for each of m parts.
 */
export function hadamard(values: Float64Array, signs: Float64Array): void {
  for (let i = 0; i < values.length; i++) values[i]! *= signs[i]!;
  const size = values.length & -values.length;
  for (let half = 1; half < size; half *= 2)
    for (let from = 0; from < values.length; from += 2 * half)
      for (let i = from; i < from + half; i++) {
        const [a, b] = [values[i]!, values[i + half]!];
        values[i] = a + b;
        values[i + half] = a - b;
      }
  const norm = 1 / Math.sqrt(size);
  for (let i = 0; i < values.length; i++) values[i]! *= norm;
}

/** Seeded signs for {@link hadamard}. */
export function signsOf(length: number, seed: number): Float64Array {
  const next = random(seed);
  return Float64Array.from({ length }, () => (next() < 0.5 ? -1 : 1));
}
