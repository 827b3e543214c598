/** The samples as a .wav file of one channel, 16 bits each. */
export function wavOf(samples, rate) {
  const bytes = new Uint8Array(44 + 2 * samples.length);
  const view = new DataView(bytes.buffer);
  const word = (at, text) => bytes.set(new TextEncoder().encode(text), at);
  const numbers = (at, ...sizes) => {
    for (const [size, value] of sizes) {
      if (size === 2) view.setUint16(at, value, true);
      else view.setUint32(at, value, true);
      at += size;
    }
  };
  word(0, "RIFF");
  numbers(4, [4, bytes.length - 8]);
  word(8, "WAVEfmt ");
  // PCM, one channel, the rate, bytes a second, bytes of a moment, bits of a sample.
  numbers(16, [4, 16], [2, 1], [2, 1], [4, rate], [4, 2 * rate], [2, 2], [2, 16]);
  word(36, "data");
  numbers(40, [4, bytes.length - 44]);
  for (const [i, x] of samples.entries())
    view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, x))), true);
  return bytes;
}
