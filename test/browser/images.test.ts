import { createHash } from "node:crypto";
import { type Browser, chromium, type Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { preprocess, resolvePreprocess } from "../../dist/data/preprocess.js";
import { decodeImage } from "../../dist/platform.node.js";
import { bundle, pageOf, serve } from "./serve.ts";

const PAGE = `
import { preprocess, resolvePreprocess } from "./dist/data/preprocess.js";
import { decodeImage } from "./dist/platform.js";
window.read = async (bytes, options) => {
  const image = await decodeImage(Uint8Array.from(bytes)).catch((error) => error.code);
  if (typeof image === "string") return image;
  const { data } = preprocess(image, resolvePreprocess(options));
  const hash = await crypto.subtle.digest("SHA-256", data);
  return image.width + "x" + image.height + " " + Array.from(new Uint8Array(hash), (b) => b.toString(16).padStart(2, "0")).join("");
};
window.ready = true;
`;
const options = { preset: "imagenet", size: 96, crop: 0.875, interpolation: "bicubic" } as const;

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

/** What Node makes of the bytes, as the page tells it. */
async function inNode(bytes: Uint8Array): Promise<string> {
  try {
    const image = await decodeImage(bytes);
    const { data } = preprocess(image, resolvePreprocess(options));
    const hash = createHash("sha256").update(new Uint8Array((data as Float32Array).buffer));
    return `${image.width}x${image.height} ${hash.digest("hex")}`;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

/** Smooth colours with some noise, as photographs have, from a formula. */
function picture(channels: 1 | 3 | 4) {
  const [width, height] = [120, 90];
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const [x, y] = [Math.floor(i / channels) % width, Math.floor(i / channels / width)];
    return 128 + 90 * Math.sin(x / 17 + i) * Math.cos(y / 11) + ((i * 7919) % 31);
  });
  return sharp(data, { raw: { width, height, channels } });
}

describe("a picture becomes the same numbers in a page and in Node", () => {
  it.each([
    ["PNG", () => picture(3).png()],
    ["transparent PNG", () => picture(4).png()],
    ["grey PNG", () => picture(1).toColourspace("b-w").png()],
    ["16-bit PNG", () => picture(3).toColourspace("rgb16").png()],
    ["PNG on its side", () => picture(3).png().withMetadata({ orientation: 6 })],
    ["JPEG", () => picture(3).jpeg({ quality: 90 })],
    ["JPEG with halved colours", () => picture(3).jpeg({ chromaSubsampling: "4:2:0" })],
    ["progressive JPEG, mirrored", () => picture(3).jpeg({ progressive: true }).withMetadata({ orientation: 5 })],
    ["grey JPEG", () => picture(1).toColourspace("b-w").jpeg()],
    ["WebP", () => picture(3).webp({ quality: 80 })],
    ["GIF", () => picture(3).gif()],
    ["JPEG that is cut off", async () => (await picture(3).jpeg().toBuffer()).subarray(0, 2000)],
    ["PNG that is cut off", async () => (await picture(3).png().toBuffer()).subarray(0, 9000)],
  ] as const)("%s", async (_, make) => {
    const made = await make();
    const bytes = new Uint8Array(Buffer.isBuffer(made) ? made : await made.toBuffer());
    const there = await page.evaluate(
      ([b, o]) => (globalThis as unknown as { read(b: number[], o: unknown): Promise<string> }).read(b, o),
      [[...bytes], options] as [number[], unknown],
    );
    expect(there).toBe(await inNode(bytes));
  });
});
