import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resolveFeatures, soundFeatures } from "../../dist/data/audio.js";
import { openTokenizer, vocabularyOf } from "../../dist/data/tokenizer.js";
import { readWav } from "../../dist/files/wav.js";
import { PCM16, wav } from "../wav.ts";
import { bundle, pageOf, serve } from "./serve.ts";

const PAGE = `
import { resolveFeatures, soundFeatures } from "./dist/data/audio.js";
import { openTokenizer, vocabularyOf } from "./dist/data/tokenizer.js";
import { readWav } from "./dist/files/wav.js";
window.hear = (bytes, shape) => Array.from(soundFeatures(readWav(Uint8Array.from(bytes)), resolveFeatures({}, shape)).data);
window.read = async (texts) => {
  const tokenizer = await openTokenizer(await vocabularyOf(texts, { least: 1 }));
  return texts.map((text) => tokenizer.encode(text, 12));
};
window.ready = true;
`;

interface Global {
  hear(bytes: number[], shape: number[]): number[];
  read(texts: string[]): Promise<number[][]>;
}

let browser: Browser;
let page: Page;
let site: Awaited<ReturnType<typeof serve>>;

beforeAll(async () => {
  site = await serve({ "/": pageOf(await bundle(PAGE)) });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-background-networking", "--no-first-run"],
  });
  page = await browser.newPage();
  await page.goto(site.url);
  await page.waitForFunction("window.ready === true");
});

afterAll(async () => {
  await browser?.close();
  site?.close();
});

describe("a page and Node", () => {
  const samples = Array.from({ length: 9000 }, (_, i) => 0.6 * Math.sin(i ** 1.3 / 9) + 0.2 * Math.sin(i * 1.7));
  for (const shape of [
    [1, 1, 49, 10],
    [1, 8000],
  ])
    it(`make the same features, bit for bit, for an input [${shape}]`, async () => {
      const bytes = wav([samples, samples.toReversed()], { ...PCM16, rate: 11_025 });
      const here = soundFeatures(readWav(bytes), resolveFeatures({}, shape)).data as Float32Array;
      const there = await page.evaluate(([b, s]) => (globalThis as unknown as Global).hear(b, s), [
        [...bytes],
        shape,
      ] as [number[], number[]]);
      expect(Float32Array.from(there)).toEqual(here);
    });

  it("make the same vocabulary and tokens of texts", async () => {
    const texts = ["The mouse ate the cheese.", "Un été à l'ombre", "你好 (x_y)"];
    const tokenizer = await openTokenizer(await vocabularyOf(texts, { least: 1 }));
    const there = await page.evaluate((given) => (globalThis as unknown as Global).read(given), texts);
    expect(there).toEqual(texts.map((text) => tokenizer.encode(text, 12)));
  });
});
