const buffer = new DataView(new ArrayBuffer(8));

/** The bits of the float16 nearest to a number, ties to even (IEEE 754). */
export function toHalf(value: number): number {
  buffer.setFloat32(0, value);
  const bits = buffer.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | halfEven(magnitude * 2 ** 24);
  const exponent = Math.floor(Math.log2(magnitude));
  const power = 2 ** exponent > magnitude ? exponent - 1 : 2 ** (exponent + 1) <= magnitude ? exponent + 1 : exponent;
  // A mantissa that rounds up to 1024 carries into the exponent, as it should.
  return sign | (((power + 15) << 10) + halfEven((magnitude / 2 ** power - 1) * 1024));
}

function halfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** The number that the bits of a float16 mean. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** The bits of the bfloat16 nearest to a number, ties to even. */
export function toBfloat(value: number): number {
  buffer.setFloat32(0, value);
  const bits = buffer.getUint32(0);
  if (Number.isNaN(value)) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The number that the bits of a bfloat16 mean. */
export function fromBfloat(bits: number): number {
  buffer.setUint32(0, bits << 16);
  return buffer.getFloat32(0);
}

/** {@link toHalf} of many numbers, quickly. */
export function toHalves(values: Float32Array, into: Uint16Array): void {
  const all = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < all.length; i++) {
    const bits = all[i]!;
    const exponent = (bits >>> 23) & 0xff;
    // Between the smallest normal float16 and what rounds to infinity, the mantissa is cut to 10 bits, ties to even.
    if (exponent > 112 && exponent < 143)
      into[i] = ((bits >>> 16) & 0x8000) | (((bits & 0x7fffffff) - 0x38000000 + 0xfff + ((bits >>> 13) & 1)) >>> 13);
    else into[i] = toHalf(values[i]!);
  }
}

/** {@link toBfloat} of many numbers, quickly. */
export function toBfloats(values: Float32Array, into: Uint16Array): void {
  const all = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < all.length; i++) {
    const bits = all[i]!;
    into[i] = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }
}
