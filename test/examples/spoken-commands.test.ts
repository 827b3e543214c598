import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import * as ears from "../../examples/spoken-commands/listen.mjs";
// @ts-expect-error plain JavaScript without types
import * as sounds from "../../examples/spoken-commands/sounds.mjs";
// @ts-expect-error plain JavaScript without types
import { wavOf } from "../../examples/spoken-commands/wav.mjs";
import { readWav } from "../../src/data/index.ts";
import { evaluate, load, openSession } from "../../src/index.ts";
import { type Row, rowsIn, run } from "./process.ts";

let folder: string;
let ran: Awaited<ReturnType<typeof run>>;
let rows: readonly Row[];
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-commands-"));
  ran = await run("spoken-commands/make.mjs", ["--quick", "--out", folder]);
  rows = JSON.parse(await readFile(at("table.json"), "utf8"));
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the example of spoken commands", () => {
  it("says that its sounds are stand-ins, and prints a row for each net", () => {
    expect(ran.code, ran.err).toBe(0);
    expect(ran.out).toContain("gliding tones stand in for them");
    const names = ["teacher", "student alone", "student, taught", "… in 8 bits"];
    expect([...rowsIn(ran.out).keys()]).toEqual(names);
    expect(rows.map(({ name }) => name)).toEqual(names);
  });

  it("tells of each file what evaluating it says", async () => {
    const heldOut = sounds.standIns(8).filter(({ take }: { take: number }) => take < 2);
    const test = sounds.windows(heldOut, { versions: 1, seed: 1 });
    for (const { file, bytes, figures } of rows) {
      expect((await evaluate(await load(at(file)), test)).metrics.accuracy).toBe(figures["accuracy"]);
      expect((await stat(at(file))).size).toBe(bytes);
    }
    expect(rows.at(-1)?.figures["accuracy"]).toBeGreaterThan(0.5);
  });

  it("makes a net in 8 bits that hears words in a stream, however the stream is cut", async () => {
    const { channels, sampleRate } = readWav(await readFile(at("example.wav")));
    expect(sampleRate).toBe(sounds.RATE);
    const samples = channels[0] as Float32Array;
    const session = await openSession(at("commands.onnx"));
    const whole = await ears.listener(session).hear(samples);
    const cut = ears.listener(session);
    const pieces: unknown[] = [];
    for (let i = 0; i < samples.length; i += 997) pieces.push(...(await cut.hear(samples.subarray(i, i + 997))));
    await session.close();
    expect(whole.length).toBeGreaterThan(2);
    expect(pieces).toEqual(whole);
    const printed = await run("spoken-commands/use.mjs", [at("example.wav"), "--model", at("commands.onnx")]);
    const words = printed.out.match(/[a-z]{3,}/g);
    expect(words).toEqual(whole.map(({ word }: { word: string }) => word));
    // The example says zero to nine, in this order.
    const order = whole.map(({ word }: { word: string }) => sounds.WORDS.indexOf(word));
    expect(order.filter((word: number, i: number) => i > 0 && word <= order[i - 1]).length).toBeLessThan(2);
  });
});

describe("a stream", () => {
  it("is judged by what was said when", () => {
    const said = [
      { word: "one", from: 1, to: 1.5 },
      { word: "two", from: 3, to: 3.5 },
    ];
    const heard = [
      { word: "one", at: 1.2 },
      { word: "two", at: 9 },
    ];
    expect(ears.judged(heard, said)).toEqual({ found: 0.5, wrong: 1 });
  });

  it("written as a .wav file is what it was, to half a level of 16 bits", () => {
    const { samples } = sounds.stream(sounds.standIns(1), { seed: 3 });
    const { channels, sampleRate } = readWav(wavOf(samples, sounds.RATE));
    expect(sampleRate).toBe(8000);
    expect(channels[0]?.length).toBe(samples.length);
    const furthest = samples.reduce(
      (most: number, x: number, i: number) => Math.max(most, Math.abs((channels[0]?.[i] as number) - x)),
      0,
    );
    expect(furthest).toBeLessThan(2 ** -15);
  });
});
