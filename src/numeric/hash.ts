const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by));

/** 64 bits that depend on every bit of `bytes`, as 16 hexadecimal digits: two of Appleby's MurmurHash3 (x86, 32 bits) side by side. */
export function hashOf(bytes: Uint8Array): string {
  return [0x9747b28c, 0x3c6ef372].map((seed) => murmur(bytes, seed).toString(16).padStart(8, "0")).join("");
}

/** Source: MurmurHash3_x86_32 (Appleby 2011, public domain). */
function murmur(bytes: Uint8Array, seed: number): number {
  const whole = bytes.length & ~3;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const mixed = (word: number) => Math.imul(rotate(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593);
  let h = seed;
  for (let at = 0; at < whole; at += 4) h = Math.imul(rotate(h ^ mixed(view.getInt32(at, true)), 13), 5) + 0xe6546b64;
  let rest = 0;
  for (let at = bytes.length - 1; at >= whole; at--) rest = (rest << 8) | (bytes[at] as number);
  if (whole < bytes.length) h ^= mixed(rest);
  h ^= bytes.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
