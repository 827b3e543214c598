/** Which of some scores are the lowest: all below a bound, and so many of those at it. */
export interface Lowest {
  /** The bits of the bound, a float32 from 0 on: they are ordered as the numbers are. */
  readonly bound: number;
  ties: number;
}

/** The bits of scores from 0 on, as whole numbers in the same order. */
export const bitsOf = (scores: Float32Array): Uint32Array =>
  new Uint32Array(scores.buffer, scores.byteOffset, scores.length);

/**
 * The bound of the `count` lowest of many scores from 0 on, in two looks at them (by their upper, then their lower 16
 * bits), so that they need not be in memory together.
 */
export async function lowestOf(parts: () => AsyncIterable<Float32Array>, count: number): Promise<Lowest> {
  const upper = new Float64Array(1 << 16);
  for await (const part of parts()) for (const bits of bitsOf(part)) upper[bits >>> 16]!++;
  const [high, before] = rank(upper, count);
  const lower = new Float64Array(1 << 16);
  for await (const part of parts()) for (const bits of bitsOf(part)) if (bits >>> 16 === high) lower[bits & 0xffff]!++;
  const [low, within] = rank(lower, count - before);
  return { bound: high * 65536 + low, ties: count - before - within };
}

/** The bin that the `count`-th number lies in, and how many lie in those before it. */
function rank(bins: Float64Array, count: number): [bin: number, before: number] {
  let before = 0;
  for (const [bin, own] of bins.entries()) {
    if (before + own >= count) return [bin, before];
    before += own;
  }
  return [bins.length - 1, before];
}

/** Whether a score is among the lowest; takes one of the ties where it stands at the bound. */
export function isLowest(lowest: Lowest, bits: number): boolean {
  if (bits !== lowest.bound) return bits < lowest.bound;
  return lowest.ties-- > 0;
}
