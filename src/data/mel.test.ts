import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { framesIn, melSpectrogram } from "./mel.ts";
import { resample } from "./resample.ts";

interface Golden {
  readonly mel: readonly Case<"window" | "hop" | "mels">[];
  readonly resample: readonly Case<"to">[];
}
type Case<Name extends string> = Readonly<Record<Name | "rate" | "length", number>> & { values: readonly number[] };

const golden = JSON.parse(readFileSync(new URL("../../test/golden/sound.json", import.meta.url), "utf8")) as Golden;

/** Two tones and one that rises, as scripts/sound-golden.py makes them. */
const sound = (length: number, rate: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => {
    const t = i / rate;
    const [low, rising, high] = [440 * t, 200 * t + 900 * t * t, 3100 * t].map((turns) => 2 * Math.PI * turns);
    return 0.5 * Math.sin(low as number) + 0.3 * Math.sin(rising as number) + 0.05 * Math.cos(high as number);
  });

const furthest = (a: Float32Array, b: readonly number[]): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0) /
  Math.max(...b.map((value) => Math.abs(value)));

describe("melSpectrogram", () => {
  for (const { rate, length, values, ...options } of golden.mel)
    it(`is torchaudio's: ${options.mels} filters over ${options.window} samples at ${rate} Hz`, () => {
      const mel = melSpectrogram(sound(length, rate), { sampleRate: rate, ...options });
      expect(mel.length).toBe(values.length);
      expect(mel.length).toBe(framesIn(length, options) * options.mels);
      expect(furthest(mel, values)).toBeLessThan(1e-5);
    });

  it("puts a tone into the filter it belongs to, and nothing into silence", () => {
    const options = { sampleRate: 8000, window: 256, hop: 256, mels: 16 };
    const loudest = (hertz: number) => {
      const tone = Float32Array.from({ length: 256 }, (_, i) => Math.sin((2 * Math.PI * hertz * i) / 8000));
      const mel = melSpectrogram(tone, options);
      return mel.indexOf(Math.max(...mel));
    };
    const found = [150, 400, 900, 1800, 3500].map(loudest);
    expect(found).toEqual(found.toSorted((a, b) => a - b));
    expect(new Set(found).size).toBe(5);
    expect(melSpectrogram(new Float32Array(300), options)).toEqual(new Float32Array(16));
    expect(melSpectrogram(new Float32Array(255), options).length).toBe(0);
  });
});

describe("resample", () => {
  for (const { rate, to, length, values } of golden.resample)
    it(`is torchaudio's from ${rate} to ${to} Hz`, () => {
      const out = resample(sound(length, rate), rate, to);
      expect(out.length).toBe(values.length);
      expect(furthest(out, values)).toBeLessThan(2e-6);
    });
});
