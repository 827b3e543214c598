import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MinnowError } from "../errors.ts";
import { mono, readWav } from "./wav.ts";

type Put = (view: DataView, at: number, value: number) => void;

const FORMATS: Readonly<Record<string, { kind: number; width: number; step: number; put: Put }>> = {
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

interface Written {
  readonly kind: number;
  readonly width: number;
  readonly put: Put;
  readonly rate?: number;
  readonly extensible?: boolean;
  readonly before?: Uint8Array;
}

/** A .wav file of these channels, after a chunk that nobody knows where `before` is given. */
function wav(channels: readonly (readonly number[])[], options: Written): Uint8Array {
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

const plain = { ...(FORMATS["PCM 16"] as { kind: number; width: number; put: Put }) };
const problem = (bytes: Uint8Array): MinnowError => {
  try {
    readWav(bytes, "a.wav");
  } catch (error) {
    if (error instanceof MinnowError) return error;
    throw error;
  }
  throw new Error("It was read.");
};

describe("readWav", () => {
  for (const [name, format] of Object.entries(FORMATS))
    it(`reads back ${name}, any number of channels, any rate, to half a step`, () => {
      const sample = fc.double({ min: -1, max: 1 - 2 ** -6, noNaN: true });
      const sounds = fc
        .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 9 }))
        .chain(([count, length]) =>
          fc.array(fc.array(sample, { minLength: length, maxLength: length }), { minLength: count, maxLength: count }),
        );
      const options = fc.record({ rate: fc.integer({ min: 1, max: 192_000 }), extensible: fc.boolean() });
      fc.assert(
        fc.property(sounds, options, fc.option(fc.uint8Array({ maxLength: 5 })), (channels, more, before) => {
          const sound = readWav(wav(channels, { ...format, ...more, ...(before && { before }) }));
          expect(sound.sampleRate).toBe(more.rate);
          expect(sound.channels.length).toBe(channels.length);
          for (const [c, samples] of channels.entries()) {
            expect(sound.channels[c]?.length).toBe(samples.length);
            for (const [i, x] of samples.entries())
              expect(Math.abs((sound.channels[c]?.[i] ?? 9) - x)).toBeLessThanOrEqual(format.step / 2);
          }
        }),
        { seed: 1, numRuns: 60 },
      );
    });

  it("reads a recording that was cut off as far as it goes", () => {
    const whole = wav([[0.25, 0.5, -0.5]], plain);
    expect(readWav(whole.subarray(0, whole.length - 3)).channels[0]).toEqual(Float32Array.of(0.25));
  });

  it("reads from a view into a larger buffer", () => {
    const whole = wav([[0.25, -0.5]], plain);
    const larger = new Uint8Array(whole.length + 7);
    larger.set(whole, 5);
    expect(readWav(larger.subarray(5, 5 + whole.length)).channels[0]).toEqual(Float32Array.of(0.25, -0.5));
  });

  it("says what it cannot read, and never anything but a MinnowError", () => {
    expect(problem(new TextEncoder().encode("ID3 this is an mp3"))).toMatchObject({ code: "files/wav", at: "a.wav" });
    expect(problem(wav([[0]], { ...plain, kind: 17 })).message).toContain("format 17 with 16 bits");
    expect(problem(wav([[0]], { ...plain, rate: 0 })).message).toContain("0 Hz");
    expect(problem(wav([], plain)).code).toBe("files/wav");
    expect(problem(wav([[0]], plain).subarray(0, 36)).message).toContain("no samples");
    const good = wav([[0.1, 0.2, 0.3]], plain);
    const garbled = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(garbled, fc.nat(good.length), (changes, length) => {
        const bytes = good.slice(0, length);
        for (const [at, value] of changes) if (at < length) bytes[at] = value;
        try {
          readWav(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MinnowError);
        }
      }),
      { seed: 2, numRuns: 500 },
    );
  });
});

describe("mono", () => {
  it("is the mean of the channels", () => {
    const sound = readWav(
      wav(
        [
          [0.5, 0.25],
          [0, -0.25],
        ],
        plain,
      ),
    );
    expect(mono(sound)).toEqual(Float32Array.of(0.25, 0));
  });
});
