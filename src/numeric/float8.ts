/** The 8-bit floats without infinities to spare: 4 bits of exponent and 3 of mantissa, or 5 and 2. */
export type Float8 = "float8e4m3fn" | "float8e5m2";

/** Source: Micikevicius et al., "FP8 Formats for Deep Learning", arXiv 2209.05433. */
const FORMS = {
  float8e4m3fn: { mantissa: 3, bias: 7, last: 0x7e },
  float8e5m2: { mantissa: 2, bias: 15, last: 0x7b },
} as const;

/** The finite numbers ≥ 0 that the bytes 0, 1, 2 … stand for; they rise. */
const tables = new Map<Float8, Float64Array>();

function tableOf(type: Float8): Float64Array {
  const known = tables.get(type);
  if (known !== undefined) return known;
  const { mantissa, bias, last } = FORMS[type];
  const table = Float64Array.from({ length: last + 1 }, (_, byte) => {
    const [exponent, part] = [byte >> mantissa, (byte & (2 ** mantissa - 1)) / 2 ** mantissa];
    return exponent === 0 ? part * 2 ** (1 - bias) : (1 + part) * 2 ** (exponent - bias);
  });
  tables.set(type, table);
  return table;
}

/** The largest finite number: 448 or 57344. */
export const mostOf = (type: Float8): number => tableOf(type)[FORMS[type].last]!;

/** The byte of the nearest number, ties to the even one; what is larger than the largest becomes that. */
export function toFloat8(value: number, type: Float8): number {
  const table = tableOf(type);
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  const magnitude = Math.abs(value);
  let [low, high] = [0, table.length - 1];
  if (magnitude >= table[high]!) return sign | high;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (table[middle]! <= magnitude) low = middle;
    else high = middle;
  }
  const [down, up] = [magnitude - table[low]!, table[high]! - magnitude];
  return sign | (down < up || (down === up && low % 2 === 0) ? low : high);
}

/** The number a finite byte stands for. */
export const fromFloat8 = (byte: number, type: Float8): number =>
  (byte & 0x80 ? -1 : 1) * tableOf(type)[Math.min(byte & 0x7f, FORMS[type].last)]!;
