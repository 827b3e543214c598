import { readFile } from "node:fs/promises";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { standIns } from "../../examples/chest-x-rays/pictures.mjs";
import { evaluate, load } from "../../src/index.ts";
import { type Made, quickly } from "./run.ts";

let made: Made;
beforeAll(async () => {
  made = await quickly("chest-x-rays");
}, 60_000);
afterAll(() => made?.remove());

describe("the example of chest X-rays", () => {
  it("says that its pictures are stand-ins, and prints a row for each net", () => {
    expect(made.printed).toContain("drawn ovals stand in for them");
    expect(made.rows.map(({ name }) => name)).toEqual(["teacher", "student alone", "student", "student int8"]);
    for (const { name, bytes } of made.rows) {
      expect(made.printed).toContain(`| ${name} `);
      expect(bytes).toBeGreaterThan(10_000);
    }
  });

  it("tells of each file what counting says, at the threshold chosen on other pictures", async () => {
    const about = JSON.parse(await readFile(made.at("about.json"), "utf8"));
    for (const { file, figures } of made.rows) {
      const model = await load(made.at(file));
      // Of the validation pictures all but one in twenty of the ill are found, and no threshold above does so.
      const chosen = (await evaluate(model, standIns(32, 2))).judgement;
      const { margins, labels } = (await evaluate(model, standIns(32, 3))).judgement;
      const ill = [...chosen.margins].filter((_, i) => chosen.labels[i] === 1).sort((a, b) => b - a);
      const least = ill[Math.ceil(0.95 * ill.length) - 1] as number;
      const next = Math.max(...[...chosen.margins].filter((margin) => margin < least));
      const threshold = Number.isFinite(next) ? (least + next) / 2 : least;
      const said = (label: number, found: boolean) =>
        [...margins].filter((margin, i) => labels[i] === label && margin >= threshold === found).length;
      expect(figures.sensitivity).toBe(said(1, true) / 16);
      expect(figures.specificity).toBe(said(0, false) / 16);
      expect(figures.accuracy).toBe((said(1, true) + said(0, false)) / 32);
      if (file === "student-int8.onnx") expect(about).toMatchObject({ threshold, judged: 32, standIn: true });
    }
  });

  it("leaves pictures that are those it judged by", async () => {
    const { data, info } = await sharp(made.at("pneumonia-2.png")).raw().toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 28, height: 28 });
    const { feeds } = await standIns(32, 3).at(3);
    const grey = Array.from(feeds.input.data as Float32Array, (x) => Math.round(255 * (x * 0.168 + 0.571)));
    expect([...data].filter((_, i) => i % info.channels === 0)).toEqual(grey);
  });
});
