import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { serve } from "../../examples/serve.mjs";

let browser: Browser;
let site: Awaited<ReturnType<typeof serve>>;

beforeAll(async () => {
  site = await serve("train-in-page");
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-background-networking", "--no-first-run"],
  });
});

afterAll(async () => {
  await browser?.close();
  site?.close();
});

/** Watches how long the page's own thread is not free: a timer that should fire every 20 ms. */
const WATCH = `
window.gap = 0;
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  window.gap = Math.max(window.gap, now - last);
  last = now;
}, 20);
`;

const button = (page: Page, text: string) =>
  page.waitForFunction(`document.getElementById("go").textContent === "${text}"`, undefined, { timeout: 60_000 });

/** How many updates the curve shows, by the points of its path. */
const updates = (page: Page) =>
  page.evaluate<number>(`(document.querySelector("#losses .curve")?.getAttribute("d").match(/[ML]/g) ?? []).length`);

describe("the page that trains a net", () => {
  it("stays responsive, stops between two updates, goes on after a reload, and the net reads new digits", async () => {
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(`${site.url}?examples=1280&epochs=3`);
    await page.evaluate(WATCH);
    await page.click("#go:enabled");
    await page.waitForSelector("#losses .curve");
    expect(page.workers().length).toBeGreaterThan(1);
    await page.click("#go");
    await button(page, "Resume");
    expect(await page.evaluate<number>("window.gap")).toBeLessThan(1500);
    const done = await updates(page);
    expect(done).toBeGreaterThan(1);
    expect(done).toBeLessThan(20);
    await page.reload();
    await button(page, "Resume");
    await page.waitForSelector("#losses .curve");
    expect(await updates(page)).toBe(done);
    await page.click("#go");
    await page.waitForSelector("#model:not([hidden])", { timeout: 120_000 });
    expect(await updates(page)).toBe(60);
    expect(Number.parseFloat((await page.textContent("#test")) ?? "")).toBeGreaterThan(85);
    expect(complaints).toEqual([]);
    await page.close();
  });
});
