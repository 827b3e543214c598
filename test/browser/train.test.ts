import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle, pageOf, serve } from "./serve.ts";
import { type NetName, type Walk, walk } from "./steps.ts";

const PAGE = `
import { env } from "onnxruntime-web";
import { walk } from "./test/browser/steps.ts";
window.walk = walk;
window.threads = () => env.wasm.numThreads;
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
      "--enable-unsafe-webgpu",
      "--enable-unsafe-swiftshader",
      "--use-webgpu-adapter=swiftshader",
      "--enable-features=Vulkan",
      "--disable-background-networking",
      "--no-first-run",
    ],
  });
});

afterAll(async () => {
  await browser?.close();
  site?.close();
});

async function open(): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(site.url);
  await page.waitForFunction("window.ready === true");
  return page;
}

const NETS = ["convnet", "transformer", "text"] as const satisfies readonly NetName[];

describe.each([
  ["wasm", 2],
  ["webgpu", 1],
] as const)("on %s a training step is what it is in Node", (runtime, threads) => {
  it.each(NETS)(
    "for a %s: losses that fall, weights, statistics and the optimizer's state",
    async (name) => {
      const here = await walk(name, "node");
      const page = await open();
      const there = (await page.evaluate(`walk("${name}", "${runtime}", ${threads})`)) as Walk;
      if (runtime === "wasm") {
        expect(await page.evaluate("[crossOriginIsolated, threads()]")).toEqual([true, threads]);
        expect(page.workers().length).toBeGreaterThan(0);
      }
      await page.close();
      for (const [i, loss] of here.losses.entries())
        expect(Math.abs((there.losses[i] ?? 0) / loss - 1)).toBeLessThan(1e-3);
      expect(there.losses.at(-1)).toBeLessThan(0.7 * (there.losses[0] ?? 0));
      expect(Object.keys(there.norms)).toEqual(Object.keys(here.norms));
      for (const [key, norm] of Object.entries(here.norms))
        expect(Math.abs((there.norms[key] ?? 0) - norm), key).toBeLessThan(2e-3 * (1e-2 + norm));
    },
    400_000,
  );
});
