/** Puts a number from −1 to 1 as one sample. */
export type Put = (view: DataView, at: number, value: number) => void;

/** The kinds of samples a .wav file may hold, with the distance of its levels. */
export const FORMATS: Readonly<Record<string, { kind: number; width: number; step: number; put: Put }>> = {
  "PCM 8": { kind: 1, width: 1, step: 2 ** -7, put: (v, at, x) => v.setUint8(at, Math.round(x * 2 ** 7) + 128) },
  "PCM 16": { kind: 1, width: 2, step: 2 ** -15, put: (v, at, x) => v.setInt16(at, Math.round(x * 2 ** 15), true) },
  "PCM 24": {
    kind: 1,
    width: 3,
    step: 2 ** -23,
    put: (v, at, x) => {
      const level = Math.round(x * 2 ** 23);
      for (let i = 0; i < 3; i++) v.setUint8(at + i, (level >> (8 * i)) & 255);
    },
  },
  "PCM 32": { kind: 1, width: 4, step: 2 ** -24, put: (v, at, x) => v.setInt32(at, Math.round(x * 2 ** 31), true) },
  "float 32": { kind: 3, width: 4, step: 2 ** -24, put: (v, at, x) => v.setFloat32(at, x, true) },
  "float 64": { kind: 3, width: 8, step: 2 ** -24, put: (v, at, x) => v.setFloat64(at, x, true) },
};

/** How {@link wav} writes. */
export interface Written {
  readonly kind: number;
  readonly width: number;
  readonly put: Put;
  readonly rate?: number;
  readonly extensible?: boolean;
  readonly before?: Uint8Array;
}

/** A .wav file of these channels, after a chunk that nobody knows where `before` is given. */
export function wav(channels: readonly (readonly number[])[], options: Written): Uint8Array {
  const { kind, width, put, rate = 8000, extensible = false, before } = options;
  const [count, length] = [channels.length, channels[0]?.length ?? 0];
  const header = extensible ? 40 : 16;
  const extra = before === undefined ? 0 : 8 + before.length + (before.length % 2);
  const bytes = new Uint8Array(12 + extra + 8 + header + 8 + length * count * width);
  const view = new DataView(bytes.buffer);
  const word = (at: number, text: string) => bytes.set(new TextEncoder().encode(text), at);
  word(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  word(8, "WAVE");
  if (before !== undefined) {
    word(12, "LIST");
    view.setUint32(16, before.length, true);
    bytes.set(before, 20);
  }
  const at = 12 + extra;
  word(at, "fmt ");
  view.setUint32(at + 4, header, true);
  view.setUint16(at + 8, extensible ? 0xfffe : kind, true);
  view.setUint16(at + 10, count, true);
  view.setUint32(at + 12, rate, true);
  view.setUint32(at + 16, rate * count * width, true);
  view.setUint16(at + 20, count * width, true);
  view.setUint16(at + 22, 8 * width, true);
  if (extensible) view.setUint16(at + 32, kind, true);
  const data = at + 8 + header;
  word(data, "data");
  view.setUint32(data + 4, length * count * width, true);
  for (const [c, samples] of channels.entries())
    for (const [i, x] of samples.entries()) put(view, data + 8 + (i * count + c) * width, x);
  return bytes;
}

/** What most files are. */
export const PCM16 = FORMATS["PCM 16"] as Written;
