import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import sharp from "sharp";
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
    expect(heard.length).toBeGreaterThan(2);
    expect((await words()).reverse()).toEqual(heard);
    expect(await page.locator("#lamps .on").count()).toBe(new Set(heard).size);
    await page.click("#listen");
    await page.waitForFunction("document.querySelectorAll('#heard li').length >= 1", undefined, { timeout: 30_000 });
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

/** What a script of an example prints about its input. */
const said = (script: string, args: readonly string[], input = "") =>
  spawnSync(process.execPath, [join(examples, script), ...args], { encoding: "utf8", input }).stdout;

describe("the page of the spam filter", () => {
  it("says of a pasted mail what the script says of it", async () => {
    const { page, made, complaints } = await opened("spam-filter");
    for (const mail of ["Subject: the kernel\n\nthe patch is on the list", "free cash offer, click for a prize"]) {
      await page.fill("#mail", mail);
      await page.waitForFunction("document.getElementById('detail').textContent.includes('likely')");
      const [, verdict, share] = /^(.*) \((.*) %\)/.exec(said("spam-filter/use.mjs", ["--made", made], mail)) ?? [];
      expect((await text(page, "verdict"))?.toLowerCase()).toBe(verdict);
      expect(Math.abs(Number.parseFloat((await text(page, "detail")) ?? "") - Number(share))).toBeLessThan(2);
      await page.fill("#mail", "");
      await page.waitForFunction("document.getElementById('verdict').textContent === '–'");
    }
    await page.click("#spam");
    await page.waitForFunction("document.getElementById('detail').textContent.includes('likely')");
    expect(complaints).toEqual([]);
  });
});

describe("the page of the pocket camera", () => {
  it("tells of a picture file what the script tells, and looks at what the camera sees", async () => {
    const { page, made, complaints } = await opened("pocket-camera", [
      "--use-fake-ui-for-media-stream",
      "--use-fake-device-for-media-stream",
    ]);
    const { drawExample } = await import("../../examples/road-signs/signs.mjs" as string);
    const path = join(made, "sign.png");
    const raw = { width: 32, height: 32, channels: 3 } as const;
    await sharp(drawExample(5, 1), { raw }).png().toFile(path);
    await page.waitForSelector("#camera:enabled");
    await page.setInputFiles("#file", path);
    await page.waitForSelector("#answers li:nth-child(5)");
    const first = (await page.locator("#answers li:first-child div").textContent()) ?? "";
    const [, name = "", share] =
      /: (.*) \((.*) %\), else/.exec(said("pocket-camera/use.mjs", [path, "--made", made])) ?? [];
    expect(first.startsWith(name)).toBe(true);
    expect(Math.abs(Number.parseFloat(first.slice(name.length)) - Number(share))).toBeLessThan(2);
    await page.click("#camera");
    await page.waitForFunction("document.getElementById('camera').textContent === 'Stop'");
    await page.click("#camera");
    await page.waitForFunction("document.getElementById('camera').textContent === 'Camera'");
    expect(complaints).toEqual([]);
  });
});

describe("the page of road signs", () => {
  it("finds in a drawn road and in a picture file what Node finds there", async () => {
    const { page, made, complaints } = await opened("road-signs");
    const found = async () => {
      await page.waitForFunction("/found/.test(document.getElementById('said').textContent)");
      const count = Number.parseInt((await text(page, "said")) ?? "", 10);
      expect(await page.locator("#signs li").count()).toBe(count);
      return count;
    };
    const { drawScene } = await import("../../examples/road-signs/signs.mjs" as string);
    const path = join(made, "road.png");
    const { width, height, data, signs } = drawScene(7);
    await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toFile(path);
    const lines = said("road-signs/use.mjs", [path, "--made", made]).trim().split("\n");
    const boxes = lines.filter((line) => line.includes(" sure, ")).length;
    const near = (count: number) => expect(Math.abs(count - boxes)).toBeLessThanOrEqual(Math.ceil(boxes / 10));
    near(await found());
    expect(await text(page, "said")).toContain(`${signs.length} drawn`);
    await page.setInputFiles("#file", path);
    await page.waitForFunction("!document.getElementById('said').textContent.includes('drawn')");
    near(await found());
    await page.click("#another");
    await page.waitForFunction("document.getElementById('said').textContent.includes('drawn')");
    expect(complaints).toEqual([]);
  });
});
