import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FORMATS, PCM16, wav } from "../../test/wav.ts";
import { MinnowError } from "../errors.ts";
import { mono, readWav } from "./wav.ts";

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
    const whole = wav([[0.25, 0.5, -0.5]], PCM16);
    expect(readWav(whole.subarray(0, whole.length - 3)).channels[0]).toEqual(Float32Array.of(0.25));
  });

  it("reads from a view into a larger buffer", () => {
    const whole = wav([[0.25, -0.5]], PCM16);
    const larger = new Uint8Array(whole.length + 7);
    larger.set(whole, 5);
    expect(readWav(larger.subarray(5, 5 + whole.length)).channels[0]).toEqual(Float32Array.of(0.25, -0.5));
  });

  it("says what it cannot read, and never anything but a MinnowError", () => {
    expect(problem(new TextEncoder().encode("ID3 this is an mp3"))).toMatchObject({ code: "files/wav", at: "a.wav" });
    expect(problem(wav([[0]], { ...PCM16, kind: 17 })).message).toContain("format 17 with 16 bits");
    expect(problem(wav([[0]], { ...PCM16, rate: 0 })).message).toContain("0 Hz");
    expect(problem(wav([], PCM16)).code).toBe("files/wav");
    expect(problem(wav([[0]], PCM16).subarray(0, 36)).message).toContain("no samples");
    const good = wav([[0.1, 0.2, 0.3]], PCM16);
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
        PCM16,
      ),
    );
    expect(mono(sound)).toEqual(Float32Array.of(0.25, 0));
  });
});
