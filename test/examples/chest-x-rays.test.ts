import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { standIns } from "../../examples/chest-x-rays/pictures.mjs";
import { evaluate, load } from "../../src/index.ts";
import { type Row, rowsIn, run } from "./process.ts";

let folder: string;
let ran: Awaited<ReturnType<typeof run>>;
let rows: readonly Row[];
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-lungs-"));
  ran = await run("chest-x-rays/make.mjs", ["--quick", "--out", folder]);
  rows = JSON.parse(await readFile(at("table.json"), "utf8"));
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the example of chest X-rays", () => {
  it("says that its pictures are stand-ins, and prints a row for each net", () => {
    expect(ran.code, ran.err).toBe(0);
    expect(ran.out).toContain("drawn ovals stand in for them");
    const names = ["teacher", "student alone", "student, taught", "… in 8 bits"];
    expect([...rowsIn(ran.out).keys()]).toEqual(names);
    expect(rows.map(({ name }) => name)).toEqual(names);
  });

  it("tells of each file what counting says, at the threshold chosen on other pictures", async () => {
    const about = JSON.parse(await readFile(at("about.json"), "utf8"));
    for (const { file, figures } of rows) {
      const model = await load(at(file));
      // Of the validation pictures all but one in twenty of the ill are found, and no threshold above does so.
      const chosen = (await evaluate(model, standIns(32, 2))).judgement;
      const { margins, labels } = (await evaluate(model, standIns(32, 3))).judgement;
      const ill = [...chosen.margins].filter((_, i) => chosen.labels[i] === 1).sort((a, b) => b - a);
      const least = ill[Math.ceil(0.95 * ill.length) - 1] as number;
      const next = Math.max(...[...chosen.margins].filter((margin) => margin < least));
      const threshold = Number.isFinite(next) ? (least + next) / 2 : least;
      const said = (label: number, found: boolean) =>
        [...margins].filter((margin, i) => labels[i] === label && margin >= threshold === found).length;
      expect(figures["sensitivity"]).toBe(said(1, true) / 16);
      expect(figures["specificity"]).toBe(said(0, false) / 16);
      expect(figures["accuracy"]).toBe((said(1, true) + said(0, false)) / 32);
      if (file === "lungs.onnx") expect(about).toMatchObject({ threshold, judged: 32, standIn: true });
    }
  });

  it("leaves pictures that are those it judged by", async () => {
    const { data, info } = await sharp(at("pneumonia-2.png")).raw().toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 28, height: 28 });
    const { feeds } = await standIns(32, 3).at(3);
    const grey = Array.from(feeds.input.data as Float32Array, (x) => Math.round(255 * (x * 0.168 + 0.571)));
    expect([...data].filter((_, i) => i % info.channels === 0)).toEqual(grey);
  });
});
