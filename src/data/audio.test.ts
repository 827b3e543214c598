import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PCM16, wav } from "../../test/wav.ts";
import type { Sound } from "../files/wav.ts";
import type { Dim } from "../ir/dim.ts";
import {
  describeFeatures,
  openSoundFolder,
  resolveFeatures,
  type SoundOptions,
  soundFeatures,
  soundFiles,
  soundFolder,
} from "./audio.ts";
import { bindInputs } from "./bind.ts";
import { isSkipped } from "./dataset.ts";
import { openDataset } from "./open.node.ts";

const tone = (hertz: number, length: number, rate: number, loud = 0.5): number[] =>
  Array.from({ length }, (_, i) => loud * Math.sin((2 * Math.PI * hertz * i) / rate));
const soundOf = (samples: readonly number[], sampleRate: number): Sound => ({
  sampleRate,
  channels: [Float32Array.from(samples)],
});
const graphOf = (shape: readonly Dim[]) => ({
  name: "net",
  inputs: [{ name: "sound", type: { kind: "tensor" as const, dtype: "float32" as const, shape } }],
  outputs: [],
  weights: new Map(),
  valueInfo: new Map(),
  nodes: [],
});

describe("resolveFeatures", () => {
  const cases: readonly [string, SoundOptions, readonly Dim[], object][] = [
    ["a second of 40 mels without a model", {}, [], { kind: "mel", mels: 40, frames: 49, length: 16_000, window: 480 }],
    ["the frames and mels of the model", {}, ["N", 1, 49, 10], { mels: 10, frames: 49, hop: 320, channel: true }],
    ["frames that cover the sound", {}, ["N", 1, 98, 40], { frames: 98, hop: 160, length: 16_000 }],
    ["no channel where there is none", {}, ["N", 49, 40], { kind: "mel", channel: false }],
    ["a wave of the model's length", {}, ["N", 8000], { kind: "wave", length: 8000, channel: false }],
    ["a wave with a channel", { sampleRate: 8000 }, ["N", 1, "T"], { kind: "wave", length: 8000, channel: true }],
    ["what is said before all", { seconds: 2, mels: 20, hop: 0.01 }, ["N", 1, "T", "M"], { mels: 20, frames: 198 }],
  ];
  for (const [name, options, shape, expected] of cases)
    it(`takes ${name}`, () => expect(resolveFeatures(options, shape)).toMatchObject(expected));

  it("refuses what cannot be, with numbers", () => {
    expect(() => resolveFeatures({ seconds: 0.01 })).toThrow(/frames 0/);
    expect(() => resolveFeatures({ sampleRate: 0.5 })).toThrow(/sampleRate 0.5/);
    expect(() => resolveFeatures({ seconds: 0.03 }, ["N", 1, 49, 10])).toThrow(/0.03 s hold no 49 frames/);
    expect(() => resolveFeatures({ mean: 0, std: 0 })).toThrow(/std of 0/);
  });

  it("is told in words", () => {
    const words = describeFeatures(resolveFeatures({ sampleRate: 8000 }, ["N", 1, 49, 10]));
    expect(words).toBe("49 frames of 30 ms, 10 mel filters; 1 s at 8000 Hz");
  });
});

describe("soundFeatures", () => {
  const features = resolveFeatures({ sampleRate: 8000, mels: 16 }, ["N", 1, 49, 16]);

  it("scales each sound to mean 0 and deviation 1, so that loudness does not count", () => {
    const [quiet, loud] = [0.05, 0.5].map((l) => soundFeatures(soundOf(tone(700, 8000, 8000, l), 8000), features));
    const data = loud?.data as Float32Array;
    expect(loud).toMatchObject({ dtype: "float32", shape: [1, 49, 16] });
    const mean = data.reduce((a, b) => a + b, 0) / data.length;
    expect(Math.abs(mean)).toBeLessThan(1e-5);
    expect(data.reduce((a, b) => a + b * b, 0) / data.length).toBeCloseTo(1, 4);
    const loudest = (values: Float32Array) => values.subarray(0, 16).indexOf(Math.max(...values.subarray(0, 16)));
    expect(loudest(quiet?.data as Float32Array)).toBe(loudest(data));
  });

  it("hears the same in a recording of twice the rate", () => {
    const at = (rate: number) => soundFeatures(soundOf(tone(700, rate, rate), rate), features).data as Float32Array;
    const [a, b] = [at(8000), at(16_000)];
    const strong = a.indexOf(Math.max(...a)) % 16;
    for (let frame = 1; frame < 48; frame++)
      expect(Math.abs((a[frame * 16 + strong] ?? 0) - (b[frame * 16 + strong] ?? 9))).toBeLessThan(0.02);
  });

  it("cuts what is long, fills what is short with silence, and silence is no division by 0", () => {
    const wave = resolveFeatures({ sampleRate: 8000 }, ["N", 4]);
    expect(soundFeatures(soundOf([0.1, 0.2, 0.3, 0.4, 0.5], 8000), wave).data).toEqual(
      Float32Array.of(0.1, 0.2, 0.3, 0.4),
    );
    expect(soundFeatures(soundOf([0.5], 8000), wave)).toMatchObject({
      shape: [4],
      data: Float32Array.of(0.5, 0, 0, 0),
    });
    expect((soundFeatures(soundOf([], 8000), features).data as Float32Array).every((x) => x === 0)).toBe(true);
  });

  it("takes fixed numbers to scale with: (log(mel + 1e-6) − mean) / std", () => {
    const fixed = resolveFeatures({ sampleRate: 8000, mels: 16, mean: -4, std: 2 });
    const silence = soundFeatures(soundOf([], 8000), fixed).data as Float32Array;
    expect(silence[0]).toBeCloseTo((Math.log(1e-6) + 4) / 2, 5);
  });
});

describe("soundFolder", () => {
  let folder: string;
  const put = async (path: string, bytes: Uint8Array) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "minnow-sound-"));
    for (const [name, hertz] of [
      ["high", 2000],
      ["low", 300],
    ] as const)
      for (let i = 0; i < 3; i++) {
        const bytes = wav([tone(hertz, 4000, 8000)], { ...PCM16, rate: 8000 });
        await put(`classes/${name}/${i}.wav`, bytes);
        await put(`flat/${name}_${i}.WAV`, bytes);
        await put(`divided/${i === 0 ? "test" : "train"}/${name}/${i}.wav`, bytes);
      }
    await put("flat/broken_0.wav", new Uint8Array(50));
    await put("none/readme.txt", new Uint8Array(1));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("reads class folders, and binds to the model's input", async () => {
    const { data, how } = await openDataset(join(folder, "classes"), { sound: { sampleRate: 8000 } });
    expect(how).toBe("6 sounds in 2 classes (matched alphabetically)");
    const bound = bindInputs(data, graphOf(["N", 1, 30, 12]));
    for (let i = 0; i < 6; i++) {
      const example = await bound.at(i);
      if (isSkipped(example)) throw new Error(example.skipped);
      expect(example.feeds["sound"]?.shape).toEqual([1, 30, 12]);
      expect(bound.classes?.[example.label ?? 9]).toBe(example.name?.split("/")[0]);
      const { data } = example.feeds["sound"] as { data: Float32Array };
      const first = data.subarray(0, 12);
      expect(first.indexOf(Math.max(...first)) < 5).toBe(example.name?.startsWith("low"));
    }
  });

  it("takes classes from names by a pattern, and skips what is damaged", async () => {
    const options = { labelPattern: /^([a-z]+)_/ };
    const { data } = await openSoundFolder(join(folder, "flat"), options);
    expect(data.classes).toEqual(["broken", "high", "low"]);
    expect(data.size).toBe(7);
    const broken = data.labels?.indexOf(0) ?? -1;
    expect(await data.at(broken)).toEqual({ skipped: "It is no .wav file.", name: "broken_0.wav" });
    const some = await openSoundFolder(join(folder, "flat"), { labelPattern: /^(high|low)_/ });
    expect(some.how).toContain("6 sounds in 2 classes (matched alphabetically); 1 without a class are left out");
    await expect(openSoundFolder(join(folder, "flat"), { labelPattern: /^(\d)_/ })).rejects.toMatchObject({
      code: "data/label-pattern",
    });
  });

  it("has the folder's own parts", async () => {
    const train = await soundFolder(join(folder, "divided"), { split: "train" });
    expect(train.size).toBe(4);
  });

  it("says where there is nothing to hear", async () => {
    await expect(soundFolder(join(folder, "none"))).rejects.toMatchObject({ code: "data/no-sounds" });
  });

  it("gives a page's files the same features", async () => {
    const bytes = wav([tone(300, 4000, 8000)], { ...PCM16, rate: 8000 });
    const file = Object.assign(new File([bytes as BlobPart], "low_0.wav"), { webkitRelativePath: "" });
    const options = { labelPattern: /^(low)_0/ };
    const node = await soundFolder(join(folder, "flat"), options);
    expect({ ...(await soundFiles([file], options).at(0)), name: "" }).toEqual({ ...(await node.at(0)), name: "" });
  });
});
