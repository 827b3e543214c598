import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, describe, expect, it } from "vitest";
import { serve } from "../../examples/serve.mjs";

const examples = fileURLToPath(new URL("../../examples/", import.meta.url));
const arguments_ = ["--no-sandbox", "--disable-background-networking", "--no-first-run"];
const closers: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

/** Runs an example's `--quick` form as a user does, and opens its page over what it made. */
async function opened(name: string, more: readonly string[] = []) {
  const made = await mkdtemp(join(tmpdir(), `minnow-${name}-`));
  closers.push(() => rm(made, { recursive: true, force: true }));
  const script = join(examples, name, "make.mjs");
  const { status, stderr } = spawnSync(process.execPath, [script, "--quick", "--out", made], { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const site = await serve(name, { made });
  closers.push(() => site.close());
  const browser: Browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [...arguments_, ...more.map((one) => one.replace("MADE", made))],
  });
  closers.push(() => browser.close());
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(site.url);
  return { page, made, complaints };
}

const text = (page: Page, id: string) => page.textContent(`#${id}`);

describe("the page of spoken commands", () => {
  it("hears in a file what Node hears in it, and words from the microphone", async () => {
    const { page, made, complaints } = await opened("spoken-commands", [
      "--use-fake-ui-for-media-stream",
      "--use-fake-device-for-media-stream",
      "--use-file-for-fake-audio-capture=MADE/example.wav",
    ]);
    await page.waitForSelector("#example:enabled");
    await page.setInputFiles("#file", join(made, "example.wav"));
    await page.waitForFunction("document.getElementById('said').textContent.startsWith('Heard')");
    const words = () => page.locator("#heard b").allTextContents();
    const model = join(made, "commands.onnx");
    const listening = [join(examples, "spoken-commands", "use.mjs"), join(made, "example.wav"), "--model", model];
    const { stdout } = spawnSync(process.execPath, listening, { encoding: "utf8" });
    const heard = stdout
      .trim()
      .split("\n")
      .map((line) => line.split(/ s +/)[1]?.split(" ")[0]);
    expect(heard.length).toBeGreaterThan(3);
    expect((await words()).reverse()).toEqual(heard);
    expect(await page.locator("#lamps .on").count()).toBe(new Set(heard).size);
    await page.click("#listen");
    await page.waitForFunction("document.querySelectorAll('#heard li').length >= 2", undefined, { timeout: 30_000 });
    for (const word of await words()) expect(heard).toContain(word);
    await page.click("#listen");
    expect(complaints).toEqual([]);
  });
});

describe("the page of chest X-rays", () => {
  it("says that it is no medical device, and of a picture what the net says at the threshold", async () => {
    const { page, made, complaints } = await opened("chest-x-rays");
    expect(await text(page, "notice")).toContain("no medical device");
    await page.waitForSelector("#examples button:nth-child(6)");
    expect(await text(page, "figures")).toContain("drawn stand-ins");
    const { threshold } = JSON.parse(await readFile(join(made, "about.json"), "utf8"));
    const { evaluate, imageFolder, load } = await import("../../dist/index.js");
    const { PICTURES } = await import("../../examples/chest-x-rays/pictures.mjs" as string);
    const pictures = await imageFolder(made, PICTURES);
    const { judgement } = await evaluate(await load(join(made, "lungs.onnx")), pictures);
    expect(pictures.size).toBe(6);
    for (let i = 0; i < pictures.size; i++) {
      const example = await pictures.at(i);
      const name = "name" in example ? `${example.name}` : "";
      await page.setInputFiles("#file", join(made, name));
      await page.waitForFunction(`document.getElementById("said").textContent.startsWith("${name}")`);
      const ill = (judgement.margins[i] as number) >= threshold;
      expect(await text(page, "verdict")).toBe(`Looks like ${ill ? "pneumonia" : "healthy lungs"}.`);
    }
    expect(complaints).toEqual([]);
  });
});
