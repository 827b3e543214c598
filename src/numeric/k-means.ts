/**
 * The `count` numbers to which many are nearest on the whole: those of Lloyd's algorithm (1982) in one dimension, started
 * from quantiles, rising. Fewer where there are fewer different numbers, which are then given exactly.
 */
export function kMeans(values: Float32Array, count: number, rounds = 60): Float32Array {
  const sorted = values.slice().sort();
  const distinct = sorted.filter((value, i) => i === 0 || value !== sorted[i - 1]);
  if (distinct.length <= count) return distinct;
  const sums = new Float64Array(sorted.length + 1);
  for (let i = 0; i < sorted.length; i++) sums[i + 1] = sums[i]! + sorted[i]!;
  let centres = Float64Array.from(
    { length: count },
    (_, i) => distinct[Math.floor(((i + 0.5) * distinct.length) / count)]!,
  );
  for (let round = 0; round < rounds; round++) {
    const ends = Array.from({ length: count }, (_, i) =>
      i === count - 1 ? sorted.length : firstAbove(sorted, (centres[i]! + centres[i + 1]!) / 2),
    );
    const next = centres.map((centre, i) => {
      const start = i === 0 ? 0 : ends[i - 1]!;
      return ends[i]! === start ? centre : (sums[ends[i]!]! - sums[start]!) / (ends[i]! - start);
    });
    if (next.every((value, i) => value === centres[i])) break;
    centres = next;
  }
  return Float32Array.from(centres);
}

/** How many of the numbers, which rise, are not above a value. */
function firstAbove(sorted: Float32Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
